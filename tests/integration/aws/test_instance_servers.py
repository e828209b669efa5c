"""The instance against a metadata service and moto's EC2 and Auto Scaling."""

from __future__ import annotations

import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator

import pytest
from structlog.testing import capture_logs

from tests.fakes.imds import FakeImds
from worker.aws.clients import Clients, make_clients
from worker.aws.imds import Imds, SpotNotice
from worker.aws.instance import EndResult, Instance, InstanceWatcher
from worker.errors import TransientError


@pytest.fixture
def server() -> Iterator[FakeImds]:
    with FakeImds() as fake:
        yield fake


def imds_of(server: FakeImds) -> Imds:
    return Imds({"AWS_EC2_METADATA_SERVICE_ENDPOINT": server.endpoint})


def test_a_service_out_of_reach_is_no_reason_to_switch_off(server: FakeImds) -> None:
    imds = imds_of(server)
    assert imds.available()
    server.broken = True
    server.forget_tokens()
    with pytest.raises(TransientError):
        Instance(imds, make_clients()).poweroff()


class Seen:
    def __init__(self) -> None:
        self.notices: list[SpotNotice] = []
        self.others: list[str] = []

    def watcher(self, imds: Imds) -> InstanceWatcher:
        return InstanceWatcher(
            imds,
            on_spot_notice=self.notices.append,
            on_rebalance=lambda: self.others.append("rebalance"),
            on_terminating=lambda: self.others.append("terminating"),
            poll_seconds=0.02,
        )


def until(condition: Callable[[], object], seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited for too long"
        time.sleep(0.01)


def test_each_sign_of_the_end_is_reported_once(server: FakeImds) -> None:
    seen = Seen()
    watcher = seen.watcher(imds_of(server))
    watcher.start()
    try:
        until(lambda: server.calls["spot/instance-action"] > 3)
        assert (seen.notices, seen.others) == ([], [])
        server["events/recommendations/rebalance"] = '{"noticeTime": "2026-01-01T00:00:00Z"}'
        until(lambda: seen.others == ["rebalance"])
        server.announce_termination(90)
        until(lambda: seen.notices)
        server["autoscaling/target-lifecycle-state"] = "Terminated"
        until(lambda: seen.others == ["rebalance", "terminating"])
        before = server.calls["spot/instance-action"]
        until(lambda: server.calls["spot/instance-action"] > before + 3)
    finally:
        watcher.stop()
    assert len(seen.notices) == 1
    assert seen.notices[0].action == "terminate"
    assert 80 < seen.notices[0].seconds_left() <= 90
    assert seen.others == ["rebalance", "terminating"]
    assert not watcher.alive
    assert watcher.failure is None
    assert server.calls["token"] == 1


def test_a_service_that_fails_for_a_while_is_watched_on(server: FakeImds) -> None:
    seen = Seen()
    watcher = seen.watcher(imds_of(server))
    watcher.poll()
    server.broken = True
    watcher.poll()
    watcher.poll()
    server.broken = False
    server.announce_termination(120)
    watcher.poll()
    assert len(seen.notices) == 1


def test_off_ec2_the_watcher_idles() -> None:
    seen = Seen()
    watcher = seen.watcher(Imds({"AWS_EC2_METADATA_DISABLED": "true"}))
    watcher.start()
    time.sleep(0.1)
    assert watcher.alive
    watcher.stop()
    assert not watcher.alive
    assert (seen.notices, seen.others, watcher.failure) == ([], [], None)


def test_a_callback_that_raises_is_a_dead_watcher(server: FakeImds) -> None:
    def fail(notice: SpotNotice) -> None:
        raise ValueError("a defect")

    server.announce_termination(90)
    watcher = InstanceWatcher(
        imds_of(server),
        on_spot_notice=fail,
        on_rebalance=lambda: None,
        on_terminating=lambda: None,
        poll_seconds=0.02,
    )
    with capture_logs() as logged:
        watcher.start()
        until(lambda: not watcher.alive)
    assert isinstance(watcher.failure, ValueError)
    assert "instance.watcher_died" in [line["event"] for line in logged]
    watcher.stop()


# Auto Scaling and EC2.


class Fleet:
    """One instance, in a group or not, with its metadata service."""

    def __init__(self, clients: Clients, server: FakeImds) -> None:
        self.clients = clients
        self._server = server
        self.name = f"fleet-{uuid.uuid4().hex[:8]}"
        self._image = "ami-12c6146b"  # one that moto knows

    def alone(self) -> Instance:
        started = self.clients.ec2.run_instances(
            ImageId=self._image, MinCount=1, MaxCount=1, InstanceType="g4dn.xlarge"
        )
        return self._on(started["Instances"][0]["InstanceId"])

    def in_group(self, *, size: int = 2) -> Instance:
        self.clients.ec2.create_launch_template(
            LaunchTemplateName=self.name,
            LaunchTemplateData={"ImageId": self._image, "InstanceType": "g4dn.xlarge"},
        )
        self.clients.autoscaling.create_auto_scaling_group(
            AutoScalingGroupName=self.name,
            LaunchTemplate={"LaunchTemplateName": self.name},
            MinSize=0,
            MaxSize=4,
            DesiredCapacity=size,
            AvailabilityZones=["us-east-1a"],
        )
        return self._on(self.members()[0])

    def _on(self, instance_id: str) -> Instance:
        self.instance_id = instance_id
        self._server["instance-id"] = instance_id
        return Instance(imds_of(self._server), self.clients)

    def group(self) -> dict[str, object]:
        groups = self.clients.autoscaling.describe_auto_scaling_groups(
            AutoScalingGroupNames=[self.name]
        )
        return dict(groups["AutoScalingGroups"][0])

    def members(self) -> list[str]:
        found = self.clients.autoscaling.describe_auto_scaling_instances()
        return [
            member["InstanceId"]
            for member in found["AutoScalingInstances"]
            if member["AutoScalingGroupName"] == self.name
        ]

    def member(self) -> dict[str, object]:
        found = self.clients.autoscaling.describe_auto_scaling_instances(
            InstanceIds=[self.instance_id]
        )
        return dict(found["AutoScalingInstances"][0])

    def state(self) -> str:
        found = self.clients.ec2.describe_instances(InstanceIds=[self.instance_id])
        return found["Reservations"][0]["Instances"][0]["State"]["Name"]


SERVER = """
import sys
from moto.server import ThreadedMotoServer

server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print("http://{}:{}".format(*server.get_host_and_port()), flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def cloud() -> Iterator[str]:
    """A moto in a process of its own: with EC2 loaded, every reset of it takes seconds."""
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdin is not None
        yield process.stdout.readline().strip()
        process.stdin.close()
        process.kill()


@pytest.fixture
def fleet(cloud: str, server: FakeImds, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    monkeypatch.setenv("AWS_ENDPOINT_URL", cloud)
    return Fleet(make_clients(), server)


def test_in_a_group_the_end_makes_it_smaller(fleet: Fleet) -> None:
    instance = fleet.in_group(size=2)
    assert instance.group() == fleet.name
    assert instance.terminate() is EndResult.ENDING
    assert fleet.group()["DesiredCapacity"] == 1
    assert fleet.instance_id not in fleet.members()
    assert fleet.state() == "terminated"


def test_without_a_group_the_end_is_ec2s(fleet: Fleet) -> None:
    instance = fleet.alone()
    assert instance.group() is None
    assert instance.terminate() is EndResult.ENDING
    assert fleet.state() in ("shutting-down", "terminated")


def test_scale_in_protection_is_set_and_removed(fleet: Fleet) -> None:
    instance = fleet.in_group()
    instance.protect()
    assert fleet.member()["ProtectedFromScaleIn"] is True
    instance.unprotect()
    assert fleet.member()["ProtectedFromScaleIn"] is False


def test_an_instance_that_cannot_work_is_marked_unhealthy(fleet: Fleet) -> None:
    instance = fleet.in_group()
    assert instance.mark_unhealthy()
    assert str(fleet.member()["HealthStatus"]).lower() == "unhealthy"


def test_outside_a_group_there_is_nothing_to_protect_or_mark(fleet: Fleet) -> None:
    instance = fleet.alone()
    instance.protect()
    instance.unprotect()
    assert not instance.mark_unhealthy()
    assert fleet.state() == "running"
