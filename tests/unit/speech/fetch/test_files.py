"""Single files: whole or not there, and gone on with."""

from __future__ import annotations

import fcntl
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

import pytest

from tests.fakes.model_hosts import HttpServer, HubServer
from worker.speech.fetch import files

WEIGHTS = b"weights" * 20_000


@pytest.fixture
def server() -> Iterator[HubServer]:
    """A hub's files are plain files, too."""
    with HubServer({"model.pt": WEIGHTS}) as running:
        yield running


def test_a_file_is_fetched_once_and_nothing_is_left_beside_it(
    server: HubServer, tmp_path: Path
) -> None:
    target = tmp_path / "cache" / "model.pt"
    for _ in range(2):
        files.download(f"{server.url}/model.pt", target)
        assert target.read_bytes() == WEIGHTS
        assert list(target.parent.iterdir()) == [target]
    assert len(server.requests) == 1


def test_what_an_interrupted_download_left_is_gone_on_with(
    server: HubServer, tmp_path: Path
) -> None:
    (tmp_path / ".model.pt.part").write_bytes(WEIGHTS[:100_000])
    files.download(f"{server.url}/model.pt", tmp_path / "model.pt")
    assert (tmp_path / "model.pt").read_bytes() == WEIGHTS
    assert server.requests == [("GET", "/model.pt", "bytes=100000-")]


class NoRanges(HubServer):
    """Sends the whole file, whatever part of it was asked for."""

    def answer(self, path: str, start: int) -> tuple[int, dict[str, str], bytes]:
        del start
        return super().answer(path, 0)


def test_a_server_without_ranges_sends_all_of_it_again(tmp_path: Path) -> None:
    (tmp_path / ".model.pt.part").write_bytes(b"x" * 1000)
    with NoRanges({"model.pt": WEIGHTS}) as server:
        files.download(f"{server.url}/model.pt", tmp_path / "model.pt")
    assert (tmp_path / "model.pt").read_bytes() == WEIGHTS


class BreaksOff(HubServer):
    """Ends its first answer early, once another download waits for the one that gets it."""

    def __init__(self, files: Mapping[str, bytes], waiting: threading.Event) -> None:
        super().__init__(files)
        self.waiting = waiting

    def answer(self, path: str, start: int) -> tuple[int, dict[str, str], bytes]:
        status, headers, body = super().answer(path, start)
        if len(self.requests) > 1:
            return status, headers, body
        assert self.waiting.wait(30)
        return status, {**headers, "Content-Length": str(len(body))}, body[:60_000]


def test_a_download_that_waited_goes_on_where_the_one_before_it_broke_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".model.pt.part").write_bytes(WEIGHTS[:300])
    asked, waiting = threading.Event(), threading.Event()
    lock = fcntl.flock

    def flock(file: IO[bytes], how: int) -> None:
        # By then the file is open: the second to come here waits in `lock`.
        (waiting if asked.is_set() else asked).set()
        lock(file, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    target = tmp_path / "model.pt"
    with BreaksOff({"model.pt": WEIGHTS}, waiting) as server, ThreadPoolExecutor() as pool:
        first = pool.submit(files.download, f"{server.url}/model.pt", target)
        assert asked.wait(30)
        second = pool.submit(files.download, f"{server.url}/model.pt", target)
        with pytest.raises(OSError, match=r"ended after 60300 of 140000 bytes"):
            first.result(60)
        second.result(60)
    assert [span for _, _, span in server.requests] == ["bytes=300-", "bytes=60300-"]
    assert target.read_bytes() == WEIGHTS


class OtherRange(HubServer):
    """Sends another part than was asked for."""

    def answer(self, path: str, start: int) -> tuple[int, dict[str, str], bytes]:
        return super().answer(path, start and start + 100)


def test_a_part_that_does_not_fit_is_not_added(tmp_path: Path) -> None:
    target = tmp_path / "model.pt"
    (tmp_path / ".model.pt.part").write_bytes(WEIGHTS[:300])
    with OtherRange({"model.pt": WEIGHTS}) as server:
        with pytest.raises(OSError, match="from another byte than 300; try again"):
            files.download(f"{server.url}/model.pt", target)
        assert not target.exists()
        files.download(f"{server.url}/model.pt", target)
    assert target.read_bytes() == WEIGHTS


def test_more_than_there_is_begins_anew_at_the_next_attempt(tmp_path: Path) -> None:
    part = tmp_path / ".model.pt.part"
    part.write_bytes(WEIGHTS * 2)
    with HttpServer(416) as server, pytest.raises(OSError, match="is shorter than what was left"):
        files.download(f"{server.url}/model.pt", tmp_path / "model.pt")
    assert part.stat().st_size == 0


def test_a_download_that_is_cut_off_is_not_taken_for_the_file(tmp_path: Path) -> None:
    target = tmp_path / "model.pt"
    with (
        HttpServer(200, {"Content-Length": "100"}) as server,
        pytest.raises(OSError, match="ended after 0 of 100 bytes"),
    ):
        files.download(f"{server.url}/model.pt", target)
    assert not target.exists()


def test_processes_that_want_the_same_file_fetch_it_once(server: HubServer, tmp_path: Path) -> None:
    """Two threads with descriptors of their own exclude each other as two processes do."""
    target = tmp_path / "model.pt"
    threads = [
        threading.Thread(target=files.download, args=(f"{server.url}/model.pt", target))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert target.read_bytes() == WEIGHTS
    assert len(server.requests) == 1
    assert list(tmp_path.iterdir()) == [target]
