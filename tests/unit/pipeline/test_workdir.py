from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from worker.errors import SettingsError, TransientError
from worker.pipeline.workdir import WorkDir


def test_a_job_s_folder_is_empty_private_and_gone_afterwards(tmp_path: Path) -> None:
    work = WorkDir(tmp_path)
    folder, other = work.new(), work.new()
    assert folder != other
    for new in (folder, other):
        assert list(new.iterdir()) == []
        assert new.stat().st_mode & 0o777 == 0o700
        (new / "input").write_bytes(b"x")
        work.remove(new)
        assert not new.exists()
    assert list(work.path.iterdir()) == []
    work.close()
    assert list(tmp_path.iterdir()) == [], "nor is anything left of the folder above"


def test_the_folder_of_all_workers_stays_while_one_uses_it_or_something_is_in_it(
    tmp_path: Path,
) -> None:
    first, second = WorkDir(tmp_path), WorkDir(tmp_path)
    root = first.path.parent
    first.close()
    assert second.new().is_dir()
    (root / "a user's own").touch()
    second.close()
    assert [path.name for path in root.iterdir()] == ["a user's own"]


def test_removing_twice_is_no_error(tmp_path: Path) -> None:
    work = WorkDir(tmp_path)
    folder = work.new()
    work.remove(folder)
    work.remove(folder)
    work.close()
    work.close()


# -- the dead and the living ------------------------------------------------------------------

CHILD = """
import sys, time
from pathlib import Path
from worker.pipeline.workdir import WorkDir
work = WorkDir(Path(sys.argv[1]))
(work.new() / "input").write_bytes(b"speech")
print(work.path, flush=True)
time.sleep(60)
"""


@contextmanager
def worker_process(base: Path) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    """Another worker's folder with one job in it, and the worker's process."""
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(base)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).resolve().parents[3],
        env=dict(os.environ) | {"PYTHONPATH": "."},
    )
    assert child.stdout is not None
    try:
        yield Path(child.stdout.readline().strip()), child
    finally:
        child.kill()
        child.wait(10)
        child.stdout.close()


def test_a_start_removes_what_the_dead_left_and_spares_the_living(tmp_path: Path) -> None:
    with worker_process(tmp_path) as (dead, process), worker_process(tmp_path) as (living, _):
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        work = WorkDir(tmp_path)
        assert work.swept == 1
        assert not dead.exists()
        assert (living / "1" / "input").read_bytes() == b"speech"
        work.close()


def test_nothing_that_is_removed_inside_makes_a_worker_look_dead(tmp_path: Path) -> None:
    living = WorkDir(tmp_path)
    for path in [*living.path.iterdir(), *(p for p in living.path.parent.iterdir() if p.is_file())]:
        path.unlink()
    second = WorkDir(tmp_path)
    assert (second.swept, living.path.is_dir()) == (0, True)
    second.close()
    living.close()


def test_workers_that_start_at_the_same_time_never_take_each_other_for_dead(tmp_path: Path) -> None:
    usable: list[bool] = []

    def start_and_end() -> None:
        for _ in range(40):
            work = WorkDir(tmp_path)
            usable.append(work.new().is_dir())
            work.close()

    threads = [threading.Thread(target=start_and_end) for _ in range(4)]
    with capture_logs() as events:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert usable == [True] * 160
    # A folder that was swept before it was locked is no loss: its worker made another at once.
    assert "workdir.vanished" not in {event["event"] for event in events}


# -- cleaners ---------------------------------------------------------------------------------


def clean(rules: Path, *paths: Path) -> None:
    """Run systemd-tmpfiles as its timer does, for paths whose content ages in a fifth of a second.

    The test is skipped where there is no such program.
    """
    program = shutil.which("systemd-tmpfiles")
    if program is None:
        pytest.skip("needs systemd-tmpfiles")
    rules.write_text("".join(f"e {path} - - - 200ms\n" for path in paths))
    time.sleep(0.3)
    subprocess.run([program, "--clean", str(rules)], check=True, timeout=30)


def test_systemd_tmpfiles_leaves_a_live_worker_s_files_and_takes_the_dead_s(tmp_path: Path) -> None:
    base = tmp_path / "work"
    with worker_process(base / "a") as (dead, process):
        process.kill()
        process.wait(10)
        idle, busy = WorkDir(base / "b"), WorkDir(base / "b")
        (busy.new() / "input").write_bytes(b"a job of more than a day")
        clean(tmp_path / "rules.conf", base / "a", base / "b")
        assert not dead.exists(), "it removes what it may"
    with capture_logs() as events:
        assert (busy.path / "1" / "input").read_bytes() == b"a job of more than a day"
        assert idle.new().is_dir()
        third = WorkDir(base / "b")
    assert events == []
    assert third.swept == 0
    for work in (idle, busy, third):
        work.close()


@pytest.mark.parametrize("above", [0, 1, 2], ids=["its own", "of all workers", "work_dir"])
def test_a_folder_that_somebody_removed_is_made_again_and_locked(
    tmp_path: Path, above: int
) -> None:
    work = WorkDir(tmp_path / "base")
    first = work.path
    work.new()
    shutil.rmtree([first, *first.parents][above])
    with capture_logs() as events:
        folders = {work.new(), work.new()}
    assert all(folder.is_dir() for folder in folders)
    assert {folder.parent for folder in folders} == {work.path}
    assert work.path != first
    assert [(e["event"], e["log_level"]) for e in events] == [("workdir.vanished", "warning")]
    second = WorkDir(tmp_path / "base")
    assert (second.swept, work.path.is_dir()) == (0, True), "the new one is locked too"
    second.close()
    work.close()
    assert not work.path.parent.exists()


def test_what_can_not_be_made_again_may_be_later(tmp_path: Path) -> None:
    work = WorkDir(tmp_path / "base")
    shutil.rmtree(tmp_path / "base")
    (tmp_path / "base").write_text("in the way")
    with pytest.raises(TransientError, match="work_dir"):
        work.new()
    (tmp_path / "base").unlink()
    assert work.new().is_dir()
    work.close()


def test_after_the_end_nothing_is_made_any_more(tmp_path: Path) -> None:
    work = WorkDir(tmp_path)
    work.close()
    with pytest.raises(FileNotFoundError):
        work.new()
    assert not work.path.parent.exists()


# -- places that can't be used ----------------------------------------------------------------


def test_a_folder_that_can_t_be_used_is_named(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(SettingsError, match="work_dir"):
        WorkDir(blocked)


def test_a_link_in_a_shared_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f"transcription-worker-{os.getuid()}").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SettingsError, match="not a folder of the worker's user"):
        WorkDir(tmp_path)
