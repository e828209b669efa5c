#!/usr/bin/env bash
# Launches one instance that installs the worker, works the queue off and ends itself.
# (A fleet that scales by itself is config/cloudformation.yaml.)
#
#   ./scripts/launch-worker.sh --stack transcription --model large-v3 --spot
#
# What to run:
#   --model NAME            Whisper model, a hub name or size          (large-v3)
#   --model-uri S3URI       weights from a bucket instead of the hub
#   --release S3URI         archive that scripts/make-release.sh uploaded
#   --queue-url URL         the queue to serve
#   --output S3URI          where results go                 (the worker's default)
#   --on-idle WHAT          exit | poweroff: poweroff ends the bill    (poweroff)
#   --idle-timeout SECONDS  idle time before that                      (300)
# Where to run it:
#   --stack NAME            take release, queue, output, profile, security group and subnet
#                           from this CloudFormation stack, where they are not given
#   --instance-type TYPE    g4dn.xlarge, g5.xlarge, g6.xlarge, ...     (g4dn.xlarge)
#   --spot                  a spot instance: cheaper, may be taken back
#   --image ID              an AMI, or resolve:ssm:/path    (Deep Learning Base, Ubuntu 24.04)
#   --instance-profile NAME IAM instance profile of the worker
#   --subnet ID             subnet to launch in
#   --security-group ID     security group (only egress is needed)
#   --key-name NAME         SSH key; none by default
#   --volume-size GIB       root volume, encrypted                     (100)
#   --price DOLLARS         price per hour for the worker's cost metric
#   --region NAME           AWS region              (AWS_REGION, AWS_DEFAULT_REGION, us-east-1)
#   --dry-run               print the user data and the command, call nothing
#   --help

set -euo pipefail

config=$(cd "$(dirname "${BASH_SOURCE[0]}")/../config" && pwd)
readonly config

usage() {
    sed -n '2,/^$/s/^# \{0,1\}//p' "$0"
}

die() {
    echo "launch-worker.sh: $*" >&2
    exit 2
}

model=large-v3 model_uri='' release='' queue_url='' output='' on_idle=poweroff idle_timeout=300
stack='' instance_type=g4dn.xlarge spot=no profile='' subnet='' security_group='' key_name=''
image=resolve:ssm:/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-24.04/latest/ami-id
volume_size=100 price='' dry_run=no
region=${AWS_REGION:-${AWS_DEFAULT_REGION:-us-east-1}}

while (($#)); do
    option=$1
    case $option in
        --help | -h)
            usage
            exit 0
            ;;
        --spot) spot=yes ;;
        --dry-run) dry_run=yes ;;
        --model | --model-uri | --release | --queue-url | --output | --on-idle | --idle-timeout | \
            --stack | --instance-type | --image | --instance-profile | --subnet | \
            --security-group | --key-name | --volume-size | --price | --region)
            (($# > 1)) || die "$option needs a value"
            case $option in
                --model) model=$2 ;;
                --model-uri) model_uri=$2 ;;
                --release) release=$2 ;;
                --queue-url) queue_url=$2 ;;
                --output) output=$2 ;;
                --on-idle) on_idle=$2 ;;
                --idle-timeout) idle_timeout=$2 ;;
                --stack) stack=$2 ;;
                --instance-type) instance_type=$2 ;;
                --image) image=$2 ;;
                --instance-profile) profile=$2 ;;
                --subnet) subnet=$2 ;;
                --security-group) security_group=$2 ;;
                --key-name) key_name=$2 ;;
                --volume-size) volume_size=$2 ;;
                --price) price=$2 ;;
                --region) region=$2 ;;
            esac
            shift
            ;;
        *) die "unknown option '$option'; see --help" ;;
    esac
    shift
done

[[ $on_idle == exit || $on_idle == poweroff ]] ||
    die "--on-idle '$on_idle': exit or poweroff (terminate is for instances of a group)"
[[ $idle_timeout =~ ^[0-9]+$ ]] || die "--idle-timeout '$idle_timeout': a number of seconds"
[[ $volume_size =~ ^[0-9]+$ ]] || die "--volume-size '$volume_size': a number of GiB"
[[ -z $price || $price =~ ^[0-9]+(\.[0-9]+)?$ ]] || die "--price '$price': dollars per hour"
[[ -z $model_uri || $model_uri == s3://*/* ]] || die "--model-uri '$model_uri': s3://bucket/prefix/"

# Values land in a shell script's heredoc and in files read line by line.
for value in "$model" "$model_uri" "$release" "$queue_url" "$output"; do
    [[ $value =~ ^[A-Za-z0-9:/._@+-]*$ ]] || die "'$value' has a character that no name or URI needs"
done

# Prints one output of the stack, or a placeholder where nothing may be called.
stack_output() {
    if [[ $dry_run == yes ]]; then
        echo "<$1 of stack $stack>"
        return
    fi
    local value
    value=$(aws cloudformation describe-stacks --region "$region" --stack-name "$stack" \
        --query "Stacks[0].Outputs[?OutputKey=='$1'].OutputValue" --output text)
    [[ -n $value && $value != None ]] || die "stack $stack has no output $1"
    echo "$value"
}

if [[ -n $stack ]]; then
    [[ -n $release ]] || release=$(stack_output ReleaseUri)
    [[ -n $queue_url ]] || queue_url=$(stack_output QueueUrl)
    [[ -n $output ]] || output=$(stack_output OutputUri)
    [[ -n $profile ]] || profile=$(stack_output InstanceProfileName)
    [[ -n $security_group ]] || security_group=$(stack_output SecurityGroupId)
    [[ -n $subnet ]] || subnet=$(stack_output FirstSubnetId)
fi
[[ -n $release ]] || die "--release is missing (or --stack)"
[[ -n $queue_url ]] || die "--queue-url is missing (or --stack)"
[[ -n $profile ]] || die "--instance-profile is missing (or --stack)"

if [[ -z $price ]]; then
    # On demand, us-east-1, as of this file.
    case $instance_type in
        g4dn.xlarge) price=0.526 ;;
        g4dn.2xlarge) price=0.752 ;;
        g5.xlarge) price=1.006 ;;
        g6.xlarge) price=0.8048 ;;
        *) echo "launch-worker.sh: no price known for $instance_type, give --price: the worker's cost metric will be wrong" >&2 ;;
    esac
    if [[ $spot == yes ]]; then
        echo "launch-worker.sh: the cost metric uses the on-demand price; give today's spot price with --price" >&2
    fi
fi

user_data=$(
    cat <<PREAMBLE
#!/usr/bin/env bash
export AWS_DEFAULT_REGION=$region
mkdir -p /etc/transcription-worker
cat >/etc/transcription-worker/boot.env <<'BOOT'
RELEASE_URI=$release
MODEL_URI=$model_uri
BOOT
cat >/etc/transcription-worker/worker.env <<'WORKER'
AWS_REGION=$region
WORKER_QUEUE_URL=$queue_url
${output:+WORKER_OUTPUT=$output
}WORKER_MODEL=$model
WORKER_DEVICE=cuda
WORKER_ON_IDLE=$on_idle
WORKER_IDLE_TIMEOUT=$idle_timeout
${price:+WORKER_PRICE_PER_HOUR=$price
}WORKER
PREAMBLE
    tail --lines=+2 "$config/fetch-release.sh"
)

# poweroff must end the bill: a stopped instance still pays for its disk.
command=(
    aws ec2 run-instances
    --region "$region"
    --image-id "$image"
    --instance-type "$instance_type"
    --iam-instance-profile "Name=$profile"
    --instance-initiated-shutdown-behavior terminate
    --metadata-options 'HttpTokens=required,HttpEndpoint=enabled,HttpPutResponseHopLimit=1'
    --block-device-mappings
    "DeviceName=/dev/sda1,Ebs={VolumeSize=$volume_size,VolumeType=gp3,Encrypted=true,DeleteOnTermination=true}"
    --tag-specifications
    'ResourceType=instance,Tags=[{Key=Name,Value=transcription-worker}]'
    'ResourceType=volume,Tags=[{Key=Name,Value=transcription-worker}]'
    --query 'Instances[0].InstanceId' --output text
)
[[ $spot == no ]] || command+=(
    --instance-market-options
    'MarketType=spot,SpotOptions={SpotInstanceType=one-time,InstanceInterruptionBehavior=terminate}'
)
[[ -z $subnet ]] || command+=(--subnet-id "$subnet")
[[ -z $security_group ]] || command+=(--security-group-ids "$security_group")
[[ -z $key_name ]] || command+=(--key-name "$key_name")

if [[ $dry_run == yes ]]; then
    echo "# user data"
    echo "$user_data"
    echo "# command (the user data above is its --user-data)"
    printf '%q ' "${command[@]}"
    echo
    exit 0
fi
"${command[@]}" --user-data "$user_data"
