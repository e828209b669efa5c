"""Power this machine off through systemd, and wait for what blocks that: inhibitors.

apt holds one during every upgrade, because a machine that is cut off half-way through may not boot
again. One that outlasts any upgrade is a program that hangs, and the machine would stay on the bill
for it: it is overridden.

To an unprivileged user logind doesn't say that an inhibitor is the reason of a refusal, and with
the polkit rule that lets this user override one, it doesn't refuse. So the list is asked first.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Collection, Mapping, Sequence

from worker.errors import MachineError
from worker.logs import get_logger

__all__ = ["INHIBITED_SECONDS", "PowerOff", "outstayed"]

log = get_logger(__name__)

INHIBITED_SECONDS = 3600.0
"""How long one inhibitor is waited for. Upgrades take minutes; a card costs a dollar an hour."""

_COMMAND = ("systemctl", "poweroff")
_OVERRIDING = "--ignore-inhibitors"
_COMMAND_SECONDS = 60.0

_LIST = ("systemd-inhibit", "--list", "--no-legend", "--no-pager")
_LIST_SECONDS = 10.0

_BLOCKS_SHUTDOWN = re.compile(r"(?:^|[\s:])shutdown[\s:].*\sblock\S*$")
"""A line of that list (WHO UID USER PID COMM WHAT WHY MODE) that is in the way."""


class PowerOff:
    """Powers the machine off. Used by one thread.

    Args:
        command: does it; run without a shell.
        list_command: lists what may block it, as `systemd-inhibit --list` does.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        command: Sequence[str] = _COMMAND,
        list_command: Sequence[str] = _LIST,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._command = tuple(command)
        self._list_command = tuple(list_command)
        self._clock = clock
        self._since: dict[str, float] = {}

    def request(self) -> bool:
        """Power off, unless an inhibitor blocks it that is not yet `outstayed`.

        Returns:
            True: the machine is going off. False: it is blocked, and a warning names what does it.

        Raises:
            MachineError: the command failed.
        """
        now = self._clock()
        self._since = {line: self._since.get(line, now) for line in self._inhibitors()}
        if not self._since:
            return self._run(self._command)
        if outstayed(self._since, now):
            log.error(
                "instance.inhibitor_overridden",
                message="This machine is powered off in spite of what has blocked it for "
                f"{INHIBITED_SECONDS / 60:.0f} minutes: {'; '.join(self._since)}",
                inhibitors=list(self._since),
            )
            return self._run((*self._command, _OVERRIDING))
        return _blocked(self._since)

    def _inhibitors(self) -> list[str]:
        """What blocks a power-off, a line each; empty where that can't be listed."""
        try:
            listed = subprocess.run(
                self._list_command,
                check=False,
                capture_output=True,
                text=True,
                stdin=subprocess.DEVNULL,
                timeout=_LIST_SECONDS,
            ).stdout
        except (OSError, subprocess.TimeoutExpired):
            return []
        lines = (" ".join(line.split()) for line in listed.splitlines())
        return [line for line in lines if _BLOCKS_SHUTDOWN.search(line)]

    def _run(self, command: Sequence[str]) -> bool:
        shown = " ".join(command)
        try:
            done = subprocess.run(
                command,
                check=False,
                capture_output=True,
                text=True,
                stdin=subprocess.DEVNULL,
                timeout=_COMMAND_SECONDS,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise MachineError(f"{shown!r} could not be run: {error}") from error
        if done.returncode == 0:
            return True
        complaint = " ".join(done.stderr.split())[:300]
        if "inhibit" in complaint.lower():  # since the list was asked
            return _blocked([complaint])
        raise MachineError(
            f"{shown!r} failed with {done.returncode}: {complaint}; "
            "is the polkit rule that allows it installed?"
        )


def outstayed(since: Mapping[str, float], now: float) -> bool:
    """Whether each inhibitor has stood for `INHIBITED_SECONDS`: one of them may be an upgrade.

    Args:
        since: when each was first seen, in seconds of the clock of `now`.
        now: seconds.
    """
    return all(now - first >= INHIBITED_SECONDS for first in since.values())


def _blocked(by: Collection[str]) -> bool:
    log.warning(
        "instance.inhibited",
        message=f"This machine may not power off yet: {'; '.join(by)}",
        inhibitors=list(by),
    )
    return False
