"""What a job asks of its text, whatever was heard: how it is cut, spelled and shown (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from worker.results.transcript import SegmentResolution, SubtitleOptions

__all__ = ["FilterMethod", "Presentation"]

FilterMethod = Literal["mask", "remove", "tag"]
"""What becomes of a word that must not show, as Amazon Transcribe names it: `***` in its place,
nothing in its place, or the word with a mark in the json."""


@dataclass(frozen=True, slots=True)
class Presentation:
    """How a result shows what was said.

    Attributes:
        words: whether words and their times are in it.
        segment_resolution: what a segment is.
        display_as: phrases that are shown otherwise than they are said.
        vocabulary_filter: words that must not show.
        vocabulary_filter_method: what becomes of those.
        subtitles: of srt and vtt.
    """

    words: bool = True
    segment_resolution: SegmentResolution = "sentence"
    display_as: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    vocabulary_filter: tuple[str, ...] = field(default=(), repr=False)
    vocabulary_filter_method: FilterMethod = "mask"
    subtitles: SubtitleOptions = field(default_factory=SubtitleOptions)
