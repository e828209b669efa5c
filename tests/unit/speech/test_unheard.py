"""An empty text says why it is empty."""

from __future__ import annotations

import pytest

from worker.speech.unheard import SILENT, note


@pytest.mark.parametrize(
    ("seconds", "peak", "windows", "why"),
    [
        (0.0, 0.0, 0, "the file has no samples"),
        (9.0, 0.0, 0, "the audio is silent (its loudest sample is at zero)"),
        (9.0, SILENT / 2, 0, "the audio is silent (its loudest sample is at -86 dB of full scale)"),
        (9.04, 0.1, 0, "no speech was found in 9.0 s of audio, whose loudest sample is at -20 dB"),
        (9.0, 0.1, 1, "the stretch that sounded like speech gave no words"),
        (9.0, 0.1, 3, "none of the 3 stretches that sounded like speech gave words"),
    ],
)
def test_why_nothing_was_heard(seconds: float, peak: float, windows: int, why: str) -> None:
    assert note(seconds, peak, windows).startswith(f"Nothing was heard: {why}")
