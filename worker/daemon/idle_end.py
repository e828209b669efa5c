"""What idleness ends: the process alone, the machine, or the instance (the setting `on_idle`).

A machine or an instance may not be ended at once. Then the worker stays, takes messages again, and
tries again while it is idle:

| what stands in the way | tried again |
|---|---|
| an inhibitor, such as an upgrade's, blocks the power-off | for an hour (`aws/poweroff.py`) |
| the power-off fails otherwise, as while an upgrade restarts D-Bus | some times, then exit code 3 |
| the group is at its minimum size | for as long as it is |
| AWS gives no usable answer | until it does |
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

from worker import retry
from worker.aws.instance import EndResult
from worker.daemon.stops import Stops
from worker.errors import MachineError, SettingsError, TransientError
from worker.logs import get_logger

log = get_logger(__name__)

_TRIES = 5
"""Failed power-offs in a row, with no work between them, after which this machine can't do it: two
and a half minutes."""

OnIdle = Literal["exit", "poweroff", "terminate"]

_FAILED = {"poweroff": "instance.poweroff_failed", "terminate": "instance.terminate_failed"}
"""The event of an end that is tried again."""


class Endable(Protocol):
    """What idleness asks of the instance (`worker.aws.instance.Instance`)."""

    def unprotect(self) -> None:
        """Release scale-in protection."""
        ...

    def terminate(self) -> EndResult:
        """End this instance. Raises SettingsError, TransientError."""
        ...

    def poweroff(self) -> EndResult:
        """Power this machine off. Raises SettingsError, TransientError, MachineError."""
        ...


class IdleEnd:
    """Ends a worker that is idle for good, and what `on_idle` says with it. Used by one thread.

    Args:
        stops: where the reason to stop is put.
        instance: what is ended.
        on_idle: the setting.
        draining: whether the worker stops already, for another reason.
    """

    def __init__(
        self,
        stops: Stops,
        instance: Endable,
        *,
        on_idle: OnIdle,
        draining: Callable[[], bool],
    ) -> None:
        self._stops = stops
        self._instance = instance
        self._on_idle = on_idle
        self._draining = draining
        self._idle_since: float | None = None
        self._stayed = 0
        self._failed = 0

    def end(self, idle_since: float) -> float | None:
        """Stop the worker.

        Args:
            idle_since: when work ended, on any clock. Each stretch without work has its own
                attempts and waits.

        Returns:
            None if it stops; else after how many seconds this is to be called again, if there is
            nothing to do until then.
        """
        if self._draining() or self._stops.signalled:
            return None  # a signal at the same moment: that never ends the machine
        if idle_since != self._idle_since:
            self._idle_since = idle_since
            self._stayed = self._failed = 0
        self._instance.unprotect()
        try:
            stays = self._stays()
        except (SettingsError, MachineError) as error:
            self._stops.cannot_end(error)
            return None
        if not stays:
            self._stops.idle()
            return None
        self._stayed += 1
        return retry.doubling(self._stayed, base=retry.END_SECONDS, cap=retry.END_CAP_SECONDS)

    def _stays(self) -> bool:
        """End the machine or the instance; whether that can't be done yet.

        Raises:
            SettingsError: it is not allowed.
            MachineError: it can't be done here.
        """
        if self._on_idle == "exit":
            return False
        act = self._instance.terminate if self._on_idle == "terminate" else self._instance.poweroff
        try:
            result = act()
        except TransientError as error:
            self._tried_again(error)
            return True
        except MachineError as error:
            self._failed += 1
            if self._failed >= _TRIES:
                raise
            self._tried_again(error)
            return True
        self._failed = 0
        return result in (EndResult.AT_MINIMUM, EndResult.INHIBITED)

    def _tried_again(self, error: TransientError | MachineError) -> None:
        log.warning(_FAILED[self._on_idle], message=f"Tried again while it is idle: {error}")
