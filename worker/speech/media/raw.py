"""Audio without a header: what FFmpeg must be told of a file that doesn't say what it is (pure).

Nothing in such a file gives its sample rate or its channels. FFmpeg goes by the name's ending and
takes 44.1 kHz; recordings of telephone calls have 8 kHz, and played that fast they are no speech.
So such a file is read only by the word of a person who knows what it holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

__all__ = [
    "ENCODINGS",
    "HEADERLESS",
    "HINT",
    "MAX_CHANNELS",
    "MAX_RATE",
    "MIN_RATE",
    "Encoding",
    "RawAudio",
]

Encoding = Literal["mulaw", "alaw", "s16le"]
"""How a sample is written: 8 bits of mu-law or A-law, or 16 bits signed, lower byte first."""

ENCODINGS: tuple[Encoding, ...] = get_args(Encoding)

MIN_RATE, MAX_RATE = 1_000, 768_000
"""Hz."""

MAX_CHANNELS = 64

HEADERLESS = frozenset(
    {
        "alaw", "mulaw", "vidc",
        "s8", "s16be", "s16le", "s24be", "s24le", "s32be", "s32le",
        "u8", "u16be", "u16le", "u24be", "u24le", "u32be", "u32le",
        "f32be", "f32le", "f64be", "f64le",
    }
)  # fmt: skip
"""FFmpeg's names of all formats whose rate is a guess; G.722, GSM and the like have one of their
own."""

HINT = (
    "Raw mu-law, A-law or PCM has no header: convert it to WAV, or use the command `transcribe` "
    "with --input-format, --input-rate and --input-channels."
)
"""For the message about a file that no decoder recognises. A job has no such fields."""


@dataclass(frozen=True, slots=True)
class RawAudio:
    """What a file without a header holds.

    Attributes:
        encoding: how its samples are written.
        rate: samples per second of each channel.
        channels: whose samples take turns.

    Raises:
        ValueError: there is no such encoding, or a number is out of its range.
    """

    encoding: Encoding
    rate: int
    channels: int = 1

    def __post_init__(self) -> None:
        if self.encoding not in ENCODINGS:
            raise ValueError(f"encoding {self.encoding!r} is none of {', '.join(ENCODINGS)}")
        if not MIN_RATE <= self.rate <= MAX_RATE:
            raise ValueError(f"rate {self.rate} is not within {MIN_RATE} to {MAX_RATE}")
        if not 1 <= self.channels <= MAX_CHANNELS:
            raise ValueError(f"channels {self.channels} is not within 1 to {MAX_CHANNELS}")

    @property
    def format(self) -> str:
        """FFmpeg's name of the format; it is that of the encoding."""
        return self.encoding

    @property
    def options(self) -> dict[str, str]:
        """What FFmpeg's demuxer of this format is to be given.

        The channels are counted, not named: which is left and which right is not known, as in a
        WAV file that doesn't say.
        """
        return {"sample_rate": str(self.rate), "ch_layout": f"{self.channels} channels"}
