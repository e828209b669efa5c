"""Rules of all child processes, each tried in one of its own."""

from __future__ import annotations

import subprocess
import sys


def test_every_thread_that_there_is_leaves_cores_to_others() -> None:
    code = (
        "import os, threading; from worker.speech.children import rules\n"
        "told = threading.Event(); other = threading.Thread(target=told.wait); other.start()\n"
        "rules.let_others_first(19); rules.let_others_first(19)\n"
        "tasks = [int(task) for task in os.listdir('/proc/self/task')]\n"
        "print(len(tasks), {os.getpriority(os.PRIO_PROCESS, task) for task in tasks})\n"
        "told.set()"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert said.stdout == "2 {19}\n"
