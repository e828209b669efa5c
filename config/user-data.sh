#!/usr/bin/env bash
# Turns a fresh GPU instance into a running transcription worker. Runs as root at the first boot
# (cloud-init) and, because it installs itself there, at every later one: what is in place already
# is left alone. Needs Ubuntu 24.04 with NVIDIA's driver and the AWS command line, such as the Deep
# Learning Base AMI, or an image from config/bake-image.sh.
#
#   user-data.sh             installs the release that boot.env names, and starts the worker, or
#                            drains and restarts one that runs another release
#   user-data.sh --previous  the same with the release that was installed before this one
#
# What it needs is in two files, written before it by whoever launches the instance
# (config/cloudformation.yaml, scripts/launch-worker.sh, config/bake-image.sh):
#   /etc/transcription-worker/worker.env  the worker's settings (see config/worker.env.example)
#   /etc/transcription-worker/boot.env    this script's, KEY=value:
#     RELEASE_URI  s3://bucket/key of the archive that scripts/make-release.sh uploads, or the path
#                  of one that it wrote (required)
#     MODEL_URI    s3://bucket/prefix/ of CTranslate2 weights; empty: the hub, by WORKER_MODEL
#     LOG_GROUP    CloudWatch log group for the worker's log; empty: none
#     GPU_TEST     yes | no (a CPU machine): whether the card is tested before the start
#     BAKE         yes: install everything, start nothing, clean up, power off
#     KEEP         yes: a machine of your own. It is not ended when this fails, and systemd starts
#                  the worker at the next boot, not this script
#
# An instance that can't be made to work is ended, not left on the bill: out of its group with the
# desired capacity lowered, or by powering off in ten minutes. Its console log says why.

set -Eeuo pipefail

# Only tests set INSTALL_ROOT.
readonly root="${INSTALL_ROOT:-}"
readonly home="$root/opt/transcription-worker"
readonly settings="$root/etc/transcription-worker"
readonly cache="$root/var/cache/transcription-worker"
readonly logs="$root/var/log"
readonly user=transcription
imds=${AWS_EC2_METADATA_SERVICE_ENDPOINT:-http://169.254.169.254}
readonly imds=${imds%/}

# Before anything that may end the instance: a mistyped argument must not.
case ${1:-} in
    '') ;;
    --previous)
        if [[ ! -e $home/previous ]]; then
            echo "user-data.sh: there is no release before this one" >&2
            exit 2
        fi
        ;;
    *)
        echo "user-data.sh: '$1' is not --previous, its one option" >&2
        exit 2
        ;;
esac

# shellcheck source=config/releases.sh
source "$(dirname "$(readlink --canonicalize "${BASH_SOURCE[0]}")")/releases.sh"

# Everything below $home is read by the worker's user, whatever root's habit is.
umask 022

exec > >(tee -a "$logs/transcription-worker-boot.log") 2>&1

# `date` on each line shows afterwards where the minutes went.
say() { echo "$(date -u +%H:%M:%S) transcription-worker boot: $*"; }

metadata() {
    local token
    token=$(curl --silent --fail --max-time 5 --request PUT "$imds/latest/api/token" \
        --header 'X-aws-ec2-metadata-token-ttl-seconds: 300') || return 1
    curl --silent --fail --max-time 5 --header "X-aws-ec2-metadata-token: $token" \
        "$imds/latest/meta-data/$1"
}

fail() {
    say "FAILED: $*"
    exit 1
}

end_instance() {
    local instance region
    if instance=$(metadata instance-id) && region=$(metadata placement/region) &&
        aws autoscaling terminate-instance-in-auto-scaling-group --region "$region" \
            --instance-id "$instance" --should-decrement-desired-capacity; then
        say "left the Auto Scaling group"
    else
        say "powering off in ten minutes; 'shutdown -c' keeps the machine for a look"
        shutdown -h +10
    fi
}

on_exit() {
    local status=$?
    trap - ERR
    if ((status != 0)); then
        say "GIVING UP (exit $status)"
        [[ $KEEP == yes ]] || end_instance
    fi
}
KEEP=no
# Unlike ERR, EXIT does not fire once more for every subshell on the way out.
trap on_exit EXIT
trap 'say "line $LINENO: $BASH_COMMAND"' ERR

read_boot_settings() {
    local region
    RELEASE_URI='' MODEL_URI='' LOG_GROUP='' GPU_TEST=yes BAKE=no
    # shellcheck source=/dev/null
    source "$settings/boot.env"
    # Off EC2 whatever the environment says.
    if region=$(metadata placement/region); then export AWS_DEFAULT_REGION=$region; fi
    [[ -n $RELEASE_URI ]] || fail "RELEASE_URI is missing in $settings/boot.env"
}

# The instance store is faster than the root volume and costs nothing more.
use_instance_store() {
    mkdir -p "$cache"
    if mountpoint --quiet "$root/opt/dlami/nvme" && ! mountpoint --quiet "$cache"; then
        mkdir -p "$root/opt/dlami/nvme/transcription-worker"
        mount --bind "$root/opt/dlami/nvme/transcription-worker" "$cache"
        say "cache on the instance store"
    fi
}

# Two runs at once (a boot's and a person's) would unpack over each other.
wait_for_other_run() {
    mkdir -p "$home"
    exec {lock}>"$home/.lock"
    flock --nonblock "$lock" || { say "waiting for another run" && flock "$lock"; }
}

install_service() {
    install -D --mode=0644 "$release/config/transcription-worker.sysusers.conf" \
        "$root/usr/lib/sysusers.d/transcription-worker.conf"
    install -D --mode=0644 "$release/config/transcription-worker.tmpfiles.conf" \
        "$root/usr/lib/tmpfiles.d/transcription-worker.conf"
    install -D --mode=0644 "$release/config/transcription-worker.logrotate" \
        "$root/etc/logrotate.d/transcription-worker"
    install -D --mode=0644 "$release/config/transcription-worker.polkit.rules" \
        "$root/etc/polkit-1/rules.d/50-transcription-worker.rules"
    systemd-sysusers transcription-worker.conf
    # Ownership of a bind-mounted cache is set here too.
    systemd-tmpfiles --create transcription-worker.conf
    if [[ -f $settings/worker.env ]]; then
        chown root:"$user" "$settings/worker.env"
        chmod 0640 "$settings/worker.env"
    fi
    say "user and folders made"
}

# The unit's device list is made from what is loaded when it starts.
load_driver() {
    echo nvidia-uvm >"$root/etc/modules-load.d/transcription-worker.conf"
    modprobe nvidia-uvm
    nvidia-smi --query-gpu=index,name,driver_version,memory.total --format=csv
}

fetch_model() {
    local directory="$cache/models/from-bucket"
    [[ -n $MODEL_URI ]] || return 0
    aws s3 sync --only-show-errors "$MODEL_URI" "$directory"
    [[ -f $directory/model.bin ]] || fail "no model.bin below $MODEL_URI"
    chown --recursive "$user:$user" "$directory"
    # The last assignment wins, so a second run changes nothing.
    if ! grep --quiet "^WORKER_MODEL=$directory\$" "$settings/worker.env"; then
        echo "WORKER_MODEL=$directory" >>"$settings/worker.env"
    fi
    say "weights fetched"
}

# Runs as the worker's user with the worker's settings, so that it tests what will run and leaves
# the weights where the worker looks for them.
test_gpu() {
    [[ $GPU_TEST == yes ]] || return 0
    if systemctl --quiet is-active 'transcription-worker*.service'; then
        say "GPU test: left out, a running worker holds the card's memory and is the proof"
        return 0
    fi
    touch "$logs/gpu-test.log"
    chown "$user:$user" "$logs/gpu-test.log"
    systemd-run --quiet --wait --pipe --collect --unit=transcription-worker-gpu-test \
        --property=User="$user" \
        --property=EnvironmentFile="$settings/worker.env" \
        --setenv=HOME=/var/lib/transcription-worker \
        --setenv=HF_HOME="$cache/hub" --setenv=TORCH_HOME="$cache/torch" \
        --setenv=XDG_CACHE_HOME="$cache" --setenv=CUDA_CACHE_PATH="$cache/cuda" \
        "$release/.venv/bin/python" "$release/scripts/test-gpu-optimization.py" \
        --log-file "$logs/gpu-test.log" ||
        fail "the GPU test failed: $(tail --lines=1 "$logs/gpu-test.log")"
    say "$(tail --lines=1 "$logs/gpu-test.log")"
}

ship_logs() {
    local unit ctl="$root/opt/aws/amazon-cloudwatch-agent/bin/amazon-cloudwatch-agent-ctl"
    [[ -n $LOG_GROUP ]] || return 0
    if [[ ! -x $ctl ]]; then
        say "no CloudWatch agent on this image: logs stay on the machine"
        return 0
    fi
    # Metrics are lines on the worker's stdout. systemd opens the file, as root.
    mkdir -p "$logs/transcription-worker-emf"
    for unit in transcription-worker transcription-worker@; do
        mkdir -p "$root/etc/systemd/system/$unit.service.d"
        printf '[Service]\nStandardOutput=append:%s/transcription-worker-emf/%%N.emf\n' "$logs" \
            >"$root/etc/systemd/system/$unit.service.d/metrics.conf"
    done
    systemctl daemon-reload
    cat >"$settings/cloudwatch-agent.json" <<JSON
{"logs": {"logs_collected": {"files": {"collect_list": [
  {"file_path": "$logs/transcription-worker/*.log", "log_group_name": "$LOG_GROUP",
   "log_stream_name": "{instance_id}"},
  {"file_path": "$logs/transcription-worker-emf/*.emf", "log_group_name": "$LOG_GROUP",
   "log_stream_name": "{instance_id}-metrics"},
  {"file_path": "$logs/gpu-test.log", "log_group_name": "$LOG_GROUP",
   "log_stream_name": "{instance_id}-gpu-test"},
  {"file_path": "$logs/transcription-worker-boot.log", "log_group_name": "$LOG_GROUP",
   "log_stream_name": "{instance_id}-boot"}
]}}}}
JSON
    "$ctl" -a fetch-config -m ec2 -s -c "file:$settings/cloudwatch-agent.json"
    say "logs go to $LOG_GROUP"
}

finish_image() {
    # Nothing of this instance may be in the image: settings, logs, identity.
    rm -f "$settings"/*.env "$logs/gpu-test.log"
    rm -rf "$logs"/transcription-worker/*
    cloud-init clean --logs --machine-id
    say "image ready, powering off"
    shutdown -h now
}

# Not `systemctl enable`: after a reboot the instance store must be in place before the worker.
run_at_every_boot() {
    [[ $KEEP == no ]] || return 0
    mkdir -p "$root/var/lib/cloud/scripts/per-boot"
    ln --symbolic --force "$home/current/config/user-data.sh" \
        "$root/var/lib/cloud/scripts/per-boot/transcription-worker"
}

start_workers() {
    local gpus=0 index unit units=() old=()
    if [[ $GPU_TEST == yes ]]; then gpus=$(nvidia-smi --list-gpus | wc --lines); fi
    if ((gpus > 1)); then
        for ((index = 0; index < gpus; index++)); do
            units+=("transcription-worker@$index.service")
        done
    else
        units=(transcription-worker.service)
    fi
    if [[ $KEEP == yes ]]; then systemctl enable "${units[@]}"; fi
    # One that systemd has given up on is tried again.
    systemctl reset-failed "${units[@]}" 2>/dev/null || true
    for unit in "${units[@]}"; do
        if runs_another_release "$unit"; then old+=("$unit"); fi
    done
    # Those that run this release already stay as they are.
    systemctl start --no-block "${units[@]}"
    if ((${#old[@]})); then
        say "on another release: ${old[*]}; each drains, then starts with this one"
        systemctl restart --no-block "${old[@]}"
    fi
    say "workers starting: ${#units[@]}"
}

main() {
    say "begin"
    read_boot_settings
    use_instance_store
    wait_for_other_run
    if [[ ${1:-} == --previous ]]; then take_previous; else unpack_release; fi
    install_packages
    finish_release
    install_service
    if [[ $GPU_TEST == yes ]]; then load_driver; fi
    fetch_model
    test_gpu
    activate_release
    if [[ $BAKE == yes ]]; then
        finish_image
        return 0
    fi
    ship_logs
    run_at_every_boot
    start_workers
    remove_old_releases || say "some old releases are left" # a worker is at work by now
    say "done"
}

main "$@"
