from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from worker.daemon.systemd import Notifier


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(2.0)
        yield listening


def _environ(manager: socket.socket, **more: str) -> dict[str, str]:
    return {"NOTIFY_SOCKET": manager.getsockname(), **more}


def test_it_says_what_systemd_waits_for(manager: socket.socket) -> None:
    notifier = Notifier(_environ(manager, WATCHDOG_USEC="30000000"))
    notifier.ready("up\nand running")
    notifier.status("42 jobs")
    notifier.watchdog()
    notifier.extend(30)
    notifier.stopping("draining")
    sent = [manager.recv(4096).decode() for _ in range(5)]
    assert sent == [
        f"READY=1\nSTATUS=up and running\nMAINPID={os.getpid()}",
        "STATUS=42 jobs",
        "WATCHDOG=1",
        "EXTEND_TIMEOUT_USEC=30000000",
        "STOPPING=1\nSTATUS=draining",
    ]
    assert notifier.ping_seconds == 15.0


def test_an_abstract_socket_is_reached() -> None:
    name = f"transcription-worker-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind("\0" + name)
        listening.settimeout(2.0)
        Notifier({"NOTIFY_SOCKET": "@" + name}).status("x")
        assert listening.recv(100) == b"STATUS=x"


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"WATCHDOG_USEC": "1000000"},
        {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"},
        {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "0"},
        {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "soon"},
    ],
)
def test_no_watchdog_is_pinged_that_nobody_asked_for(environ: dict[str, str]) -> None:
    assert Notifier(environ).ping_seconds is None


def test_a_manager_that_is_gone_disturbs_nothing(tmp_path: Path) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "nobody")})
    notifier.ready("up")
    notifier.stopping("down")
