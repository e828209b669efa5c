"""Where frames of audio belong on a file's own clock, which is the one a player shows (pure).

Audio that begins late, or has holes where packets were lost or a recording was paused, is put in
its place with silence before it. Times jitter and clocks break, so a hole is believed only if the
frames behind it agree, and only up to a length; other jumps are not followed, and audio goes on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

__all__ = ["Clock", "Placed", "Timeline", "clock_of"]

F = TypeVar("F")

SHORTEST_HOLE = 0.02
"""Seconds: the shortest packet of a speech codec. A smaller difference is a rounded time."""

LOOK_SECONDS, LOOK_FRAMES = 0.5, 3
"""Frames behind a hole that must agree, at least: those of half a second, and so many. Times of
arrival jitter by tenths of a second; what is lost stays lost."""

SURE_HOLE = 10.0
"""Seconds of a hole that is always followed. A longer jump of a clock that may be set anew is a
discontinuity (FFmpeg's `dts_delta_threshold` has the same value)."""

LONGEST_HOLE = 3_600.0
"""Seconds of a hole that is followed where no header says how long the file is."""

LATEST_START = 10.0
"""Seconds. A clock of its own that starts later doesn't start with this file: it is a piece."""

LONGEST_SEAM = 0.1
"""Seconds of an overlap that are left out, as players do: where segments were joined, each begins
with what its encoder needs to start (0.05 s), and a microphone's clock may run fast."""

BACK = 1.0
"""Seconds. Times that go back by less overlap; by more, another clock begins."""

_END_SLACK = 1.0
"""Seconds that the end of the audio may lie behind the length in a header."""

_FROM_ZERO = frozenset({"mov", "matroska", "flv", "nut"})
"""Formats (FFmpeg's first name) whose clock starts with the file."""

_ANYWHERE = frozenset({"ogg", "flac", "wtv"})
"""Formats whose clock may start anywhere: pieces of a stream keep its times."""

_SET_ANEW = frozenset({"mpegts", "mpeg"})
"""Formats whose clock, too, may start anywhere, and may be set anew within a file."""


@dataclass(frozen=True, slots=True)
class Clock:
    """What a format's times mean.

    Attributes:
        origin: seconds on the file's clock that a player shows as 0; None: the first frame's.
        set_anew: whether the clock may jump without a reason.
        end: seconds that a player shows at the end, if a header says so.
    """

    origin: float | None
    set_anew: bool = False
    end: float | None = None

    def follows(self, hole: float, until: float, *, first: bool) -> bool:
        """Whether a hole is to be filled.

        Args:
            hole: its seconds.
            until: seconds that a player shows behind it.
            first: whether it lies before all audio.
        """
        if hole <= SURE_HOLE:
            return True
        if first or self.end is None:
            return hole <= LONGEST_HOLE and (first or not self.set_anew)
        return not self.set_anew and until <= self.end + _END_SLACK


def clock_of(format_name: str, start: float | None, end: float | None) -> Clock | None:
    """The clock of a format, or None if it has none of its own.

    Times of MP3, WAV, AAC in ADTS and AVI are computed from sizes of packets, those of ASF are
    rough: neither tells where sound is missing.

    Args:
        format_name: FFmpeg's names of the format, with commas between.
        start: seconds on its clock at which the first of its streams starts.
        end: seconds that a player shows at its end, if a header says so.
    """
    names = set(format_name.split(","))
    if names & _FROM_ZERO:
        # Fragments of a longer stream keep its clock; players show the first picture as 0.
        piece = start is not None and not 0.0 <= start <= LATEST_START
        return Clock(start if piece else 0.0, end=end)
    if names & (_ANYWHERE | _SET_ANEW):
        return Clock(start, set_anew=bool(names & _SET_ANEW), end=end)
    return None


class Placed(NamedTuple, Generic[F]):
    """A frame, and where it belongs.

    Attributes:
        frame: as it came.
        at: seconds of the result at which it starts, behind silence, or with what is there already
            left out; None where it follows on the one before.
    """

    frame: F
    at: float | None


class _Held(NamedTuple, Generic[F]):
    frame: F
    time: float | None
    seconds: float


class Timeline(Generic[F]):
    """Places the frames of one stream, in their order; holds half a second of them.

    Args:
        clock: of the file; None: every frame follows on the one before.
        longest: seconds that the result may last; no silence leads beyond.
        position: seconds of the result that are there before the first frame.

    Attributes:
        holes: filled so far.
        filled: seconds of silence in them.
        jumps: of the clock that were not followed.
    """

    def __init__(self, clock: Clock | None, longest: float, position: float = 0.0) -> None:
        self.holes = 0
        self.filled = 0.0
        self.jumps = 0
        self._clock = clock
        self._longest = longest
        self._position = self._base = position
        self._origin = None if clock is None else clock.origin
        self._held: deque[_Held[F]] = deque()
        self._held_seconds = 0.0
        self._first = True

    def add(self, frame: F, time: float | None, seconds: float) -> Iterator[Placed[F]]:
        """The frames that can be placed now that another has come.

        Args:
            frame: the next.
            time: seconds on the file's clock at which it starts; None if it doesn't say.
            seconds: how long it lasts.
        """
        if self._clock is None:
            yield Placed(frame, None)
            return
        self._held.append(_Held(frame, time, seconds))
        self._held_seconds += seconds
        while (
            len(self._held) > LOOK_FRAMES
            and self._held_seconds - self._held[0].seconds >= LOOK_SECONDS
        ):
            yield self._place(self._clock)

    def finish(self) -> Iterator[Placed[F]]:
        """The frames that are left."""
        while self._held and self._clock is not None:
            yield self._place(self._clock)

    def _place(self, clock: Clock) -> Placed[F]:
        late = self._lateness(1)
        at: float | None = None
        if late and late[0] >= SHORTEST_HOLE:
            hole = min(self._lateness(len(self._held)))
            until = self._position + hole
            if hole >= SHORTEST_HOLE:
                if clock.follows(hole, until, first=self._first) and until <= self._longest:
                    at = self._position = until
                    self.holes += 1
                    self.filled += hole
                else:
                    self._jump(hole)
        elif late and late[0] <= -SHORTEST_HOLE:
            overlap = max(self._lateness(len(self._held)))
            if -LONGEST_SEAM <= overlap <= -SHORTEST_HOLE and not self._first:
                at = self._position = self._position + overlap
            elif overlap <= -BACK:
                self._jump(overlap)
        held = self._held.popleft()
        self._held_seconds = self._held_seconds - held.seconds if self._held else 0.0
        self._position += held.seconds
        self._first = False
        return Placed(held.frame, at)

    def _lateness(self, count: int) -> list[float]:
        """How much later than one after the other the next frames start; of those that say."""
        late: list[float] = []
        position = self._position
        for index in range(count):
            held = self._held[index]
            if held.time is not None:
                if self._origin is None:
                    self._origin = held.time - (position - self._base)
                late.append(held.time - self._origin + self._base - position)
            position += held.seconds
        return late

    def _jump(self, seconds: float) -> None:
        """From here on the clock counts from another origin."""
        assert self._origin is not None
        self._origin += seconds
        self.jumps += 1
