#!/usr/bin/env bash
# Bakes a machine image with the worker's packages in it, and prints its id (launch-worker.sh
# --image). To be repeated when config/requirements.lock changes; an instance whose image has
# another lock installs the difference by itself, and says so.
#
#   ./config/bake-image.sh --release S3URI --instance-profile NAME [--subnet ID]
#       [--security-group ID] [--instance-type g4dn.xlarge] [--base-image ID] [--model NAME]
#       [--region NAME] [--parameter /name/of/ssm/parameter] [--dry-run]
#
# With --parameter the id is also written there, which is what the template's ImageParameter reads.
#
# Where the minutes of a boot go (arithmetic from sizes, except where it says measured; each
# minute of a g4dn.xlarge on demand costs 0.526 / 60 = 0.9 cents, on each instance that starts):
#
#   step                             plain image                         baked image
#   EC2 start, cloud-init            about 1 min                         the same
#   7.5 GB of packages               1 min with uv on a fast link        0: same lock, skipped
#                                    (measured once, not on EC2);
#                                    writing them to gp3 at its base
#                                    125 MB/s is 60 s by itself
#   weights, large-v3, 3.1 GB        hub at 50 to 100 MB/s: 31 to 62 s   bucket in the region to the
#                                                                        instance store at 200 MB/s:
#                                                                        16 s
#   first import of torch and CUDA   from the page cache just written    from the snapshot: its blocks
#   libraries, about 4 GB read                                           arrive on first touch, slower
#                                                                        than the disk; not measured
#   GPU test, warm-up                not measured                        the same
#
# The models that tell speakers apart are packages: 0.1 GB of these, and no weights to fetch.
#
# So the packages are baked and Whisper's weights are not: a root volume made from a snapshot is filled
# lazily, and 3 GB of weights read through it would start slower than the same file fetched from a
# bucket to the instance store, which is no part of an image anyway. If the first import is what
# you wait for, EBS fast snapshot restore or a volume initialization rate removes it, for money.

set -euo pipefail

config=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly config

usage() {
    sed -n '2,/^$/s/^# \{0,1\}//p' "$0"
}

die() {
    echo "bake-image.sh: $*" >&2
    exit 2
}

release='' profile='' subnet='' security_group='' instance_type=g4dn.xlarge model=large-v3 parameter=''
base_image=resolve:ssm:/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-24.04/latest/ami-id
region=${AWS_REGION:-${AWS_DEFAULT_REGION:-us-east-1}} dry_run=no

while (($#)); do
    option=$1
    case $option in
        --help | -h)
            usage
            exit 0
            ;;
        --dry-run) dry_run=yes ;;
        --release | --instance-profile | --subnet | --security-group | --instance-type | \
            --base-image | --model | --region | --parameter)
            (($# > 1)) || die "$option needs a value"
            case $option in
                --release) release=$2 ;;
                --instance-profile) profile=$2 ;;
                --subnet) subnet=$2 ;;
                --security-group) security_group=$2 ;;
                --instance-type) instance_type=$2 ;;
                --base-image) base_image=$2 ;;
                --model) model=$2 ;;
                --region) region=$2 ;;
                --parameter) parameter=$2 ;;
            esac
            shift
            ;;
        *) die "unknown option '$option'; see --help" ;;
    esac
    shift
done
[[ $release =~ ^s3://[A-Za-z0-9.-]+/[A-Za-z0-9._/@+-]+$ ]] ||
    die "--release '$release': the s3:// URI that scripts/make-release.sh printed"
[[ $model =~ ^[A-Za-z0-9._/-]+$ ]] || die "--model '$model': a model's name"
[[ -z $parameter || $parameter == /* ]] || die "--parameter '$parameter': a name that starts with /"
[[ -n $profile ]] || die "--instance-profile is missing"

user_data=$(
    cat <<PREAMBLE
#!/usr/bin/env bash
export AWS_DEFAULT_REGION=$region
mkdir -p /etc/transcription-worker
cat >/etc/transcription-worker/boot.env <<'BOOT'
RELEASE_URI=$release
BAKE=yes
BOOT
cat >/etc/transcription-worker/worker.env <<'WORKER'
WORKER_MODEL=$model
WORKER_DEVICE=cuda
WORKER
PREAMBLE
    tail --lines=+2 "$config/fetch-release.sh"
)

launch=(
    aws ec2 run-instances
    --region "$region"
    --image-id "$base_image"
    --instance-type "$instance_type"
    --iam-instance-profile "Name=$profile"
    --instance-initiated-shutdown-behavior stop
    --metadata-options 'HttpTokens=required,HttpEndpoint=enabled'
    --block-device-mappings
    'DeviceName=/dev/sda1,Ebs={VolumeSize=100,VolumeType=gp3,Encrypted=true,DeleteOnTermination=true}'
    --tag-specifications 'ResourceType=instance,Tags=[{Key=Name,Value=transcription-worker-bake}]'
    --query 'Instances[0].InstanceId' --output text
)
[[ -z $subnet ]] || launch+=(--subnet-id "$subnet")
[[ -z $security_group ]] || launch+=(--security-group-ids "$security_group")

if [[ $dry_run == yes ]]; then
    echo "# user data"
    echo "$user_data"
    echo "# commands (the user data above is the first one's --user-data)"
    printf '%q ' "${launch[@]}"
    echo
    echo "# then: wait until it has stopped, create-image, wait, terminate-instances"
    exit 0
fi

ec2() { aws ec2 "$@" --region "$region"; }

instance=$("${launch[@]}" --user-data "$user_data")
echo "baking on $instance" >&2
trap 'ec2 terminate-instances --instance-ids "$instance" >/dev/null' EXIT

# One wait lasts ten minutes, an install from a slow link may take more.
for attempt in 1 2 3; do
    if ec2 wait instance-stopped --instance-ids "$instance"; then break; fi
    ((attempt < 3)) || die "$instance has not stopped after half an hour"
done
# A failed install powers off as well; only this line says that the image is whole.
console=$(ec2 get-console-output --latest --instance-id "$instance" --output text)
[[ $console == *'image ready, powering off'* ]] ||
    die "the install failed: aws ec2 get-console-output --latest --instance-id $instance"

image=$(ec2 create-image --instance-id "$instance" \
    --name "transcription-worker-$(date -u +%Y%m%d-%H%M%S)" \
    --query ImageId --output text)
for attempt in 1 2 3; do
    if ec2 wait image-available --image-ids "$image"; then break; fi
    ((attempt < 3)) || die "image $image is not available after half an hour"
done
if [[ -n $parameter ]]; then
    aws ssm put-parameter --region "$region" --name "$parameter" --value "$image" \
        --type String --data-type aws:ec2:image --overwrite >/dev/null
fi
echo "$image"
