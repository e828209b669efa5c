"""A download is followed by the bytes that are here, whoever writes them."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from worker.speech.fetch import download
from worker.speech.fetch.download import Download


def test_growth_is_told_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "_LOOK_SECONDS", 0.01)
    folder = tmp_path / "not yet"
    arrived = threading.Event()
    threads: set[str] = set()

    def tell() -> None:
        threads.add(threading.current_thread().name)
        arrived.set()

    with download.telling(folder, tell, "growth"):
        assert not arrived.wait(0.05)
        folder.mkdir()
        (folder / "blob").write_bytes(b"some")
        assert arrived.wait(30)
        time.sleep(0.05)
        arrived.clear()
        assert not arrived.wait(0.05)
        (folder / "blob").unlink()
        assert not arrived.wait(0.05)
    assert threads == {"growth"}


def test_bytes_that_are_here_are_those_of_files(tmp_path: Path) -> None:
    assert Download("org/large", None, tmp_path / "nowhere").fetched() == 0
    (tmp_path / "weights").write_bytes(b"12345")
    (tmp_path / "more.incomplete").write_bytes(b"123")
    (tmp_path / "folder").mkdir()
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    assert Download("org/large", None, tmp_path).fetched() == 8
