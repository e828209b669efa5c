from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.engine import FakeEngine
from worker.aws.clients import make_clients
from worker.aws.queue import Message
from worker.daemon import compose
from worker.daemon.daemon import Pace, Parts
from worker.daemon.intake import Intake
from worker.errors import SettingsError
from worker.settings import Settings

NOWHERE = "http://127.0.0.1:9/123456789012/nowhere"


def _parts(folder: Path, pace: Pace | None = None, **settings: object) -> Parts:
    values = {"queue_url": NOWHERE, "work_dir": folder} | settings
    return compose.parts(
        Settings().model_copy(update=values),
        make_clients(queue_url=NOWHERE),
        FakeEngine(),
        pace=pace or Pace(),
        environ={"AWS_EC2_METADATA_DISABLED": "true"},
    )


def _folders(folder: Path) -> list[Path]:
    """The folders of workers, dead or alive."""
    return [path for path in folder.glob("*/*") if path.is_dir()]


def test_parts_are_complete_before_anything_starts(tmp_path: Path) -> None:
    before = threading.active_count()
    parts = _parts(tmp_path, metrics_port=0, metrics_emf=True)
    assert threading.active_count() == before
    assert not any(feed.intake.alive or feed.heartbeat.alive for feed in parts.feeds)
    assert len(parts.reporters) == 2
    assert parts.status.document()["state"] == "loading"
    assert _folders(tmp_path) == [parts.work.path]
    for reporter in parts.reporters:
        reporter.stop()
    parts.work.close()
    assert _folders(tmp_path) == []


def test_without_a_queue_there_is_nothing_to_work_on(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="queue_url is not set"):
        _parts(tmp_path, queue_url=None)
    assert list(tmp_path.iterdir()) == []


def test_a_port_that_is_taken_leaves_no_files_behind(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=f"metrics_port = {port}"):
            _parts(tmp_path, metrics_port=port)
    assert _folders(tmp_path) == []


@pytest.mark.parametrize(("batch_size", "bound"), [(8, 40), (64, 320)])
def test_how_many_messages_are_held_follows_the_batch_size_unless_it_is_given(
    tmp_path: Path, batch_size: int, bound: int
) -> None:
    for pace, expected in ((Pace(), bound), (Pace(max_leases=3), 3)):
        parts = _parts(tmp_path, pace, batch_size=batch_size)
        assert parts.max_leases == expected
        parts.work.close()


def test_messages_that_only_wait_for_speakers_leave_room_for_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rooms: list[Callable[[], int]] = []

    def intake(*, room: Callable[[], int], **rest: Any) -> Intake:
        rooms.append(room)
        return Intake(room=room, **rest)

    monkeypatch.setattr(compose, "Intake", intake)
    parts = _parts(tmp_path, Pace(max_leases=2))
    (feed,), (room,) = parts.feeds, rooms
    for name in "ab":
        body = '{"input": "s3://bucket/key", "output": "s3://bucket/"}'
        assert parts.dispatch.accept(Message(name, name, body, origin_id=name), feed.source)
    assert room() == 0
    task = parts.readings.tasks()[0]
    parts.holdings.ready(task)
    parts.holdings.text_done(task)
    assert room() == 1
    assert parts.readings.held()[0] == 2
    parts.work.close()
