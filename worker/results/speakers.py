"""Who speaks: turns of speakers -> the speaker of each word and segment (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["Diarization", "Voice"]


class Voice(NamedTuple):
    """A stretch in which one voice is heard.

    Attributes:
        start: in seconds of the audio.
        end: in seconds of the audio.
        speaker: what the diarizer calls it, which says nothing of the order of speakers.
    """

    start: float
    end: float
    speaker: str


@dataclass(frozen=True, slots=True)
class Diarization:
    """Who speaks when, as a diarizer found it.

    Attributes:
        diarizer: what found it, for `EngineInfo.diarizer`.
        voices: in order of start; those of two speakers may overlap.
        exclusive: the same with one speaker at a time: by these the speakers of words are told.
    """

    diarizer: str
    voices: tuple[Voice, ...]
    exclusive: tuple[Voice, ...]
