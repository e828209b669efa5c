from __future__ import annotations

from typing import Any

import pytest

from tests.fakes.scripted import script_of, worker_clients
from worker.aws.imds import Imds
from worker.aws.instance import EndResult, Instance
from worker.aws.poweroff import PowerOff
from worker.errors import SettingsError, TransientError

ID = "i-0123456789abcdef0"
NO_LIST = ["/no/such/command"]


class Somewhere(Imds):
    """A metadata service that knows the instance's id, or is absent."""

    def __init__(self, instance_id: str | None) -> None:
        super().__init__({})
        self._id = instance_id

    def available(self) -> bool:
        return self._id is not None

    def get(self, path: str) -> str | None:
        return self._id if path == "instance-id" else None


class Stubbed:
    """An instance whose clients answer from a script."""

    def __init__(self, instance_id: str | None = ID, **options: Any) -> None:
        clients = worker_clients()
        self.autoscaling = script_of(clients.autoscaling)
        self.ec2 = script_of(clients.ec2)
        self.now = 1000.0
        self.instance = Instance(Somewhere(instance_id), clients, clock=lambda: self.now, **options)

    def in_group(self, name: str | None) -> None:
        found = {
            "InstanceId": ID,
            "AutoScalingGroupName": name,
            "AvailabilityZone": "a",
            "LifecycleState": "InService",
            "HealthStatus": "HEALTHY",
            "ProtectedFromScaleIn": False,
        }
        self.autoscaling.add_response(
            "describe_auto_scaling_instances",
            {"AutoScalingInstances": [found] if name else []},
            {"InstanceIds": [ID]},
        )

    def protection(self, protected: bool) -> None:
        self.autoscaling.add_response(
            "set_instance_protection",
            {},
            {
                "InstanceIds": [ID],
                "AutoScalingGroupName": "fleet",
                "ProtectedFromScaleIn": protected,
            },
        )

    def done(self) -> None:
        self.autoscaling.assert_no_pending_responses()
        self.ec2.assert_no_pending_responses()


AT_MINIMUM = (
    "Currently, desiredSize equals minSize (1). Terminating instance without replacement will "
    "violate group's min size constraint. Either set shouldDecrementDesiredCapacity flag to "
    "false or lower group's min size."
)


def test_a_group_at_its_minimum_keeps_the_instance() -> None:
    stubbed = Stubbed()
    stubbed.in_group("fleet")
    stubbed.autoscaling.add_client_error(
        "terminate_instance_in_auto_scaling_group", "ValidationError", AT_MINIMUM, 400
    )
    assert stubbed.instance.terminate() is EndResult.AT_MINIMUM
    stubbed.done()


def test_an_instance_that_left_its_group_meanwhile_ends_through_ec2() -> None:
    stubbed = Stubbed()
    stubbed.in_group("fleet")
    stubbed.autoscaling.add_client_error(
        "terminate_instance_in_auto_scaling_group",
        "ValidationError",
        f"Instance Id not found - No managed instance found for instance ID: {ID}",
        400,
    )
    stubbed.ec2.add_response("terminate_instances", {}, {"InstanceIds": [ID]})
    assert stubbed.instance.terminate() is EndResult.ENDING
    stubbed.done()


@pytest.mark.parametrize(
    ("code", "kind"),
    [("AccessDenied", SettingsError), ("ScalingActivityInProgress", TransientError)],
)
def test_a_refused_end_says_what_to_do(code: str, kind: type[Exception]) -> None:
    stubbed = Stubbed()
    stubbed.in_group("fleet")
    stubbed.autoscaling.add_client_error(
        "terminate_instance_in_auto_scaling_group", code, "why", 400
    )
    with pytest.raises(kind, match="TerminateInstanceInAutoScalingGroup"):
        stubbed.instance.terminate()


def test_off_ec2_nothing_is_asked() -> None:
    stubbed = Stubbed(instance_id=None)
    stubbed.instance.protect()
    stubbed.instance.unprotect()
    assert stubbed.instance.terminate() is EndResult.NOT_ON_EC2
    assert stubbed.instance.group() is None
    assert stubbed.instance.mark_unhealthy() is False


def test_protection_is_set_once_and_removed_once() -> None:
    stubbed = Stubbed()
    stubbed.in_group("fleet")
    stubbed.protection(True)
    stubbed.protection(False)
    stubbed.protection(True)
    stubbed.instance.unprotect()
    for _ in range(3):
        stubbed.instance.protect()
    for _ in range(3):
        stubbed.instance.unprotect()
    stubbed.instance.protect()
    stubbed.done()


def test_protection_that_fails_is_tried_again_later() -> None:
    stubbed = Stubbed()
    stubbed.in_group("fleet")
    stubbed.autoscaling.add_client_error(
        "set_instance_protection", "ValidationError", "not in InService", 400
    )
    stubbed.instance.protect()
    stubbed.instance.protect()
    stubbed.done()
    stubbed.now += 31
    stubbed.protection(True)
    stubbed.instance.protect()
    stubbed.done()


def test_power_off_is_refused_inside_a_group() -> None:
    stubbed = Stubbed(power=PowerOff(["false"], NO_LIST))
    stubbed.in_group("fleet")
    with pytest.raises(SettingsError, match=r"'fleet'.*on_idle = 'terminate'"):
        stubbed.instance.poweroff()


def test_power_off_is_refused_where_a_group_can_not_be_ruled_out() -> None:
    stubbed = Stubbed(power=PowerOff(["true"], NO_LIST))
    stubbed.autoscaling.add_client_error(
        "describe_auto_scaling_instances", "AccessDenied", "no", 403
    )
    with pytest.raises(SettingsError, match="DescribeAutoScalingInstances"):
        stubbed.instance.poweroff()


def test_power_off_runs_its_command() -> None:
    stubbed = Stubbed(power=PowerOff(["true"], NO_LIST))
    stubbed.in_group(None)
    assert stubbed.instance.poweroff() is EndResult.ENDING
    assert Stubbed(None, power=PowerOff(["true"], NO_LIST)).instance.poweroff() is EndResult.ENDING


def test_a_power_off_that_is_blocked_is_no_end() -> None:
    blocked = PowerOff(["true"], ["echo", "apt-get 0 root 812 apt-get shutdown Installing block"])
    assert Stubbed(None, power=blocked).instance.poweroff() is EndResult.INHIBITED


def test_unhealthy_is_never_an_exception() -> None:
    stubbed = Stubbed()
    stubbed.in_group("fleet")
    stubbed.autoscaling.add_client_error("set_instance_health", "AccessDenied", "no", 403)
    assert stubbed.instance.mark_unhealthy() is False
    stubbed.in_group(None)
    assert stubbed.instance.mark_unhealthy() is False
    stubbed.done()
