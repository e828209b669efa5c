"""The flags by which a person says what files without a header hold."""

from __future__ import annotations

import click

from worker.errors import SettingsError
from worker.speech.media.raw import (
    ENCODINGS,
    MAX_CHANNELS,
    MAX_RATE,
    MIN_RATE,
    Encoding,
    RawAudio,
)

__all__ = ["raw_audio", "raw_options"]


def raw_options() -> list[click.Option]:
    """The flags; their values go to `raw_audio`."""
    return [
        click.Option(
            ["--input-format"],
            type=click.Choice(ENCODINGS),
            help="What the files hold, if they have no header; every FILE is then read so."
            " Needs --input-rate.",
        ),
        click.Option(
            ["--input-rate"],
            type=int,
            metavar="HZ",
            help=f"Sample rate of files without a header, {MIN_RATE} to {MAX_RATE}; only with"
            " --input-format.",
        ),
        click.Option(
            ["--input-channels"],
            type=int,
            metavar="N",
            help=f"Channels of files without a header, 1 to {MAX_CHANNELS} (default 1); only with"
            " --input-format.",
        ),
    ]


def raw_audio(encoding: Encoding | None, rate: int | None, channels: int | None) -> RawAudio | None:
    """What the files hold by the word of the flags; None where FFmpeg is to find out.

    Args:
        encoding: of `--input-format`, None if it isn't given.
        rate: of `--input-rate`, likewise.
        channels: of `--input-channels`, likewise.

    Raises:
        SettingsError: a number is out of its range, or a flag lacks the one it goes with.
    """
    numbers = (
        ("--input-rate", rate, MIN_RATE, MAX_RATE),
        ("--input-channels", channels, 1, MAX_CHANNELS),
    )
    for flag, value, least, most in numbers:
        if value is None:
            continue
        if encoding is None:
            raise SettingsError(
                f"{flag} {value} is only for files without a header: give --input-format too, or"
                f" leave {flag} out"
            )
        if not least <= value <= most:
            raise SettingsError(f"{flag} {value}: must be a whole number from {least} to {most}")
    if encoding is None:
        return None
    if rate is None:
        # No default: at a wrong rate speech is noise, and the transcript empty without an error.
        raise SettingsError(
            f"--input-format {encoding}: a file without a header doesn't say its sample rate; give"
            " --input-rate (telephone calls mostly have 8000)"
        )
    return RawAudio(encoding, rate, 1 if channels is None else channels)
