"""The self-test at start: speech whose words are known, from pyannote-audio's package.

On some drivers CTranslate2 has given silently empty transcripts; a worker that starts there
would answer a whole queue with nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from worker.errors import MachineError
from worker.speech.packages import package_folders
from worker.speech.windows import SAMPLE_RATE, WINDOW_SECONDS

WHOLE = (0.0, float(WINDOW_SECONDS))
"""The recording, in seconds: as long as a window."""

PHRASE = (6.4, 14.4)
"""Its first eight seconds of speech, between two silences: 23 words."""

MIN_RECALL = 0.4
"""Share of the known words that must be recognised. Even Whisper base recognises far more; a broken
card none."""


@dataclass(frozen=True, slots=True)
class KnownSpeech:
    """A recording and what is said in it.

    Attributes:
        samples: float32 [n] at 16 kHz, at most 30 s.
        words: lower case.
    """

    samples: NDArray[np.float32]
    words: frozenset[str]


def recording() -> Path | None:
    """The recording's path, found without importing the package; None if it isn't there."""
    for folder in package_folders("pyannote"):
        path = folder / "audio" / "sample" / "sample.wav"
        if path.is_file():
            return path
    return None


@dataclass(frozen=True, slots=True)
class KnownRecording:
    """The recording, and what is said when in it.

    Attributes:
        samples: float32 [n] at 16 kHz, 30 s.
        stm: its reference, see `reference_words`.
    """

    samples: NDArray[np.float32]
    stm: str

    def part(self, part: tuple[float, float]) -> KnownSpeech:
        """What is said from one second to another."""
        start, end = (round(second * SAMPLE_RATE) for second in part)
        return KnownSpeech(self.samples[start:end], reference_words(self.stm, part))


def known_speech() -> KnownSpeech | None:
    """All of the recording, or None if the package doesn't have it and its reference."""
    found = known_recording()
    return None if found is None else found.part(WHOLE)


def known_recording() -> KnownRecording | None:
    """The recording with its reference, or None if the package doesn't have them."""
    from worker.speech.media.reader import AudioLimits, AudioReader

    path = recording()
    if path is None or not path.with_suffix(".stm").is_file():
        return None
    with AudioReader(path, AudioLimits(max_seconds=60)) as reader:
        samples = np.concatenate(list(reader))
    return KnownRecording(samples, path.with_suffix(".stm").read_text())


def reference_words(stm: str, part: tuple[float, float] = WHOLE) -> frozenset[str]:
    """The words of an STM file: file, channel, speaker, start, end, then words.

    Args:
        stm: its text.
        part: from second, to second; what is said partly outside it is left out.
    """
    words: set[str] = set()
    for line in stm.splitlines():
        fields = line.split(maxsplit=5)
        if len(fields) < 6 or line.startswith(";;"):
            continue
        if part[0] <= float(fields[3]) and float(fields[4]) <= part[1]:
            words |= spoken(fields[5])
    return frozenset(words)


def spoken(text: str) -> set[str]:
    """Words of a text, lower case, without punctuation."""
    return set(re.findall(r"[a-z']+", text.lower()))


def recall(text: str, words: frozenset[str]) -> float:
    """Share of the known words that a text has."""
    return len(words & spoken(text)) / len(words) if words else 0.0


def check_text(text: str, speech: KnownSpeech, device: str) -> None:
    """Checks that a transcript of known speech has enough of its words.

    Raises:
        MachineError: too few of the words were recognised.
    """
    heard = recall(text, speech.words)
    if heard < MIN_RECALL:
        raise MachineError(
            f"the self-test failed on {device}: of the words in a known recording "
            f"{heard:.0%} were heard, at least {MIN_RECALL:.0%} must be. The card, its driver or "
            "the model's weights compute nonsense: install a newer driver (see nvidia-smi), try "
            "compute_type = float16 or another model, or set self_test = false for a model "
            "that does not know English"
        )
