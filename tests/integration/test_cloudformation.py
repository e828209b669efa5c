"""config/cloudformation.yaml created on the protocol server, as far as that goes.

moto creates queues, buckets, role, launch template, group, topics and dashboard. What its
CloudFormation leaves out (queue policy, bucket notification, lifecycle hook, scaling policies,
alarms) is put through the service's own call here, with the template's properties resolved
against the created stack: botocore checks every field of those against AWS's model.
"""

from __future__ import annotations

import ast
import base64
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import boto3
import pytest

from tests.conftest import REGION, aws_variables
from tests.scripts import load_template
from worker.aws.queue import Queue
from worker.jobs.message import Job, parse_message
from worker.jobs.request import JobDefaults
from worker.settings import load

REPOSITORY = Path(__file__).resolve().parents[2]
TEMPLATE = REPOSITORY / "config" / "cloudformation.yaml"
NAME = "fleet"
ACCOUNT = "123456789012"

# What moto's CloudFormation leaves out is said above, and done by hand below.
pytestmark = pytest.mark.filterwarnings("ignore:Tried to parse")


@dataclass(frozen=True)
class Stack:
    """A created stack: its template, its outputs, and what its references come to."""

    session: boto3.session.Session
    endpoint: str
    template: Mapping[str, Any]
    outputs: Mapping[str, str]
    physical: dict[str, str]

    def client(self, service: str) -> Any:
        """A client of the server that the stack is on."""
        return self.session.client(service, endpoint_url=self.endpoint)  # type: ignore[call-overload]

    def properties(self, name: str) -> Any:
        return self.resolve(self.template["Resources"][name]["Properties"])

    def resolve(self, value: Any) -> Any:
        """The value with Ref, Fn::GetAtt and Fn::Sub replaced."""
        if isinstance(value, list):
            return [self.resolve(item) for item in value]
        if not isinstance(value, dict):
            return value
        if "Ref" in value:
            return self._ref(value["Ref"])
        if "Fn::GetAtt" in value:
            return self._attribute(*value["Fn::GetAtt"])
        if isinstance(text := value.get("Fn::Sub"), str):
            return re.sub(r"\$\{([^}]+)\}", lambda m: str(self._named(m[1])), text)
        return {key: self.resolve(item) for key, item in value.items()}

    def _named(self, name: str) -> Any:
        logical, dot, attribute = name.partition(".")
        return self._attribute(logical, attribute) if dot else self._ref(name)

    def _ref(self, name: str) -> Any:
        pseudo = {"AWS::AccountId": ACCOUNT, "AWS::Region": REGION, "AWS::Partition": "aws"}
        pseudo["AWS::StackName"] = NAME
        if name in pseudo:
            return pseudo[name]
        return self.physical.get(name) or self.template["Parameters"][name]["Default"]

    def _attribute(self, name: str, attribute: str) -> str:
        physical = self.physical[name]
        match attribute:
            case "QueueName":
                return physical.rpartition("/")[2]
            case "Arn" if physical.startswith("http"):
                return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{physical.rpartition('/')[2]}"
            case "Arn":
                return f"arn:aws:s3:::{physical}"
        raise KeyError(f"{name}.{attribute}")


@pytest.fixture(scope="module")
def stack(aws_server: str) -> Stack:
    """One stack for the whole module: making it takes seconds."""
    with urlopen(Request(f"{aws_server}/moto-api/reset", method="POST"), timeout=10):
        pass
    variables = aws_variables()
    session = boto3.session.Session(
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
        region_name=REGION,
    )
    ec2 = session.client("ec2", endpoint_url=aws_server)
    ssm = session.client("ssm", endpoint_url=aws_server)
    cloudformation = session.client("cloudformation", endpoint_url=aws_server)
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/24")["Subnet"]["SubnetId"]
    image = ec2.describe_images()["Images"][0]["ImageId"]
    ssm.put_parameter(Name="/transcription/image", Value=image, Type="String")
    given = {
        "ReleaseUri": "s3://artifacts/worker/r.tar.gz",
        "ModelUri": "s3://models/large-v3/",
        "VpcId": vpc,
        "SubnetIds": subnet,
        "ImageParameter": "/transcription/image",
        "ResultNotices": "yes",
        "AlarmEmail": "operator@example.com",
    }
    # moto looks a default up even where a value is given, and does not have AWS's own images.
    body = re.sub(r"^    Default: /aws/service/\S+\n", "", TEMPLATE.read_text(), flags=re.MULTILINE)
    cloudformation.create_stack(
        StackName=NAME,
        TemplateBody=body,
        Capabilities=["CAPABILITY_IAM"],
        Parameters=[{"ParameterKey": k, "ParameterValue": v} for k, v in given.items()],
    )
    (created,) = cloudformation.describe_stacks(StackName=NAME)["Stacks"]
    assert created["StackStatus"] == "CREATE_COMPLETE"
    resources = cloudformation.describe_stack_resources(StackName=NAME)["StackResources"]
    physical = {
        resource["LogicalResourceId"]: resource["PhysicalResourceId"]
        for resource in resources
        if "LogicalResourceId" in resource
    }
    return Stack(
        session=session,
        endpoint=aws_server,
        template=load_template(TEMPLATE),
        outputs={o["OutputKey"]: o["OutputValue"] for o in created["Outputs"]},
        physical=physical | given,
    )


def test_template_fits_one_call() -> None:
    """Above this CloudFormation wants it in a bucket: a fourth command for the operator."""
    assert TEMPLATE.stat().st_size <= 51_200


def test_outputs_are_what_the_next_command_needs(stack: Stack) -> None:
    launch = (REPOSITORY / "scripts" / "launch-worker.sh").read_text()
    needed = set(re.findall(r"stack_output (\w+)\)", launch))
    assert needed
    assert needed <= stack.outputs.keys()
    assert stack.outputs["AudioUri"] == f"s3://fleet-audio-{ACCOUNT}-{REGION}/audio/"


def waiting(sqs: Any, url: str) -> int:
    names = ["ApproximateNumberOfMessages"]
    answer = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)
    return int(answer["Attributes"]["ApproximateNumberOfMessages"])


def test_poison_ends_on_the_dead_letter_queue(stack: Stack) -> None:
    sqs = stack.client("sqs")
    url, dead = stack.outputs["QueueUrl"], stack.outputs["DeadLetterQueueUrl"]
    info = Queue(sqs, url, visibility_timeout=120).describe()
    assert info.max_receive_count == 10
    assert info.dead_letter_url is not None
    assert info.dead_letter_url.rpartition("/")[2] == dead.rpartition("/")[2]
    sqs.send_message(QueueUrl=url, MessageBody="poison")
    for _ in range(10):
        received = sqs.receive_message(QueueUrl=url, VisibilityTimeout=0, WaitTimeSeconds=0)
        assert len(received["Messages"]) == 1
    sqs.receive_message(QueueUrl=url, WaitTimeSeconds=0)
    assert waiting(sqs, url) == 0
    assert waiting(sqs, dead) == 1


def test_a_recording_below_the_prefix_becomes_a_job(stack: Stack) -> None:
    sqs, s3 = stack.client("sqs"), stack.client("s3")
    url, bucket = stack.outputs["QueueUrl"], stack.physical["AudioBucket"]
    (configuration,) = stack.properties("AudioBucket")["NotificationConfiguration"][
        "QueueConfigurations"
    ]
    sqs.set_queue_attributes(
        QueueUrl=url,
        Attributes={"Policy": json.dumps(stack.properties("QueuePolicy")["PolicyDocument"])},
    )
    s3.put_bucket_notification_configuration(
        Bucket=bucket,
        NotificationConfiguration={
            "QueueConfigurations": [
                {
                    "QueueArn": configuration["Queue"],
                    "Events": [configuration["Event"]],
                    "Filter": {"Key": {"FilterRules": configuration["Filter"]["S3Key"]["Rules"]}},
                }
            ]
        },
    )
    s3.put_object(Bucket=bucket, Key="elsewhere/call.wav", Body=b"RIFF")
    s3.put_object(Bucket=bucket, Key="audio/été 1.wav", Body=b"RIFF")
    jobs: list[Job] = []
    while messages := sqs.receive_message(
        QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=0
    ).get("Messages", []):
        for message in messages:
            parsed = parse_message(
                message["Body"], message_id=message["MessageId"], defaults=JobDefaults()
            )
            assert not parsed.failures
            jobs.extend(parsed.jobs)
    assert [str(job.input) for job in jobs] == [f"s3://{bucket}/audio/été 1.wav"]


def written(policy: Mapping[str, Any]) -> Any:
    """A policy's document; moto gives those of a role as the text of a Python dictionary."""
    document = policy["PolicyDocument"]
    return ast.literal_eval(document) if isinstance(document, str) else document


def test_role_reaches_the_created_resources(stack: Stack) -> None:
    iam = stack.client("iam")
    role = stack.physical["Role"]
    document = written(iam.get_role_policy(RoleName=role, PolicyName="worker"))
    by_sid = {statement["Sid"]: statement for statement in document["Statement"]}
    audio, results = stack.physical["AudioBucket"], stack.physical["ResultsBucket"]
    queue = stack.outputs["QueueUrl"].rpartition("/")[2]
    dead = stack.outputs["DeadLetterQueueUrl"].rpartition("/")[2]
    assert by_sid["ServeQueue"]["Resource"] == f"arn:aws:sqs:{REGION}:{ACCOUNT}:{queue}"
    assert by_sid["KeepDeadLetters"]["Resource"] == f"arn:aws:sqs:{REGION}:{ACCOUNT}:{dead}"
    assert by_sid["ReadAudio"]["Resource"] == f"arn:aws:s3:::{audio}/*"
    assert by_sid["WriteResults"]["Resource"] == f"arn:aws:s3:::{results}/transcripts/*"
    assert by_sid["TellMissingFromForbidden"]["Resource"] == [
        f"arn:aws:s3:::{audio}",
        f"arn:aws:s3:::{results}",
    ]
    assert by_sid["FetchRelease"]["Resource"] == "arn:aws:s3:::artifacts/worker/r.tar.gz"
    names = set(iam.list_role_policies(RoleName=role)["PolicyNames"])
    assert names == {"worker", "model", "notices", "group"}
    model = written(iam.get_role_policy(RoleName=role, PolicyName="model"))
    assert [s["Resource"] for s in model["Statement"]] == [
        "arn:aws:s3:::models/large-v3/*",
        "arn:aws:s3:::models",
    ]
    group = written(iam.get_role_policy(RoleName=role, PolicyName="group"))
    assert group["Statement"][0]["Resource"].endswith(f"/{stack.outputs['AutoScalingGroupName']}")


def user_data(stack: Stack) -> str:
    (version,) = stack.client("ec2").describe_launch_template_versions(
        LaunchTemplateId=stack.physical["LaunchTemplate"]
    )["LaunchTemplateVersions"]
    return base64.b64decode(version["LaunchTemplateData"]["UserData"]).decode()


def test_instances_get_settings_that_load(stack: Stack, tmp_path: Path) -> None:
    script = user_data(stack)
    assert len(script.encode()) < 16_384
    (text,) = re.findall(r"worker\.env <<'WORKER'\n(.*?)^WORKER$", script, re.DOTALL | re.MULTILINE)
    environ = dict(re.findall(r"^(\w+)=(.*)$", text, flags=re.MULTILINE))
    settings = load({}, None, environ)
    assert settings.unknown_variables == ()
    assert settings.queue_url == stack.outputs["QueueUrl"]
    assert settings.output == stack.outputs["OutputUri"]
    assert settings.allowed_buckets == (
        stack.physical["AudioBucket"],
        stack.physical["ResultsBucket"],
    )
    assert settings.on_idle == "terminate"
    assert settings.notify_url == stack.outputs["ResultTopicArn"]
    assert settings.metrics_emf
    file = tmp_path / "user-data.sh"
    file.write_text(script)
    lint = subprocess.run(
        [Path(sys.executable).parent / "shellcheck", file],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert lint.stdout == ""


def test_group_starts_at_zero_with_closed_instances(stack: Stack) -> None:
    (group,) = stack.client("autoscaling").describe_auto_scaling_groups(
        AutoScalingGroupNames=[stack.outputs["AutoScalingGroupName"]]
    )["AutoScalingGroups"]
    assert (group["MinSize"], group["DesiredCapacity"], group["MaxSize"]) == (0, 0, 10)
    (version,) = stack.client("ec2").describe_launch_template_versions(
        LaunchTemplateId=stack.physical["LaunchTemplate"]
    )["LaunchTemplateVersions"]
    data = version["LaunchTemplateData"]
    assert data["MetadataOptions"]["HttpTokens"] == "required"
    assert data["BlockDeviceMappings"][0]["Ebs"]["Encrypted"]
    assert data["ImageId"].startswith("ami-")


def test_scaling_is_accepted(stack: Stack) -> None:
    autoscaling, cloudwatch = stack.client("autoscaling"), stack.client("cloudwatch")
    group = stack.outputs["AutoScalingGroupName"]
    for name in ("FirstInstancePolicy", "BacklogPolicy"):
        properties = typed(stack.properties(name))
        autoscaling.put_scaling_policy(PolicyName=name, **properties)
    policies = {
        policy["PolicyName"]: policy
        for policy in autoscaling.describe_policies(AutoScalingGroupName=group)["ScalingPolicies"]
    }
    (hook,) = stack.template["Resources"]["Group"]["Properties"]["LifecycleHookSpecificationList"]
    autoscaling.put_lifecycle_hook(AutoScalingGroupName=group, **hook)
    arns = {name: policy["PolicyARN"] for name, policy in policies.items()}
    alarm = typed(replace(stack, physical=stack.physical | arns).properties("FirstInstanceAlarm"))
    cloudwatch.put_metric_alarm(AlarmName="first", **alarm)
    tracking = policies["BacklogPolicy"]["TargetTrackingConfiguration"]
    assert tracking["DisableScaleIn"] is True
    assert tracking["TargetValue"] == 100.0
    (set_alarm,) = cloudwatch.describe_alarms(AlarmNames=["first"])["MetricAlarms"]
    metrics = {metric["Id"]: metric for metric in set_alarm["Metrics"]}
    (dimension,) = metrics["visible"]["MetricStat"]["Metric"]["Dimensions"]
    assert dimension["Value"] == stack.outputs["QueueUrl"].rpartition("/")[2]
    assert set_alarm["AlarmActions"] == [arns["FirstInstancePolicy"]]


@pytest.mark.parametrize("name", ["DeadLetterAlarm", "OldestMessageAlarm", "NoProgressAlarm"])
def test_alarms_are_accepted(stack: Stack, name: str) -> None:
    cloudwatch = stack.client("cloudwatch")
    cloudwatch.put_metric_alarm(AlarmName=name, **typed(stack.properties(name)))
    (alarm,) = cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"]
    assert alarm["AlarmActions"] == [stack.physical["AlarmTopic"]]


def test_dashboard_is_json(stack: Stack) -> None:
    body = stack.client("cloudwatch").get_dashboard(DashboardName=stack.outputs["DashboardName"])[
        "DashboardBody"
    ]
    queue = stack.outputs["QueueUrl"].rpartition("/")[2]
    assert len(json.loads(body)["widgets"]) > 5
    assert f'"QueueName", "{queue}"' in body


def typed(value: Any) -> Any:
    """Numbers as numbers: CloudFormation passes parameters on as text and converts by schema."""
    if isinstance(value, dict):
        return {key: typed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [typed(item) for item in value]
    if isinstance(value, str) and re.fullmatch(r"\d+(\.\d+)?", value):
        return float(value) if "." in value else int(value)
    return value
