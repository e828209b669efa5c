"""Where frames of audio belong on a file's own clock, which is the one a player shows (pure).

Audio that begins late, or has holes where packets were lost or a recording was paused, is put in
its place with silence before it. Times jitter and clocks break, so a hole is believed only if the
frames behind it agree, and only up to a length; other jumps are not followed, and audio goes on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass
from itertools import islice
from typing import Generic, NamedTuple, TypeVar

__all__ = ["Clock", "Placed", "Timeline", "clock_of"]

F = TypeVar("F")

SHORTEST_HOLE = 0.02
"""Seconds: the shortest packet of a speech codec. A smaller difference is a rounded time."""

DRIFT = 0.05
"""Seconds by which times may move away little by little before they are followed: two clocks never
run alike, and each step costs a cut or a pause in what is said."""

LOOK_SECONDS, LOOK_FRAMES = 2.0, 3
"""Frames behind a hole that must agree, at least: those of so long, and so many. Times of arrival
jitter, and a network stalls for a second; what is lost stays lost."""

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

SEAMS, CRYSTALS = 0.02, 0.001
"""Share of the audio that may be left out so, where times step back (segments of 5 s and more) and
where they drift (the clocks of sound cards differ by less). Times that ask for more are wrong, and
what was said counts for more than they do."""

BACK = 1.0
"""Seconds. Times that go back by less overlap; by more, another clock begins."""

_END_SLACK = 1.0
"""Seconds that the end of the audio may lie behind the length in a header."""

_FROM_ZERO = frozenset({"mov", "matroska", "flv", "nut"})
"""Formats (FFmpeg's first name) whose clock starts with the file."""

_ANYWHERE = frozenset({"ogg", "flac", "wtv", "caf", "tta", "wv"})
"""Formats whose clock may start anywhere, as pieces of a stream keep its times, or that number
their packets, so that a damaged one leaves its place."""

_START_ALONE = frozenset({"asf", "avi"})
"""Formats whose times count large packets or bytes: they tell when a track of a film begins."""

ROUGH = 0.5
"""Seconds by which times of such formats may be off."""

_SET_ANEW = frozenset({"mpegts", "mpeg"})
"""Formats whose clock, too, may start anywhere, and may be set anew within a file."""


@dataclass(frozen=True, slots=True)
class Clock:
    """What a format's times mean.

    Attributes:
        origin: seconds on the file's clock that a player shows as 0; None: the first frame's.
        set_anew: whether the clock may jump without a reason.
        start_alone: whether it counts only where the audio begins.
        end: seconds that a player shows at the end, if a header says so.
    """

    origin: float | None
    set_anew: bool = False
    start_alone: bool = False
    end: float | None = None

    def follows(self, hole: float, until: float, *, first: bool, steady: bool) -> bool:
        """Whether a hole is to be filled.

        Args:
            hole: its seconds.
            until: seconds that a player shows behind it.
            first: whether it lies before all audio.
            steady: whether other streams of the file ran on meanwhile, on the same clock.
        """
        if self.start_alone:
            return first and ROUGH <= hole <= LONGEST_HOLE
        if hole <= SURE_HOLE:
            return True
        if self.set_anew and not (first or steady):
            return False
        if first or self.end is None:
            return hole <= LONGEST_HOLE
        return until <= self.end + _END_SLACK


def clock_of(
    names: Set[str], start: float | None, end: float | None, *, joined: bool = False
) -> Clock | None:
    """The clock of a format, or None if it has none of its own.

    Times of MP3, WAV, AAC in ADTS and the like are computed from sizes of packets, and don't tell
    where sound is missing.

    Args:
        names: FFmpeg's names of the format.
        start: seconds on its clock at which the first of its streams starts.
        end: seconds that a player shows at its end, if a header says so.
        joined: whether it stands behind another in one file: what begins it follows on.
    """
    if joined and names & (_FROM_ZERO | _ANYWHERE):
        return Clock(start, end=end)
    if names & _FROM_ZERO:
        # Fragments of a longer stream keep its clock; players show the first picture as 0.
        piece = start is not None and not 0.0 <= start <= LATEST_START
        return Clock(start if piece else 0.0, end=end)
    if names & (_ANYWHERE | _SET_ANEW):
        return Clock(start, set_anew=bool(names & _SET_ANEW), end=end)
    return Clock(start, start_alone=True) if names & _START_ALONE and not joined else None


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
    """Places the frames of one stream, in their order; holds two seconds of them.

    Args:
        clock: of the file; None: every frame follows on the one before.
        longest: seconds that the result may last; no silence leads beyond.
        position: seconds of the result that are there before the first frame.
        steady: whether other streams of the file have run on so far, on the same clock.

    Attributes:
        holes: filled so far.
        filled: seconds of silence in them.
        jumps: of the clock that were not followed.
        steady: as given; to be set anew where another stream follows.
    """

    def __init__(
        self,
        clock: Clock | None,
        longest: float,
        position: float = 0.0,
        steady: Callable[[], bool] = lambda: False,
    ) -> None:
        self.holes = 0
        self.filled = 0.0
        self.jumps = 0
        self._clock = clock
        self._longest = longest
        self._position = self._base = position
        self.steady = steady
        self._origin = None if clock is None else clock.origin
        self._held: deque[_Held[F]] = deque()
        self._held_seconds = 0.0
        self._first = True
        self._late = 0.0
        """How late the frame before was."""
        self._left_out = 0.0

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
        at = self._correct(clock, late[0]) if late else None
        if at is not None:
            self._position = at
        held = self._held.popleft()
        self._held_seconds = self._held_seconds - held.seconds if self._held else 0.0
        late_now = self._lateness_of(held)
        self._late = self._late if late_now is None else late_now
        self._position += held.seconds
        self._first = False
        return Placed(held.frame, at)

    def _correct(self, clock: Clock, late: float) -> float | None:
        """Where the next frame belongs, if it doesn't follow on; counts it."""
        step = late - self._late
        if late >= (SHORTEST_HOLE if step >= SHORTEST_HOLE else DRIFT):
            if len(self._held) < LOOK_FRAMES and not self._first:
                return None  # the last of the file: too few to believe
            hole = min(self._lateness(len(self._held)))
            return self._hole(clock, hole) if hole >= SHORTEST_HOLE else None
        steps_back = step <= -SHORTEST_HOLE
        if late <= -(SHORTEST_HOLE if steps_back else DRIFT):
            overlap = -max(self._lateness(len(self._held)))
            if clock.start_alone:
                return None
            if overlap >= BACK:
                self._jump(-overlap)
            elif SHORTEST_HOLE <= overlap <= LONGEST_SEAM and not self._first:
                return self._seam(overlap, SEAMS if steps_back else CRYSTALS)
        return None

    def _hole(self, clock: Clock, hole: float) -> float | None:
        until = self._position + hole
        if until <= self._longest and clock.follows(
            hole, until, first=self._first, steady=self.steady()
        ):
            self.holes += 1
            self.filled += hole
            return until
        if not clock.start_alone:
            self._jump(hole)
        return None

    def _seam(self, overlap: float, share: float) -> float | None:
        if self._left_out + overlap > LONGEST_SEAM + share * (self._position - self._base):
            return None
        self._left_out += overlap
        return self._position - overlap

    def _lateness(self, count: int) -> list[float]:
        """How much later than one after the other the next frames start; of those that say."""
        late: list[float] = []
        position = self._position
        for held in islice(self._held, count):
            one = self._lateness_of(held, position)
            if one is not None:
                late.append(one)
            position += held.seconds
        return late

    def _lateness_of(self, held: _Held[F], position: float | None = None) -> float | None:
        """How much later than a position (the next, if None) a frame starts, if it says."""
        position = self._position if position is None else position
        if held.time is None:
            return None
        if self._origin is None:
            self._origin = held.time - (position - self._base)
        return held.time - self._origin + self._base - position

    def _jump(self, seconds: float) -> None:
        """From here on the clock counts from another origin."""
        assert self._origin is not None
        self._origin += seconds
        self.jumps += 1
