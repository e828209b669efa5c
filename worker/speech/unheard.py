"""Why nothing was heard in a file: a sentence for a result without words (pure)."""

from __future__ import annotations

import math

__all__ = ["SILENT", "note"]

SILENT = 1e-4
"""Largest amplitude, of 1, of what counts as silent: -80 dB of full scale. Speech below it can't be
brought up either (`prepare.level.MOST_GAIN`)."""


def note(seconds: float, peak: float, windows: int) -> str:
    """Why a file's text is empty.

    Args:
        seconds: of audio in it.
        peak: its largest amplitude, of 1.
        windows: stretches of it that were taken for speech.
    """
    if not seconds:
        return "Nothing was heard: the file has no samples"
    if peak < SILENT:
        return (
            f"Nothing was heard: the audio is silent (its loudest sample is at {_decibels(peak)})"
        )
    if not windows:
        return (
            f"Nothing was heard: no speech was found in {seconds:.1f} s of audio, whose loudest "
            f"sample is at {_decibels(peak)}"
        )
    stretches = "the stretch" if windows == 1 else f"none of the {windows} stretches"
    gave = "gave no words" if windows == 1 else "gave words"
    return f"Nothing was heard: {stretches} that sounded like speech {gave}"


def _decibels(peak: float) -> str:
    return f"{20.0 * math.log10(peak):.0f} dB of full scale" if peak > 0.0 else "zero"
