# shellcheck shell=bash disable=SC2154  # $root and $home are of the script that sources this
# Releases on an instance: unpacked, completed, made current, removed. Sourced by
# config/user-data.sh, whose variables ($root, $home) and messages (say, fail) it uses.
#
# Below /opt/transcription-worker:
#   releases/NAME  one release: its code, and a .venv that sees this code and its packages
#   venvs/NAME     the packages of one lock (7 GB), shared by all releases with the same lock
#   current        link to the release that the next start runs from; previous: the one before it
# A folder counts once the file `complete` is in it, and isn't changed from then on. So a run that
# is cut off anywhere leaves the release that works working.

readonly uv_version=0.13.9

# complete FOLDER PYTHON: whether all of it is there. Its Python is run, because an upgrade of the
# system may have taken it away.
complete() {
    [[ -f $1/complete ]] && "$1/$2" -c '' 2>/dev/null
}

# Sets $release: the folder of this archive, named after its content, which may be there already.
unpack_release() {
    local archive
    archive=$(mktemp)
    if [[ $RELEASE_URI == s3://* ]]; then
        aws s3 cp --only-show-errors "$RELEASE_URI" "$archive"
    else
        cp "$RELEASE_URI" "$archive"
    fi
    release="$home/releases/$(sha256sum "$archive" | cut --characters=1-16)"
    if complete "$release" .venv/bin/python; then
        say "release ${release##*/}: already installed"
    else
        rm -rf "$release"
        mkdir -p "$release"
        tar --extract --gzip --file "$archive" --directory "$release" --no-same-owner
        say "release ${release##*/}: unpacked"
    fi
    rm -f "$archive"
}

# Sets $release, as unpack_release does.
take_previous() {
    release=$(readlink --canonicalize-existing "$home/previous")
    say "release ${release##*/}: going back to it"
}

find_python() {
    local candidate
    for candidate in python3.13 python3.12 python3.11; do
        if command -v "$candidate"; then return 0; fi
    done
    fail "no Python 3.11, 3.12 or 3.13 on this image"
}

make_uv() {
    local python=$1 directory="$home/.uv"
    if ! "$directory/bin/python" -c '' 2>/dev/null && ! "$python" -m venv --clear "$directory"; then
        # Debian and Ubuntu ship apart what puts pip into a venv.
        apt-get update && apt-get install --yes "$(basename "$python")-venv"
        "$python" -m venv --clear "$directory"
    fi
    "$directory/bin/python" -m pip install --quiet "uv==$uv_version"
}

# 7 GB of packages: skipped where the image already has exactly these. Sets $packages.
install_packages() {
    local lock="$release/config/requirements.lock" python
    packages="$home/venvs/$(sha256sum "$lock" | cut --characters=1-16)"
    if complete "$packages" bin/python; then
        say "packages: already installed from this lock"
        return 0
    fi
    python=$(find_python)
    make_uv "$python"
    rm -rf "$packages"
    "$python" -m venv --without-pip "$packages"
    # Bytecode now: the worker may not write any here, and compiling takes 20 s of each start. By
    # the sources' hashes, not their times: those change when a folder or an image is copied.
    PYC_INVALIDATION_MODE=CHECKED_HASH "$home/.uv/bin/uv" pip sync --quiet --compile-bytecode \
        --python "$packages/bin/python" --require-hashes "$lock"
    touch "$packages/complete"
    say "packages: installed"
}

purelib() { "$1/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))'; }

# The release's own Python and command. Nothing in them goes through `current`: a worker and the
# children that it starts later run from the same release, whatever `current` names by then.
finish_release() {
    local site python="$release/.venv/bin/python"
    if complete "$release" .venv/bin/python; then return 0; fi
    "$packages/bin/python" -m venv --without-pip "$release/.venv"
    ln --symbolic --force --no-dereference "../../venvs/${packages##*/}" "$release/packages"
    site=$(purelib "$release/.venv")
    # Not a second path: the packages have .pth files of their own.
    printf '%s\nimport site; site.addsitedir("%s")\n' "$release" "$(purelib "$packages")" \
        >"$site/transcription-worker.pth"
    printf '#!%s\nfrom worker.__main__ import main\n\nmain()\n' "$python" \
        >"$release/.venv/bin/transcription-worker"
    chmod 0755 "$release/.venv/bin/transcription-worker"
    "$python" -m compileall -q --invalidation-mode checked-hash "$release"/{worker,config,scripts}
    touch "$release/complete"
}

# point LINK TARGET: renaming one link over another is atomic, there is always one to follow.
point() {
    ln --symbolic --force --no-dereference "$2" "$1.new"
    mv --no-target-directory "$1.new" "$1"
}

# From here on a start takes this release. A running worker goes on with the one it began with.
activate_release() {
    local before
    before=$(readlink "$home/current") || before=''
    if [[ $before != "releases/${release##*/}" ]]; then
        [[ -z $before ]] || point "$home/previous" "$before"
        point "$home/current" "releases/${release##*/}"
    fi
    install -D --mode=0644 --target-directory="$root/etc/systemd/system" \
        "$release"/config/transcription-worker{,@}.service
    systemctl daemon-reload
    say "release ${release##*/}: is current"
}

# A process's first word is its Python, with the release's folder spelled out (finish_release).
runs_another_release() {
    local pid python=''
    pid=$(systemctl show --property=MainPID --value "$1")
    ((${pid:-0} > 0)) && IFS= read -r -d '' python <"/proc/$pid/cmdline" &&
        [[ $python != "$release"/* ]]
}

# Keeps what is current, the release before it (for --previous), and what a process runs from.
remove_old_releases() {
    local folder link keep running
    running=$(cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\0' '\n') || true # some end meanwhile
    for folder in "$home"/releases/*; do
        if [[ ! $folder -ef $home/current && ! $folder -ef $home/previous &&
            $running != *"$folder/"* ]]; then
            remove "$folder"
        fi
    done
    for folder in "$home"/venvs/*; do
        keep=no
        for link in "$home"/releases/*/packages; do
            if [[ $link -ef $folder ]]; then keep=yes; fi
        done
        [[ $keep == yes ]] || remove "$folder"
    done
}

remove() {
    rm -f "$1/complete" # first: what is cut off here must not count
    rm -rf "$1"
    say "removed ${1#"$home"/}"
}
