"""Reports the service's state to systemd: the sd_notify protocol over `$NOTIFY_SOCKET`.

The protocol is one datagram of `NAME=value` lines to a Unix socket (sd_notify(3)); without
the variable, all of this does nothing. A report that can't be sent never disturbs the work: the
first one is logged, that is all.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

from worker.logs import get_logger

log = get_logger(__name__)

_MICRO = 1_000_000
_SEND_SECONDS = 0.25
"""The main thread waits no longer for a service manager that does not read."""


class Notifier:
    """A connection to the service manager, if there is one.

    Args:
        environ: where `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID` are looked for.
    """

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        environ = os.environ if environ is None else environ
        address = environ.get("NOTIFY_SOCKET", "")
        # '@' stands for the zero byte of Linux's abstract socket names.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._watchdog = _watchdog_seconds(environ)
        self._failed = False

    @property
    def enabled(self) -> bool:
        """Whether a service manager listens."""
        return bool(self._address)

    @property
    def ping_seconds(self) -> float | None:
        """How often `watchdog` must be called (half of what is allowed); None: never."""
        return self._watchdog / 2 if self._watchdog and self.enabled else None

    def ready(self, status: str) -> None:
        """The service is up: systemd starts what waits for it."""
        self._send(f"READY=1\nSTATUS={_line(status)}\nMAINPID={os.getpid()}")

    def status(self, status: str) -> None:
        """One line for `systemctl status`."""
        self._send(f"STATUS={_line(status)}")

    def stopping(self, status: str) -> None:
        """The service is on its way out."""
        self._send(f"STOPPING=1\nSTATUS={_line(status)}")

    def extend(self, seconds: float) -> None:
        """Ask for `seconds` more, from now, before a start or stop counts as failed."""
        self._send(f"EXTEND_TIMEOUT_USEC={int(seconds * _MICRO)}")

    def watchdog(self) -> None:
        """The service makes progress. Call it only when that is true."""
        if self.ping_seconds is not None:
            self._send("WATCHDOG=1")

    def _send(self, text: str) -> None:
        if not self.enabled:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as to:
                to.settimeout(_SEND_SECONDS)
                to.sendto(text.encode(), self._address)
        except OSError as error:
            if not self._failed:
                self._failed = True
                log.warning(
                    "notify.failed",
                    message=f"The service manager can't be reached: {error}",
                    error=str(error),
                )


def _watchdog_seconds(environ: Mapping[str, str]) -> float | None:
    """The watchdog's period if it is meant for this process (sd_watchdog_enabled(3))."""
    pid = environ.get("WATCHDOG_PID", "")
    if pid and pid != str(os.getpid()):
        return None
    try:
        period = int(environ.get("WATCHDOG_USEC", "0")) / _MICRO
    except ValueError:
        return None
    return period if period > 0 else None


def _line(text: str) -> str:
    return " ".join(text.split())
