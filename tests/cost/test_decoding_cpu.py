"""What decoding costs beside a plain loop over PyAV: tracks, clock, mixing and Python's share.

It says what it finds and judges nothing. Both run in turn in this process; the quickest of five
rounds counts, because whatever else the machine does makes a round dearer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests.fakes.media import Samples, encode
from tests.fakes.speech import conversation
from worker.speech.media.reader import AudioLimits, AudioReader
from worker.speech.windows import SAMPLE_RATE

SECONDS = 300
ROUNDS = 5


def speech(rate: int) -> Samples:
    """Five minutes of it."""
    sound = conversation()
    places = np.arange(SECONDS * rate) * (SAMPLE_RATE / rate) % len(sound)
    return np.asarray(np.interp(places, np.arange(len(sound)), sound), dtype=np.float32)


def plain(path: Path) -> Iterator[Samples]:
    """What there was before tracks and clocks: one stream, each frame by itself."""
    resampler = av.AudioResampler(format="s32", layout="mono", rate=SAMPLE_RATE)
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            if frame.format.name in ("flt", "fltp"):
                assert np.isfinite(frame.to_ndarray()).all()
            frame.pts = None
            yield from _floats(resampler.resample(frame))
        yield from _floats(resampler.resample(None))


def _floats(frames: list[Any]) -> Iterator[Samples]:
    for frame in frames:
        yield frame.to_ndarray().reshape(-1).astype(np.float32) * np.float32(2.0**-31)


def reader(path: Path) -> Iterator[Samples]:
    with AudioReader(path, AudioLimits()) as audio:
        yield from audio


def cpu(decode: Callable[[Path], Iterator[Samples]], path: Path) -> tuple[float, int]:
    """Seconds of CPU, FFmpeg's threads among them, and the samples that came of it."""
    began = time.process_time()
    samples = sum(len(piece) for piece in decode(path))
    return time.process_time() - began, samples


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("layout", ["mono", "stereo"])
@pytest.mark.parametrize(
    ("ending", "codec", "rate"),
    [
        ("mp3", "libmp3lame", 44_100),
        ("m4a", "aac", 44_100),
        ("ogg", "libopus", 48_000),
        ("flac", "flac", 44_100),
    ],
)
def test_the_cpu_of_decoding(
    ending: str,
    codec: str,
    rate: int,
    layout: str,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    path = encode(tmp_path / f"a.{ending}", speech(rate), codec=codec, rate=rate, layout=layout)
    rounds = [(cpu(plain, path), cpu(reader, path)) for _ in range(ROUNDS)]
    before = min(one for (one, _), _ in rounds)
    now = min(one for _, (one, _) in rounds)
    record_property(
        "figure",
        f"{ending}, {layout}: {1000 * now / SECONDS:.3f} ms of CPU for a second of audio, a plain "
        f"loop {1000 * before / SECONDS:.3f}: {now / before:.2f} of it",
    )
    (_, samples), (_, found) = rounds[0]
    assert found == pytest.approx(samples, abs=SAMPLE_RATE // 5)
