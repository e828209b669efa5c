"""The daemon's decisions, as arithmetic: when to take more, to give up, to end (pure).

Nothing here waits, reads a clock or talks to anybody: times come in as numbers (seconds of
one monotonic clock), so that every decision can be tested on its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

MESSAGES_PER_RECEIVE = 10
"""What one ReceiveMessage may bring at most (SQS)."""

UNFETCHED_SECONDS = 60.0
"""What a job counts, in seconds of audio, until its file is here."""

BYTES_PER_SECOND = 16_000.0
"""What a fetched file counts until the engine has it: 128 kbit/s, a usual MP3. Files packed
tighter count too little for a moment, which the bound on leases contains."""

IN_FLIGHT_GRACE = 2.0
"""Messages held by other workers keep an idle one for this many visibility timeouts."""

_DEATH = 0.25
"""What a worker's death counts against the one job it had, in failures."""

ENOUGH_RECEIVES = 10
"""Below this maxReceiveCount a few spot interruptions send innocent jobs to the dead letters."""


# -- taking work ------------------------------------------------------------------------------


def lease_bound(batch_size: int) -> int:
    """How many messages may be held at once: some batches of one-window jobs, never hoards.

    What one worker holds no other can take, so the bound stays near what keeps a device
    busy: the batch being decoded, the next ones, and those on their way in and out.
    """
    return min(256, max(16, 4 * batch_size))


def unsized_seconds(size: int | None) -> float:
    """Seconds of audio that a job of unknown length counts; `size` in bytes once fetched."""
    if size is None:
        return UNFETCHED_SECONDS
    return max(1.0, size / BYTES_PER_SECOND)


def room(
    *, held_seconds: float, limit_seconds: float, leases: int, max_leases: int, suspects: int
) -> int:
    """How many messages to ask for now, 0 to 10.

    A held suspect (a job that may have killed a worker) closes the door: what is not held
    can't be hurt when it does so again.
    """
    if suspects or held_seconds >= limit_seconds:
        return 0
    return max(0, min(MESSAGES_PER_RECEIVE, max_leases - leases))


# -- giving up --------------------------------------------------------------------------------


class Run(StrEnum):
    """In what company a job may enter the engine."""

    TOGETHER = "together"
    ALONE = "alone"
    GIVE_UP = "give_up"


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of a job's earlier runs; it travels in the job's checkpoint.

    Attributes:
        failures: failures that were this job's and nobody else's, noted by a worker that saw
            them.
        deaths: workers that died while they had this job alone. Nobody saw why: the job may
            have killed them, or the machine may have been taken away.
        suspect: a worker died, or its engine broke, while this job was in it.
        running: the mark of a run that has begun. It is taken back by whoever ends the run
            in good order, so one that is found by the next worker tells of a death.
    """

    failures: int = 0
    deaths: int = 0
    suspect: bool = False
    running: Run | None = None

    @property
    def clean(self) -> bool:
        """Nothing is held against the job."""
        return self == Record()

    def found(self) -> Record:
        """The record as the next worker must read it: a mark still there is a death.

        A death in company makes a suspect of everybody who was there; only a death alone is
        counted. Receives are not: each interruption of an innocent job raises those too.
        """
        if self.running is None:
            return self
        alone = self.running is Run.ALONE
        return Record(failures=self.failures, deaths=self.deaths + alone, suspect=True)

    def begun(self, run: Run) -> Record:
        """The record to keep while the job runs."""
        return replace(self, running=run)

    def ended(self) -> Record:
        """The run ended in good order (interrupted, or the world failed): no mark."""
        return replace(self, running=None)

    def failed(self) -> Record:
        """The run ended with a failure of this job's own, before somebody's eyes."""
        return replace(self, failures=self.failures + 1, suspect=True, running=None)

    def broke(self, run: Run) -> Record:
        """The engine broke, and the worker lived to see it, while the job was in it."""
        if run is Run.ALONE:
            return self.failed()
        return replace(self, suspect=True, running=None)

    def forgiven(self) -> Record:
        """What stays after giving up: an operator who sends the job again means it."""
        return Record()


def judge(record: Record, *, max_failures: int) -> Run:
    """How a job with this (found) record may run.

    A death alone is a quarter of a failure: where workers are killed from outside, an innocent
    job that is long, or unlucky, sees several of them, and to give it up wrongly costs more
    than some restarts. Seldom is it the count that decides: the queue's limit on receives,
    ten or more, is near by then.
    """
    if record.failures + record.deaths * _DEATH >= max_failures:
        return Run.GIVE_UP
    return Run.TOGETHER if record.clean else Run.ALONE


def marks(receive_count: int, record: Record) -> bool:
    """Whether the beginning of this run must be written down first.

    A first delivery has killed nobody, and one write a job would be paid by all; so the mark
    is kept from the second delivery on. A poisonous job gets one more run for it.
    """
    return receive_count > 1 or not record.clean


def last_delivery(receive_count: int, max_receive_count: int | None) -> bool:
    """Whether the redrive policy takes the message away if it is received once more."""
    return max_receive_count is not None and receive_count >= max_receive_count


# -- answering a message ----------------------------------------------------------------------


class Answer(StrEnum):
    """What became of one job of a held message."""

    COMMITTED = "committed"
    ALREADY = "already"
    FAILED = "failed"
    DROPPED = "dropped"
    RELEASED = "released"
    LOST = "lost"

    @property
    def final(self) -> bool:
        """The job needs no other delivery."""
        return self in (Answer.COMMITTED, Answer.ALREADY, Answer.FAILED, Answer.DROPPED)


class Settlement(StrEnum):
    """What follows for the message once each of its jobs has an answer."""

    DELETE = "delete"
    RELEASE = "release"
    ABANDON = "abandon"


def settle(answers: Iterable[Answer]) -> Settlement:
    """A message is deleted only when every job of it is answered for good.

    A lost lease outweighs the rest: the receipt is stale, and what it names belongs to
    another worker now.
    """
    settlement = Settlement.DELETE
    for answer in answers:
        if answer is Answer.LOST:
            return Settlement.ABANDON
        if not answer.final:
            settlement = Settlement.RELEASE
    return settlement


# -- ending -----------------------------------------------------------------------------------


class Idle(StrEnum):
    """What an observation of the queue says about staying."""

    BUSY = "busy"
    WAITING = "waiting"
    IN_FLIGHT = "in_flight"
    END = "end"


class IdleClock:
    """Since when there was nothing to do, and whether that is long enough to end.

    Idle means: nothing held here, nothing visible or delayed on the queue, over the whole
    timeout. Messages in flight with other workers delay the end by a bounded time: long
    enough to catch what a dying worker gives back, not so long that a fleet pays for one
    three-hour job. Retries that this worker gave back itself, with a delay, count as queue
    work until they are due; SQS shows them as in flight, but we know better.

    Not thread-safe: one thread (the intake) owns it.

    Args:
        now: the clock's reading at start.
        idle_timeout: seconds.
        visibility_timeout: seconds; the bound for messages elsewhere is twice that.
        min_uptime: seconds after `now` before which it never ends.
    """

    def __init__(
        self,
        now: float,
        *,
        idle_timeout: float,
        visibility_timeout: float,
        min_uptime: float = 0.0,
    ) -> None:
        self._timeout = idle_timeout
        self._grace = IN_FLIGHT_GRACE * visibility_timeout
        self._earliest = now + min_uptime
        self._since = now
        self._retry_due = now

    def work(self, now: float) -> None:
        """Something was received, or ended: the clock starts anew."""
        self._since = max(self._since, now)

    def retry(self, due: float) -> None:
        """A message was given back and becomes visible at `due`."""
        self._retry_due = max(self._retry_due, due)

    def idle_seconds(self, now: float) -> float:
        """How long there has been nothing to do."""
        return max(0.0, now - self._since)

    def observe(self, now: float, *, held: int, queued: int | None, in_flight: int) -> Idle:
        """Take in one look at the queue.

        Args:
            now: when it was taken.
            held: messages held here.
            queued: messages visible or delayed; None if the queue could not be asked, which
                neither restarts the clock nor lets it ring.
            in_flight: messages not visible, ours included.
        """
        if held or queued:
            self._since = now
            return Idle.BUSY
        idle = now - self._since
        if queued is None or idle < self._timeout or now < self._earliest:
            return Idle.WAITING
        if now < self._retry_due:
            return Idle.WAITING
        if in_flight and idle < self._timeout + self._grace:
            return Idle.IN_FLIGHT
        return Idle.END


# -- the watchdog -----------------------------------------------------------------------------


def hung(now: float, last_progress: float | None, *, timeout: float) -> bool:
    """Whether the device has finished nothing for too long while it has work.

    Progress decides, not time: a file of ten hours hangs nothing as long as its windows
    come out. `last_progress` is None while the device has no work.
    """
    return last_progress is not None and now - last_progress > timeout


def drain_seconds(drain_timeout: float, notice_seconds: float | None) -> float:
    """How long a drain may wait for running jobs.

    On a spot notice the machine goes at a known time; a sixth of what is left, 5 to 20
    seconds, is kept for saving checkpoints and giving leases back.
    """
    if notice_seconds is None:
        return drain_timeout
    reserve = min(20.0, max(5.0, notice_seconds / 6))
    return max(0.0, min(drain_timeout, notice_seconds - reserve))
