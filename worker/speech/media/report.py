"""What is to be said of how a file was read: sentences for its result, or an error (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from worker.errors import ErrorCode, JobError

__all__ = ["Report", "StreamCounts", "TimeCounts"]

MOST_DAMAGED = 0.5
"""Share of damaged packets from which on a file is refused: the lesser half of what was said is
not its text."""

NOTED_SILENCE = 0.5
"""Seconds of silence in all that go without a note: tracks of films start a little late."""

NOTED_CHANNELS = 0.5
"""Seconds in which a channel isn't there that go without a note: a decoder may find out late that
there are two."""


class StreamCounts(Protocol):
    """What was counted of a stream's packets; see `decoding.Decoder`."""

    damaged: int
    decoded: int


class TimeCounts(Protocol):
    """What was counted of a stream's times; see `timeline.Timeline`."""

    holes: int
    filled: float
    jumps: int


@dataclass(slots=True)
class Report:
    """Counts of one file.

    Attributes:
        damaged: packets that could not be decoded.
        decoded: packets that could.
        joined: further recordings in the file that were read.
        unread: further recordings in the file that could not be read.
        stale_length: whether the header gives the length of a shorter recording.
        holes: in the audio, filled with silence.
        filled: seconds of silence in them.
        jumps: of the file's clock that were not followed.
        cancelled: whether channels cancelled each other.
        channels: the most that were seen at a time.
        shared: seconds in which there was one channel alone, and another was asked for.
        missing: seconds in which there were several, and the one that was asked for wasn't.
    """

    damaged: int = 0
    decoded: int = 0
    joined: int = 0
    unread: int = 0
    stale_length: bool = False
    holes: int = 0
    filled: float = 0.0
    jumps: int = 0
    cancelled: bool = False
    channels: int = 0
    shared: float = 0.0
    missing: float = 0.0

    def add_stream(self, packets: StreamCounts, *, cancelled: bool) -> None:
        """Counts a stream that was read."""
        self.damaged += packets.damaged
        self.decoded += packets.decoded
        self.cancelled |= cancelled

    def add_channels(self, channels: int, asked: int, seconds: float) -> None:
        """Counts a frame's channels, where one was asked for by its number."""
        self.channels = max(self.channels, channels)
        if asked >= channels > 1:
            self.missing += seconds
        elif asked >= channels:
            self.shared += seconds

    def check_channels(self, asked: int) -> None:
        """Refuses a file that nowhere has the channel that was asked for.

        Raises:
            JobError: invalid_job.
        """
        if 0 < self.channels <= asked:
            count = "1 channel" if self.channels == 1 else f"{self.channels} channels"
            raise JobError(
                ErrorCode.INVALID_JOB,
                f"Channel {asked} was asked for, but the audio has {count}, counted from 0.",
            )

    def add_times(self, times: TimeCounts) -> None:
        """Counts the holes and jumps of a clock, at its end."""
        self.holes += times.holes
        self.filled += times.filled
        self.jumps += times.jumps

    def check_damage(self) -> None:
        """Refuses a file of which too little is whole.

        Raises:
            JobError: decode_failed.
        """
        packets = self.damaged + self.decoded
        if self.damaged > MOST_DAMAGED * packets:
            raise JobError(
                ErrorCode.DECODE_FAILED,
                f"{self.damaged} of the file's {packets} packets are damaged, more than half; "
                "export it again, or send the part that is whole.",
            )

    def sentences(self) -> list[str]:
        """What the result is to say, one sentence each."""
        said = []
        if self.damaged:
            said.append(f"{self.damaged} damaged packets were skipped")
        if self.filled >= NOTED_SILENCE:
            places = "1 place" if self.holes == 1 else f"{self.holes} places"
            said.append(
                f"{self.filled:.1f} s of silence stand in {places} where the file has no audio, "
                "so that times are those of a player"
            )
        if self.jumps:
            times = "once" if self.jumps == 1 else f"{self.jumps} times"
            said.append(
                f"The file's clock jumps {times} and was not followed there: "
                "times count on from what was before"
            )
        if self.joined:
            said.append(
                f"The file holds {self.joined + 1} recordings one after the other: "
                "times count through"
            )
        if self.unread:
            said.append(f"{self.unread} of the recordings in the file could not be read")
        if self.stale_length:
            said.append("The file's header gives a shorter length; all that it holds was read")
        if self.cancelled:
            said.append("Channels that cancel each other were turned over before they were mixed")
        if self.shared >= NOTED_CHANNELS:
            said.append(
                f"{self.shared:.1f} s of the audio have one channel alone, which counts for each"
            )
        if self.missing >= NOTED_CHANNELS:
            said.append(
                f"{self.missing:.1f} s of the audio have fewer channels; "
                "those that it lacks are silent there"
            )
        return said
