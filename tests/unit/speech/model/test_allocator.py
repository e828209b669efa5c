"""The allocator's settings: what is added to the variable, and a process that starts anew."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.speech.model import allocator
from worker.speech.model.allocator import TUNABLES, VARIABLE, tuned

SCRIPT = f"""
import os, sys
from worker.speech.model.allocator import restart_for_cpu
print(os.getpid(), flush=True)
restart_for_cpu("cpu")
print(os.environ["{VARIABLE}"], sys.argv[1:], sys.flags.utf8_mode)
"""


def test_what_is_set_stays_and_the_rest_is_added() -> None:
    value = tuned("glibc.malloc.arena_max=3:glibc.cpu.x86_rep_movsb_threshold=1")
    parts = value.split(":")
    assert parts[:2] == ["glibc.malloc.arena_max=3", "glibc.cpu.x86_rep_movsb_threshold=1"]
    assert {part.partition("=")[0] for part in parts[2:]} == TUNABLES.keys() - {
        "glibc.malloc.arena_max"
    }


@given(st.lists(st.sampled_from([*TUNABLES, "glibc.malloc.check"]), unique=True))
def test_once_is_enough(names: list[str]) -> None:
    once = tuned(":".join(f"{name}=7" for name in names))
    assert tuned(once) == once
    assert all(f"{name}=7" in once.split(":") for name in names)


@pytest.mark.skipif(not allocator.is_glibc(), reason="the C library is not glibc")
def test_a_process_starts_anew_once_and_stays_the_same_process() -> None:
    environ = {name: value for name, value in os.environ.items() if name != VARIABLE}
    done = subprocess.run(
        [sys.executable, "-X", "utf8", "-c", SCRIPT, "one", "two words"],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    first, again, settings = done.stdout.splitlines()
    assert first == again
    assert settings == f"{tuned('')} ['one', 'two words'] 1"


@pytest.mark.parametrize("device", ["cuda", "auto"])
def test_an_engine_on_a_card_is_left_alone(
    device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(allocator, "CARD", tmp_path)  # stands for a path that exists
    monkeypatch.setattr(os, "execve", lambda *_: pytest.fail("started anew"))
    allocator.restart_for_cpu(device)
