#!/usr/bin/env bash
# The end of an instance's user data: fetches the release that boot.env names, and hands over to its
# config/user-data.sh. scripts/launch-worker.sh and config/bake-image.sh put the settings before it;
# config/cloudformation.yaml has the same in its own words. (EC2 takes 16 KB of user data at most.)

set -euo pipefail

# What can't be fetched must not stay on the bill; `shutdown -c` keeps the machine for a look.
trap 'shutdown -h +10' ERR

# Only tests set INSTALL_ROOT.
# shellcheck source=/dev/null
source "${INSTALL_ROOT:-}/etc/transcription-worker/boot.env"
folder=$(mktemp --directory)
aws s3 cp --only-show-errors "$RELEASE_URI" "$folder/release.tar.gz"
tar --extract --gzip --file "$folder/release.tar.gz" --directory "$folder" --no-same-owner config
trap - ERR
exec bash "$folder/config/user-data.sh"
