"""What FFmpeg is told of audio without a header, and what is no such audio."""

from __future__ import annotations

from typing import Any

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.speech.media.raw import (
    ENCODINGS,
    HEADERLESS,
    HINT,
    MAX_CHANNELS,
    MAX_RATE,
    MIN_RATE,
    RawAudio,
)


@given(
    st.sampled_from(ENCODINGS), st.integers(MIN_RATE, MAX_RATE), st.integers(1, MAX_CHANNELS)
)  # fmt: skip
def test_ffmpeg_is_told_the_format_the_rate_and_the_number_of_channels(
    encoding: Any, rate: int, channels: int
) -> None:
    raw = RawAudio(encoding, rate, channels)
    assert raw.format == encoding
    assert raw.format in HEADERLESS
    assert raw.options == {"sample_rate": str(rate), "ch_layout": f"{channels} channels"}


def test_one_channel_is_the_default() -> None:
    assert RawAudio("alaw", 8_000) == RawAudio("alaw", 8_000, 1)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (("ulaw", 8_000), "encoding 'ulaw' is none of mulaw, alaw, s16le"),
        (("mulaw", 999), "rate 999 is not within 1000 to 768000"),
        (("mulaw", 768_001), "rate 768001 is not within 1000 to 768000"),
        (("mulaw", 8_000, 0), "channels 0 is not within 1 to 64"),
        (("mulaw", 8_000, 65), "channels 65 is not within 1 to 64"),
    ],
)
def test_what_no_such_file_holds_is_refused(values: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RawAudio(*values)


def test_every_headerless_format_is_one_of_ffmpegs_and_no_pcm_of_it_is_forgotten() -> None:
    def about(name: str) -> str:
        try:
            return av.ContainerFormat(name, "r").long_name
        except ValueError:  # one that FFmpeg only writes
            return ""

    assert {name for name in av.formats_available if about(name).startswith("PCM ")} == HEADERLESS


def test_the_hint_names_the_flags_and_what_a_job_can_do() -> None:
    for word in ("--input-format", "--input-rate", "--input-channels", "`transcribe`", "WAV"):
        assert word in HINT
