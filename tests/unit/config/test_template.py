"""The CloudFormation template: what cfn-lint says, and what the fleet relies on."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from worker.daemon.emf import EMF_NAMESPACE, emf
from worker.daemon.metrics import METRICS, Snapshot
from worker.settings import Settings


def statements(resources: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Everything that an instance may do."""
    for policy in resources["Role"]["Policies"]:
        yield from policy["PolicyDocument"]["Statement"]
    for name in ("ModelPolicy", "NoticePolicy", "GroupPolicy"):
        yield from resources[name]["PolicyDocument"]["Statement"]


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def user_data(resources: Mapping[str, Any]) -> str:
    text: str = resources["LaunchTemplate"]["LaunchTemplateData"]["UserData"]["Fn::Base64"][
        "Fn::Sub"
    ][0]
    return text


def test_cfn_lint_finds_nothing(config_dir: Path) -> None:
    result = subprocess.run(
        [Path(sys.executable).parent / "cfn-lint", config_dir / "cloudformation.yaml"],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert (result.returncode, result.stdout) == (0, "")


def test_interruptions_alone_dead_letter_nothing(
    template: Mapping[str, Any], resources: Mapping[str, Any]
) -> None:
    assert resources["Queue"]["RedrivePolicy"] == {
        "deadLetterTargetArn": {"Fn::GetAtt": ["DeadLetterQueue", "Arn"]},
        "maxReceiveCount": {"Ref": "MaxReceiveCount"},
    }
    parameter = template["Parameters"]["MaxReceiveCount"]
    assert parameter["Default"] >= 10
    assert parameter["MinValue"] >= 10


def test_dead_letters_outlive_the_queue(resources: Mapping[str, Any]) -> None:
    """SQS keeps the first sending date of what it moves."""
    queue, dead = resources["Queue"], resources["DeadLetterQueue"]
    assert dead["MessageRetentionPeriod"] > queue["MessageRetentionPeriod"]


def test_visibility_is_the_workers(resources: Mapping[str, Any]) -> None:
    default = Settings.model_fields["visibility_timeout"].default
    assert resources["Queue"]["VisibilityTimeout"] == default


def test_only_the_audio_prefix_makes_messages(
    template: Mapping[str, Any], resources: Mapping[str, Any]
) -> None:
    (configuration,) = resources["AudioBucket"]["NotificationConfiguration"]["QueueConfigurations"]
    assert configuration["Event"] == "s3:ObjectCreated:*"
    assert configuration["Filter"]["S3Key"]["Rules"] == [
        {"Name": "prefix", "Value": {"Ref": "AudioPrefix"}}
    ]
    # S3 sends a test message when the bucket is made: by then it must be allowed to.
    assert template["Resources"]["AudioBucket"]["DependsOn"] == "QueuePolicy"


def test_the_queue_lets_this_bucket_send_and_nobody_else(resources: Mapping[str, Any]) -> None:
    (statement,) = resources["QueuePolicy"]["PolicyDocument"]["Statement"]
    name = resources["AudioBucket"]["BucketName"]["Fn::Sub"]
    assert statement["Principal"] == {"Service": "s3.amazonaws.com"}
    assert statement["Action"] == "sqs:SendMessage"
    source = statement["Condition"]["ArnEquals"]["aws:SourceArn"]["Fn::Sub"]
    assert source == f"arn:${{AWS::Partition}}:s3:::{name}"


def test_buckets_are_private_encrypted_and_kept(
    template: Mapping[str, Any], resources: Mapping[str, Any]
) -> None:
    for name in ("AudioBucket", "ResultsBucket"):
        assert all(resources[name]["PublicAccessBlockConfiguration"].values())
        assert resources[name]["BucketEncryption"]
        assert template["Resources"][name]["DeletionPolicy"] == "Retain"


def test_an_instance_may_do_what_it_needs_and_no_more(resources: Mapping[str, Any]) -> None:
    actions = {action for s in statements(resources) for action in as_list(s["Action"])}
    assert actions == {
        "sqs:ReceiveMessage",
        "sqs:DeleteMessage",
        "sqs:ChangeMessageVisibility",
        "sqs:GetQueueAttributes",
        "sqs:GetQueueUrl",
        "sqs:SendMessage",
        "s3:GetObject",
        "s3:GetObjectVersion",
        "s3:PutObject",
        "s3:DeleteObject",
        "s3:ListBucket",
        "sns:Publish",
        "logs:CreateLogStream",
        "logs:DescribeLogStreams",
        "logs:PutLogEvents",
        "autoscaling:DescribeAutoScalingInstances",
        "autoscaling:SetInstanceProtection",
        "autoscaling:SetInstanceHealth",
        "autoscaling:TerminateInstanceInAutoScalingGroup",
        "autoscaling:CompleteLifecycleAction",
    }
    everywhere = [
        as_list(s["Action"]) for s in statements(resources) if "*" in as_list(s["Resource"])
    ]
    # The only call among them that knows no resources.
    assert everywhere == [["autoscaling:DescribeAutoScalingInstances"]]


def test_an_instance_can_tell_a_missing_object_from_a_forbidden_one(
    resources: Mapping[str, Any],
) -> None:
    (listing,) = [s for s in statements(resources) if s.get("Sid") == "TellMissingFromForbidden"]
    assert listing["Resource"] == [
        {"Fn::GetAtt": ["AudioBucket", "Arn"]},
        {"Fn::GetAtt": ["ResultsBucket", "Arn"]},
    ]


def test_an_instance_writes_only_below_the_output_prefix(resources: Mapping[str, Any]) -> None:
    (writing,) = [s for s in statements(resources) if "s3:PutObject" in as_list(s["Action"])]
    assert writing["Resource"] == {"Fn::Sub": "${ResultsBucket.Arn}/transcripts/*"}
    assert "WORKER_OUTPUT=s3://${ResultsBucket}/transcripts/\n" in user_data(resources)


def test_launch_template_is_closed(resources: Mapping[str, Any]) -> None:
    data = resources["LaunchTemplate"]["LaunchTemplateData"]
    assert data["MetadataOptions"]["HttpTokens"] == "required"
    (disk,) = data["BlockDeviceMappings"]
    assert disk["Ebs"]["Encrypted"] is True
    assert "SecurityGroupIngress" not in resources["SecurityGroup"]


def test_settings_of_the_fleet_are_settings(resources: Mapping[str, Any]) -> None:
    names = re.findall(r"^WORKER_(\w+)=", user_data(resources), flags=re.MULTILINE)
    assert {name.lower() for name in names} <= set(Settings.model_fields)
    assert "WORKER_ON_IDLE=terminate\n" in user_data(resources)
    # On `auto` a broken driver would mean a CPU at the price of a GPU.
    assert "WORKER_DEVICE=cuda\n" in user_data(resources)


def test_group_is_spot_over_the_gpu_families(resources: Mapping[str, Any]) -> None:
    group = resources["Group"]
    distribution = group["MixedInstancesPolicy"]["InstancesDistribution"]
    assert distribution["OnDemandBaseCapacity"] == 0
    assert distribution["SpotAllocationStrategy"].startswith("capacity-optimized")
    types = [
        o["InstanceType"] for o in group["MixedInstancesPolicy"]["LaunchTemplate"]["Overrides"]
    ]
    assert types[0] == "g4dn.xlarge"
    assert {name.split(".")[0] for name in types} == {"g4dn", "g5", "g6"}
    assert group["MinSize"] == "0"
    # A stack update would set a fleet at work back to it.
    assert "DesiredCapacity" not in group


def test_lifecycle_hook_outlasts_the_drain(resources: Mapping[str, Any], config_dir: Path) -> None:
    (hook,) = resources["Group"]["LifecycleHookSpecificationList"]
    assert hook["LifecycleTransition"] == "autoscaling:EC2_INSTANCE_TERMINATING"
    assert hook["HeartbeatTimeout"] > Settings.model_fields["drain_timeout"].default
    assert hook["DefaultResult"] == "CONTINUE"
    script = (config_dir / "complete-lifecycle.sh").read_text()
    assert f"readonly hook={hook['LifecycleHookName']}\n" in script


def test_nothing_scales_in_but_the_workers(resources: Mapping[str, Any]) -> None:
    tracking = resources["BacklogPolicy"]["TargetTrackingConfiguration"]
    assert tracking["DisableScaleIn"] is True
    assert resources["FirstInstancePolicy"]["AdjustmentType"] == "ChangeInCapacity"
    assert all(
        step["ScalingAdjustment"] > 0
        for step in resources["FirstInstancePolicy"]["StepAdjustments"]
    )


def test_scaling_reads_metrics_that_the_group_sends(resources: Mapping[str, Any]) -> None:
    """Group metrics are off unless asked for; a policy on a metric that isn't there never acts."""
    (collection,) = resources["Group"]["MetricsCollection"]
    specification = resources["BacklogPolicy"]["TargetTrackingConfiguration"][
        "CustomizedMetricSpecification"
    ]
    read = {
        metric["MetricStat"]["Metric"]["MetricName"]
        for metric in [*specification["Metrics"], *resources["FirstInstanceAlarm"]["Metrics"]]
        if metric.get("MetricStat", {}).get("Metric", {}).get("Namespace") == "AWS/AutoScaling"
    }
    assert read == {"GroupDesiredCapacity", "GroupInServiceInstances"}
    assert read <= set(collection["Metrics"])


def test_there_is_an_alarm_for_each_kind_of_trouble(resources: Mapping[str, Any]) -> None:
    topic = {"Ref": "AlarmTopic"}
    for name in ("DeadLetterAlarm", "OldestMessageAlarm", "NoProgressAlarm"):
        assert topic in resources[name]["AlarmActions"]
    assert resources["OldestMessageAlarm"]["MetricName"] == "ApproximateAgeOfOldestMessage"
    assert resources["DeadLetterAlarm"]["Dimensions"][0]["Value"] == {
        "Fn::GetAtt": ["DeadLetterQueue", "QueueName"]
    }


def test_dashboard_shows_metrics_that_the_worker_sends(resources: Mapping[str, Any]) -> None:
    body = resources["Dashboard"]["DashboardBody"]["Fn::Sub"]
    dashboard = json.loads(re.sub(r"\$\{[^}]+\}", "0", body))
    shown = {
        (metric[0], metric[1])
        for widget in dashboard["widgets"]
        for metric in widget["properties"]["metrics"]
    }
    own = {name for namespace, name in shown if namespace == EMF_NAMESPACE}
    sent = json.loads(emf(_snapshot(2.0), _snapshot(1.0), queue="jobs", epoch=0.0))
    definition = sent["_aws"]["CloudWatchMetrics"][0]
    assert own
    assert own <= {metric["Name"] for metric in definition["Metrics"]}
    # The widgets name this one dimension; another set would show nothing.
    assert definition["Dimensions"] == [["Queue"]]
    assert {namespace for namespace, _ in shown} == {EMF_NAMESPACE, "AWS/SQS", "AWS/AutoScaling"}


def _snapshot(amount: float) -> Snapshot:
    return Snapshot(dict.fromkeys(METRICS, amount))
