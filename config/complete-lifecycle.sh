#!/usr/bin/env bash
# Reports to the Auto Scaling group that the worker is gone, so that the instance doesn't sit out the
# rest of the lifecycle hook's time at full price. ExecStopPost= of the units: runs as the
# worker's user after every stop, so it must do nothing, quickly, where no end is under way.
#
# The hook's name is the template's (config/cloudformation.yaml, LifecycleHookName).

set -euo pipefail

readonly hook=drain
imds=${AWS_EC2_METADATA_SERVICE_ENDPOINT:-http://169.254.169.254}
readonly imds=${imds%/}

token=$(curl --silent --fail --max-time 2 --request PUT "$imds/latest/api/token" \
    --header 'X-aws-ec2-metadata-token-ttl-seconds: 120') || exit 0

metadata() {
    curl --silent --fail --max-time 2 --header "X-aws-ec2-metadata-token: $token" \
        "$imds/latest/meta-data/$1"
}

# 404: not in a group.
state=$(metadata autoscaling/target-lifecycle-state) || exit 0

# The metadata lags some seconds behind a worker that has just ended its own instance. A worker
# that failed is restarted instead: no waiting then.
if [[ ${SERVICE_RESULT:-success} == success ]]; then
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        [[ $state != Terminated ]] || break
        sleep "${LIFECYCLE_POLL_SECONDS:-2}"
        state=$(metadata autoscaling/target-lifecycle-state) || exit 0
    done
fi
[[ $state == Terminated ]] || exit 0

# With one worker per GPU the last one reports; those that still drain need the time.
others=$(systemctl list-units --plain --no-legend --state=active,deactivating,activating \
    'transcription-worker@*.service' | wc --lines) || others=1
# systemd counts the unit that is running this script as deactivating.
if ((others > 1)); then
    exit 0
fi

instance=$(metadata instance-id)
region=$(metadata placement/region)
group=$(aws autoscaling describe-auto-scaling-instances --region "$region" \
    --instance-ids "$instance" --query 'AutoScalingInstances[0].AutoScalingGroupName' \
    --output text)
aws autoscaling complete-lifecycle-action --region "$region" \
    --auto-scaling-group-name "$group" --lifecycle-hook-name "$hook" \
    --instance-id "$instance" --lifecycle-action-result CONTINUE
