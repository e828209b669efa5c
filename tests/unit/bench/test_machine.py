from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from worker.bench.machine import PeakMemory, describe, resident_bytes

PAGE = os.sysconf("SC_PAGE_SIZE")


def process(proc: Path, pid: int, pages: int, children: str) -> None:
    task = proc / str(pid) / "task" / str(pid)
    task.mkdir(parents=True)
    (proc / str(pid) / "statm").write_text(f"9999 {pages} 5 1 0 8 0\n")
    (task / "children").write_text(children)


def test_children_and_their_children_count(tmp_path: Path) -> None:
    process(tmp_path, 10, 100, "11 12 ")
    process(tmp_path, 11, 20, "13 ")
    process(tmp_path, 12, 3, "")
    process(tmp_path, 13, 4, "99 ")  # 99 has just ended
    process(tmp_path, 14, 7, "")  # somebody else's
    assert resident_bytes(10, tmp_path) == 127 * PAGE


def test_no_figure_where_the_kernel_tells_none(tmp_path: Path) -> None:
    assert resident_bytes(10, tmp_path) is None
    with PeakMemory(lambda: None) as memory:
        pass
    assert memory.bytes is None


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_real_child_counts() -> None:
    before = resident_bytes()
    code = "import sys; held = bytearray(b'x') * (64 << 20); print(1, flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        during = resident_bytes()
        child.communicate(timeout=10)
    assert before is not None
    assert during is not None
    assert during - before > 60 << 20


def test_peak_is_the_highest_reading() -> None:
    readings = iter([100, 500, 300])
    last = threading.Event()

    def read() -> int:
        value = next(readings, None)
        if value is None:
            last.set()
            return 0
        return value

    with PeakMemory(read) as memory:
        assert last.wait(10)
    assert memory.bytes == 500


def test_what_the_measurement_holds_is_taken_off() -> None:
    with PeakMemory(lambda: 100, discount=lambda: 30) as memory:
        pass
    assert memory.bytes == 70


def test_description_has_what_makes_figures_comparable() -> None:
    report = describe()
    assert {
        "measured",
        "processor",
        "memory",
        "CUDA devices",
        "ctranslate2",
        "load average",
    } <= set(report)
