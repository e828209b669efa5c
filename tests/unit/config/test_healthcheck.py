"""config/healthcheck.py against the worker's own status server."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from worker.daemon.server import StatusServer


@pytest.fixture
def health() -> Iterator[tuple[StatusServer, list[str | None]]]:
    """A status server, and a list whose last element is what is wrong with it."""
    answers: list[str | None] = [None]
    server = StatusServer(
        0, registry=CollectorRegistry(), status=dict, unhealthy=lambda: answers[-1]
    )
    server.start()
    yield server, answers
    server.stop()


def check(config_dir: Path, port: object) -> tuple[int, str]:
    result = subprocess.run(
        [sys.executable, config_dir / "healthcheck.py"],
        env={"WORKER_METRICS_PORT": str(port), "http_proxy": "http://127.0.0.1:9"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return result.returncode, result.stdout


def test_unwell_with_the_worker_s_reason(
    health: tuple[StatusServer, list[str | None]], config_dir: Path
) -> None:
    server, answers = health
    assert check(config_dir, server.port) == (0, "ok\n")
    answers.append("the last 9 jobs failed")
    assert check(config_dir, server.port) == (1, "the last 9 jobs failed\n")


def test_unwell_without_a_worker(
    health: tuple[StatusServer, list[str | None]], config_dir: Path
) -> None:
    server, _ = health
    port = server.port
    server.stop()
    code, said = check(config_dir, port)
    assert code == 1
    assert f"no answer on port {port}" in said


def test_unwell_where_it_cannot_ask(config_dir: Path) -> None:
    assert check(config_dir, "")[0] == 1
