"""Speech detection of a whole file: its windows, its features, and what it says when it fails."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.fakes.engine_parts import MELS, Parts, end, parts
from worker.errors import ErrorCode, JobError
from worker.speech.api import Partial, WindowText
from worker.speech.engine.file import File
from worker.speech.engine.whole_file import SpeechDetection
from worker.speech.prepare.features import FrontEnd
from worker.speech.windows import SAMPLE_RATE, Span, Window

SAMPLES = np.random.default_rng(1).normal(0.0, 0.1, 4 * SAMPLE_RATE).astype(np.float32)


class Halves:
    """Stands for pyannote, which needs weights: every two seconds are a window."""

    def __init__(self, error: RuntimeError | None = None) -> None:
        self.error = error

    def windows(self, samples: NDArray[np.float32]) -> Sequence[Window]:
        if self.error is not None:
            raise self.error
        size = 2 * SAMPLE_RATE
        return [
            Window(index, (Span(at, min(at + size, len(samples))),))
            for index, at in enumerate(range(0, len(samples), size))
        ]


def engine_with(detector: Halves) -> Parts:
    return parts(stages=lambda flow: [SpeechDetection(detector, MELS, flow.add_window)])


def run(engine: Parts, *, resume: Partial | None = None) -> File:
    file, feed = engine.file(resume=resume)
    feed.frame({"kind": "samples"}, SAMPLES.tobytes())
    end(feed, len(SAMPLES) / SAMPLE_RATE)
    return file


def test_its_windows_are_those_of_the_file() -> None:
    engine = engine_with(Halves())
    file = run(engine)
    assert sorted(file.state.windows) == [0, 1]
    assert file.state.total == 2
    expected = FrontEnd(MELS)(SAMPLES[2 * SAMPLE_RATE :])
    features = file.state.windows[1].sound
    assert features is not None
    np.testing.assert_array_equal(features, expected)
    assert len(engine.decode()) == 2
    assert len(file.future.result(0).segments) == 2
    assert file.future.result(0).seconds["windows"] > 0.0


def test_windows_of_a_checkpoint_are_kept_where_they_come_up_again() -> None:
    engine = engine_with(Halves())
    windows = (
        WindowText(index=0, start=0.0, end=2.0, text="kept", avg_logprob=-0.1),
        WindowText(index=1, start=2.0, end=3.0, text="of other speech", avg_logprob=-0.1),
    )
    file = run(engine, resume=Partial(windows=windows))
    assert [item.index for item in engine.decode("new")] == [1]
    recognition = file.future.result(0)
    assert [segment.text for segment in recognition.segments] == ["kept", "new"]
    assert recognition.resumed == 1


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), ErrorCode.OUT_OF_MEMORY),
        (RuntimeError("a kernel failed"), ErrorCode.ENGINE_FAILED),
    ],
)
def test_its_failure_is_the_files(error: RuntimeError, code: ErrorCode) -> None:
    engine = engine_with(Halves(error))
    failed = run(engine).future.exception(0)
    assert isinstance(failed, JobError)
    assert failed.code is code
    assert str(error) in failed.message
    assert "use vad = silero" in failed.message
    assert engine.shared.failure is None
