"""The flags of files without a header: what they mean together."""

from __future__ import annotations

from typing import Any

import click
import pytest

from worker.cli.raw_input import raw_audio, raw_options
from worker.errors import SettingsError
from worker.speech.media.raw import RawAudio


def typed(*arguments: str) -> RawAudio | None:
    """What a command makes of its arguments."""
    found: dict[str, Any] = {}
    click.Command("transcribe", callback=found.update, params=[*raw_options()]).main(
        list(arguments), standalone_mode=False
    )
    return raw_audio(found["input_format"], found["input_rate"], found["input_channels"])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), None),
        (("--input-format", "mulaw", "--input-rate", "8000"), RawAudio("mulaw", 8_000, 1)),
        (
            ("--input-channels=2", "--input-rate=48000", "--input-format=s16le"),
            RawAudio("s16le", 48_000, 2),
        ),
        (
            ("--input-format=alaw", "--input-rate=1000", "--input-channels=64"),
            RawAudio("alaw", 1_000, 64),
        ),
    ],
)
def test_the_flags_say_what_the_files_hold(
    arguments: tuple[str, ...], expected: RawAudio | None
) -> None:
    assert typed(*arguments) == expected


@pytest.mark.parametrize("number", ["0", "-1", "65"])
def test_a_number_out_of_range_is_named_with_its_flag_and_the_range(number: str) -> None:
    with pytest.raises(SettingsError, match=f"^--input-channels {number}: must be .* from 1 to 64"):
        typed("--input-format=mulaw", "--input-rate=8000", f"--input-channels={number}")


@pytest.mark.parametrize("flag", ["--input-rate", "--input-channels"])
def test_a_number_says_nothing_without_the_format(flag: str) -> None:
    with pytest.raises(SettingsError, match=f"^{flag} 2000 is only for .* give --input-format"):
        typed(flag, "2000")
