from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from worker.errors import SettingsError
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
    assert [path.name for path in work.path.iterdir()] == ["lock"]
    work.close()
    assert not work.path.exists()


def test_removing_twice_is_no_error(tmp_path: Path) -> None:
    work = WorkDir(tmp_path)
    folder = work.new()
    work.remove(folder)
    work.remove(folder)
    work.close()
    work.close()


CHILD = """
import sys, time
from pathlib import Path
from worker.pipeline.workdir import WorkDir
work = WorkDir(Path(sys.argv[1]))
(work.new() / "input").write_bytes(b"speech")
print(work.path, flush=True)
time.sleep(60)
"""


def test_a_start_removes_what_the_dead_left_and_spares_the_living(tmp_path: Path) -> None:
    children = [
        subprocess.Popen(
            [sys.executable, "-c", CHILD, str(tmp_path)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).resolve().parents[3],
            env=dict(os.environ) | {"PYTHONPATH": "."},
        )
        for _ in range(2)
    ]
    try:
        paths = []
        for child in children:
            assert child.stdout is not None
            paths.append(Path(child.stdout.readline().strip()))
        dead, living = paths
        children[0].send_signal(signal.SIGKILL)
        children[0].wait(10)
        work = WorkDir(tmp_path)
        assert work.swept == 1
        assert not dead.exists()
        assert (living / "1" / "input").read_bytes() == b"speech"
        work.close()
    finally:
        for child in children:
            child.kill()
            child.wait(10)
            if child.stdout:
                child.stdout.close()


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
