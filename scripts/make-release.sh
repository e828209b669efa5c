#!/usr/bin/env bash
# Packs what an instance needs (worker/, config/, scripts/) and uploads it, for
# config/user-data.sh to fetch. Prints the URI, which is the template's ReleaseUri.
#
#   ./scripts/make-release.sh s3://my-artifacts/transcription-worker/release.tar.gz
#   ./scripts/make-release.sh --output release.tar.gz      # only the file, no upload

set -euo pipefail

usage() {
    sed -n '2,/^$/s/^# \{0,1\}//p' "$0"
}

uri='' output=''
while (($#)); do
    case $1 in
        --help | -h)
            usage
            exit 0
            ;;
        --output)
            output=${2:?--output needs a file name}
            shift
            ;;
        s3://*/*) uri=$1 ;;
        *)
            echo "make-release.sh: '$1' is neither --output FILE nor s3://bucket/key" >&2
            exit 2
            ;;
    esac
    shift
done
if [[ -z $uri && -z $output ]]; then
    usage >&2
    exit 2
fi

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
stage=$(mktemp --directory)
trap 'rm -rf "$stage"' EXIT
archive=${output:-$stage/release.tar.gz}

# No build and no packages: the instance installs those from the lock, checked by their hashes.
# Order, times, owners and modes are fixed: an instance names a release after the archive's bytes,
# and the same code must not look like another release.
tar --create --sort=name --mtime=2000-01-01T00:00Z --owner=0 --group=0 --numeric-owner \
    --mode=u=rwX,go=rX --exclude='__pycache__' \
    --directory "$repo" worker config scripts pyproject.toml README.md LICENSE |
    gzip --no-name >"$archive"

if [[ -n $uri ]]; then
    aws s3 cp --only-show-errors "$archive" "$uri"
    echo "$uri"
else
    echo "$archive"
fi
