"""What of a file is read, as its options ask (pure)."""

from __future__ import annotations

from worker.speech.api import Options
from worker.speech.media.selection import Kind, Selection

__all__ = ["kind_of", "selection_of"]


def kind_of(options: Options) -> Kind | None:
    """What of a file is transcribed each on its own; None where the file is one."""
    if options.channel_identification:
        return "channels"
    return "tracks" if options.audio_stream == "all" else None


def selection_of(options: Options) -> Selection:
    """What of a file is read; where each part of it is read on its own, what is surveyed first."""
    return Selection(stream=None if options.audio_stream == "all" else options.audio_stream)
