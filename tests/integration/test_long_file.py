"""Two hours in one file: memory stays flat, and decoding starts long before the file is read."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.conftest import REPOSITORY
from tests.fakes.speech import samples_of
from worker.speech.windows import SAMPLE_RATE

GIB = 1 << 30


def joined(folder: Path, target: Path, seconds: float) -> None:
    """The folder's clips, half a second of silence between them, over and over."""
    pause = np.zeros(SAMPLE_RATE // 2, dtype=np.int16)
    pieces = []
    for clip in sorted(folder.glob("*.flac")):
        pieces += [(samples_of(clip) * 32767).astype(np.int16), pause]
    once = np.concatenate(pieces)
    with wave.open(str(target), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        left = int(seconds * SAMPLE_RATE)
        while left > 0:
            file.writeframes(once[:left].tobytes())
            left -= len(once)


def resident(process: psutil.Process) -> int:
    """Bytes resident in a process and its children."""
    total = 0
    for one in [process, *process.children(recursive=True)]:
        try:
            total += one.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


@pytest.mark.parametrize(
    "minutes",
    [
        pytest.param(120, marks=[pytest.mark.long, pytest.mark.timeout(3000)]),
    ],
)
def test_memory_is_flat_and_the_first_batch_is_early(
    minutes: int, speech_dir: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    source = tmp_path / "long.wav"
    joined(speech_dir / "english", source, minutes * 60)
    log = tmp_path / "log"
    peak = 0
    with log.open("w", encoding="utf-8") as stderr:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "worker", "transcribe", str(source)),
                *("--output-dir", str(tmp_path / "out"), "--model", "base", "--device", "cpu"),
                *("--compute-type", "int8", "--language", "en"),
            ],
            cwd=REPOSITORY,
            env=os.environ
            | {
                "WORKER_WORD_TIMES": "attention",
                "WORKER_HELD_SECONDS": "600",
                "WORKER_LOG_LEVEL": "DEBUG",
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
        )
        watched = psutil.Process(process.pid)
        while process.poll() is None:
            peak = max(peak, resident(watched))
            time.sleep(0.5)
    text = log.read_text(encoding="utf-8")
    assert process.returncode == 0, text[-2000:]
    record_property("figure", f"{minutes} minutes in one file: peak {peak / GIB:.2f} GiB")
    assert peak < 3 * GIB
    lines = text.splitlines()
    first = next(i for i, line in enumerate(lines) if "event=batch.completed" in line)
    decoded = next(i for i, line in enumerate(lines) if "event=file.prepared" in line)
    assert first < decoded
