"""The instance the worker runs on: watch for its end, protect it from scale-in, end it.

Off EC2 there is nothing to watch, to protect or to terminate; only power-off works there.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING

from worker.aws.faults import AWS_ERRORS, describe, error_code, transient
from worker.aws.imds import Imds, SpotNotice, is_terminating, parse_instance_action
from worker.aws.poweroff import PowerOff
from worker.errors import SettingsError, TransientError
from worker.logs import get_logger
from worker.threads import StoppableThread

if TYPE_CHECKING:
    from worker.aws.clients import Clients

__all__ = ["EndResult", "Instance", "InstanceWatcher"]

log = get_logger(__name__)

_OFF_EC2_POLL_SECONDS = 60.0
_GROUP_MEMORY_SECONDS = 300.0
_PROTECT_RETRY_SECONDS = 30.0


class InstanceWatcher(StoppableThread):
    """A thread that asks the metadata service whether the instance is about to end.

    Each callback is called once at most, on the watcher's thread. Off EC2 the thread only asks
    once a minute whether it is on EC2 now.

    Args:
        imds: the metadata service.
        on_spot_notice: called when EC2 announces a spot interruption.
        on_rebalance: called when EC2 recommends to rebalance: an interruption is likely.
        on_terminating: called when Auto Scaling ends this instance.
        poll_seconds: between polls; AWS recommends 5 for spot notices.
        wall_clock: epoch seconds, for the notice's time.
    """

    def __init__(
        self,
        imds: Imds,
        *,
        on_spot_notice: Callable[[SpotNotice], None],
        on_rebalance: Callable[[], None],
        on_terminating: Callable[[], None],
        poll_seconds: float = 5.0,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__("instance-watcher", self._run, _log_death)
        self._imds = imds
        self._on_spot_notice = on_spot_notice
        self._on_rebalance = on_rebalance
        self._on_terminating = on_terminating
        self._poll_seconds = poll_seconds
        self._wall_clock = wall_clock
        self._seen: set[str] = set()
        self._on_ec2 = False
        self._out_of_reach = False

    def _run(self) -> None:
        while not self.stopping.is_set():
            self.poll()
            self.stopping.wait(self._poll_seconds if self._on_ec2 else _OFF_EC2_POLL_SECONDS)

    def poll(self) -> None:
        """Ask once, and call the callbacks for whatever is new."""
        if not self._on_ec2:
            self._on_ec2 = self._imds.available()
            if not self._on_ec2:
                return
        try:
            action = self._imds.get("spot/instance-action")
            rebalance = self._imds.get("events/recommendations/rebalance")
            state = self._imds.get("autoscaling/target-lifecycle-state")
        except TransientError as error:
            if not self._out_of_reach:
                log.warning(
                    "instance.imds_unreachable",
                    message="The instance metadata service does not answer",
                    error=str(error),
                )
            self._out_of_reach = True
            return
        self._out_of_reach = False
        if action is not None and self._first("spot"):
            notice = parse_instance_action(action, self._wall_clock())
            log.warning(
                "instance.spot_notice",
                message=f"Spot interruption: the instance will {notice.action}",
                action=notice.action,
                seconds_left=round(notice.seconds_left(self._wall_clock()), 1),
            )
            self._on_spot_notice(notice)
        if state is not None and is_terminating(state) and self._first("terminating"):
            log.warning(
                "instance.terminating",
                message="Auto Scaling is ending this instance",
                state=state.strip(),
            )
            self._on_terminating()
        if rebalance is not None and self._first("rebalance"):
            log.warning("instance.rebalance", message="EC2 recommends to leave this instance soon")
            self._on_rebalance()

    def _first(self, what: str) -> bool:
        if what in self._seen:
            return False
        self._seen.add(what)
        return True


def _log_death(_: str, error: BaseException) -> None:
    """The daemon sees `InstanceWatcher.failure` and drains."""
    log.critical("instance.watcher_died", message="The instance watcher died", error=repr(error))


class EndResult(StrEnum):
    """The outcome of a request to end the instance."""

    ENDING = "ending"
    AT_MINIMUM = "at_minimum"
    """The group is at its minimum size and keeps this instance: it will not end."""
    INHIBITED = "inhibited"
    """Something on this machine, such as an upgrade, blocks its power-off for now."""
    NOT_ON_EC2 = "not_on_ec2"


class Instance:
    """Requests about this instance. Callable from any thread.

    Args:
        imds: says which instance this is.
        clients: of Auto Scaling and EC2.
        power: powers this machine off; None: systemd does.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        imds: Imds,
        clients: Clients,
        *,
        power: PowerOff | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._imds = imds
        self._clients = clients
        self._power = power or PowerOff()
        self._clock = clock
        self._lock = threading.Lock()
        self._known_group: str | None = None
        self._ask_again_at = 0.0
        self._protected = False
        self._try_again_at = 0.0

    def group(self) -> str | None:
        """The Auto Scaling group this instance is in; None if it is in none, or off EC2.

        Raises:
            SettingsError: the role lacks autoscaling:DescribeAutoScalingInstances.
            TransientError: no usable answer.
        """
        instance_id = self._instance_id()
        if instance_id is None:
            return None
        try:
            found = self._clients.autoscaling.describe_auto_scaling_instances(
                InstanceIds=[instance_id]
            )["AutoScalingInstances"]
        except AWS_ERRORS as error:
            raise _refused(error, "autoscaling:DescribeAutoScalingInstances") from error
        return found[0]["AutoScalingGroupName"] if found else None

    def _instance_id(self) -> str | None:
        return self._imds.instance_id() if self._imds.available() else None

    def _remembered_group(self) -> str | None:
        """`group`, remembered; if it was in none, that is asked again after some minutes."""
        if self._known_group is None and self._clock() >= self._ask_again_at:
            self._ask_again_at = self._clock() + _GROUP_MEMORY_SECONDS
            self._known_group = self.group()
        return self._known_group

    def protect(self) -> None:
        """Protect the instance from scale-in. Does nothing if it is protected already.

        Call it before each receive. A failure is logged, and retried at the first call after
        half a minute: a worker without protection is merely drained if its group scales in.
        """
        with self._lock:
            if self._protected or self._clock() < self._try_again_at:
                return
            self._try_again_at = self._clock() + _PROTECT_RETRY_SECONDS
            self._protected = self._set_protection(True)

    def unprotect(self) -> None:
        """Remove the protection: when idle, when draining and at the end. Never raises."""
        with self._lock:
            if self._protected and self._set_protection(False):
                self._protected = False
                self._try_again_at = 0.0

    def _set_protection(self, protected: bool) -> bool:
        """Set or remove protection; whether that worked."""
        try:
            group = self._remembered_group()
            if group is None:
                return False
            self._clients.autoscaling.set_instance_protection(
                InstanceIds=[self._imds.instance_id()],
                AutoScalingGroupName=group,
                ProtectedFromScaleIn=protected,
            )
        except (*AWS_ERRORS, TransientError, SettingsError) as error:
            log.warning(
                "instance.protection_failed",
                message="Scale-in protection could not be changed",
                protected=protected,
                error=_sentence(error),
            )
            return False
        log.info(
            "instance.protection",
            message=f"Scale-in protection {'set' if protected else 'removed'}",
            protected=protected,
            group=group,
        )
        return True

    def terminate(self) -> EndResult:
        """Terminate this instance: through its group, which gets smaller by one, or through EC2.

        Raises:
            SettingsError: the role may not.
            TransientError: no usable answer.
        """
        instance_id = self._instance_id()
        if instance_id is None:
            log.warning(
                "instance.not_on_ec2",
                message="There is no instance to terminate: this machine is not on EC2",
            )
            return EndResult.NOT_ON_EC2
        if self.group() is not None:
            try:
                self._clients.autoscaling.terminate_instance_in_auto_scaling_group(
                    InstanceId=instance_id, ShouldDecrementDesiredCapacity=True
                )
            except AWS_ERRORS as error:
                if _at_minimum(error):
                    log.warning(
                        "instance.at_minimum",
                        message="The group is at its minimum size and keeps this instance",
                        error=describe(error),
                    )
                    return EndResult.AT_MINIMUM
                if not _not_in_group(error):
                    raise _refused(
                        error, "autoscaling:TerminateInstanceInAutoScalingGroup"
                    ) from error
            else:
                return self._ending("its Auto Scaling group")
        try:
            self._clients.ec2.terminate_instances(InstanceIds=[instance_id])
        except AWS_ERRORS as error:
            raise _refused(error, "ec2:TerminateInstances") from error
        return self._ending("EC2")

    def _ending(self, through: str) -> EndResult:
        log.info("instance.ending", message=f"This instance is being ended through {through}")
        return EndResult.ENDING

    def poweroff(self) -> EndResult:
        """Power the machine off, on EC2 or elsewhere.

        Returns:
            ENDING, or INHIBITED, with a warning that names what blocks it.

        Raises:
            SettingsError: inside an Auto Scaling group, which would only replace the instance,
                or where we may not ask whether we are in one.
            TransientError: whether it is in a group can't be found out now.
            MachineError: the command failed.
        """
        self.refuse_poweroff()
        return self._ending("a power-off") if self._power.request() else EndResult.INHIBITED

    def refuse_poweroff(self) -> None:
        """Refuse to power off a machine that its Auto Scaling group would only replace.

        Raises:
            SettingsError: it is in a group, or we may not ask whether it is in one.
            TransientError: whether it is in a group can't be found out now.
        """
        group = self.group()
        if group is not None:
            raise SettingsError(
                f"on_idle = 'poweroff' is refused in the Auto Scaling group {group!r}, which would "
                "only replace this instance: set on_idle = 'terminate'"
            )

    def mark_unhealthy(self) -> bool:
        """Report to the group that this machine can't work, so that it gets replaced.

        Returns:
            Whether that was done; False outside a group, or after a failure, which is logged.
        """
        try:
            group = self.group()
            instance_id = self._instance_id()
            if group is None or instance_id is None:
                return False
            self._clients.autoscaling.set_instance_health(
                InstanceId=instance_id, HealthStatus="Unhealthy", ShouldRespectGracePeriod=False
            )
        except (*AWS_ERRORS, TransientError, SettingsError) as error:
            log.error(
                "instance.mark_unhealthy_failed",
                message="This machine could not be marked unhealthy in its group",
                error=_sentence(error),
            )
            return False
        log.warning(
            "instance.marked_unhealthy",
            message="This instance is marked unhealthy; its group will replace it",
            group=group,
        )
        return True


def _at_minimum(error: BaseException) -> bool:
    """Whether Auto Scaling refuses because the group would fall below its minimum size.

    "Currently, desiredSize equals minSize (1). Terminating instance without replacement will
    violate group's min size constraint. ..."
    """
    text = describe(error).lower()
    return error_code(error) == "ValidationError" and ("minsize" in text or "min size" in text)


def _not_in_group(error: BaseException) -> bool:
    """Whether Auto Scaling no longer knows the instance ("Instance Id not found - ...")."""
    return error_code(error) == "ValidationError" and "not found" in describe(error).lower()


def _refused(error: BaseException, action: str) -> SettingsError | TransientError:
    if transient(error):
        return TransientError(f"{action} failed: {describe(error)}")
    return SettingsError(f"{action} is refused: {describe(error)}; add it to the worker's role")


def _sentence(error: BaseException) -> str:
    own = isinstance(error, TransientError | SettingsError)
    return str(error) if own else describe(error)
