"""The daemon's decisions, as arithmetic: when to take more work, and when to end (pure).

Nothing here waits, reads a clock or does I/O: times come in as numbers (seconds of one monotonic
clock), so that every decision can be tested on its own.
"""

from __future__ import annotations

import math
from enum import StrEnum

from worker.aws.sqs import MESSAGES_PER_CALL

IN_FLIGHT_GRACE = 2.0
"""Messages held by other workers keep an idle one for this many visibility timeouts."""

ENOUGH_RECEIVES = 10
"""Below this maxReceiveCount a few spot interruptions send innocent jobs to the dead letters."""


# -- taking work ------------------------------------------------------------------------------


def lease_bound(batch_size: int) -> int:
    """How many messages may be held at once: five batches of one-window jobs, 16 to 320.

    Not counted are as many that only wait to be told who speaks; see `room`.

    What one worker holds no other can take, so the bound stays near what keeps a device busy: the
    batch being decoded, the next one, and what is on its way in and out. Short windows fill a batch
    with twice as many.
    """
    return min(320, max(16, 5 * batch_size))


def room(
    *,
    held_seconds: float,
    limit_seconds: float,
    leases: int,
    max_leases: int,
    suspects: int,
    only_speakers: int = 0,
) -> int:
    """How many messages to ask for now, 0 to 10.

    Messages of which nothing but who speaks is missing keep no device busy: they have as many
    places of their own, so up to twice the bound may be held. Those beyond take places of the
    others, and a worker whose diarizer is slower than its text takes no more than it tells apart.

    While a suspect is held (a job that may have killed a worker) no message is taken: what is
    not held comes to no harm if the suspect kills this worker too.

    At the bound, places get free one by one. One request brings ten messages, so none is made for
    fewer than ten places, or a quarter of the bound where that is less.

    Args:
        held_seconds: seconds of audio held.
        limit_seconds: those from which on no message is taken.
        leases: messages held.
        max_leases: the bound on them; see `lease_bound`.
        suspects: jobs held that may have killed a worker.
        only_speakers: of the messages held, those of which nothing but who speaks is missing.
    """
    places = max_leases - (leases - min(only_speakers, max_leases))
    if suspects or held_seconds >= limit_seconds or places < _worth_asking(max_leases):
        return 0
    return min(MESSAGES_PER_CALL, places)


def _worth_asking(max_leases: int) -> int:
    """For how many free places a request is made."""
    return max(1, min(MESSAGES_PER_CALL, max_leases // 4))


def poll_seconds(poll: int, *, idle_timeout: float, visibility_timeout: int) -> int:
    """How long one long poll lasts: `poll` seconds, or less, but one at least.

    It must fit between two heartbeats (a third of the visibility timeout apart), because what it
    brings is held from some moment of it on; and it must not oversleep the idle timeout.
    """
    return max(1, min(poll, math.ceil(idle_timeout), visibility_timeout // 6))


# -- ending -----------------------------------------------------------------------------------


class Idle(StrEnum):
    """What one look at the queue says about staying.

    BUSY: there is work. WAITING: there is none, but not for long enough. IN_FLIGHT: long enough,
    but other workers hold messages. END: the worker may end.
    """

    BUSY = "busy"
    WAITING = "waiting"
    IN_FLIGHT = "in_flight"
    END = "end"


class IdleClock:
    """Since when there was nothing to do, and whether that is long enough to end.

    Idle means: nothing held here, nothing visible or delayed on the queue, over the whole
    timeout. Messages in flight with other workers delay the end by a bounded time: long
    enough to catch what a dying worker releases, not so long that a fleet pays for one
    three-hour job. Messages that this worker itself released with a delay count as queue work
    until they are due: SQS counts them as in flight.

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
        """Not to end before `due`: a message that was released becomes visible then, say."""
        self._retry_due = max(self._retry_due, due)

    @property
    def idle_since(self) -> float:
        """When the last work was seen; the start, if there was none."""
        return self._since

    def idle_seconds(self, now: float) -> float:
        """How long there has been nothing to do."""
        return max(0.0, now - self._since)

    def observe(self, now: float, *, held: int, queued: int | None, in_flight: int) -> Idle:
        """Judge by one look at the queue whether to stay.

        Args:
            now: when it was looked at.
            held: messages held here.
            queued: messages visible or delayed; None if the queue could not be asked, which
                neither restarts the clock nor ends the worker.
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


# -- health -----------------------------------------------------------------------------------


def failures_in_a_row(before: int, *, committed: bool, ours: bool) -> int:
    """How many jobs have failed since the last commit without being at fault themselves.

    Only a commit shows that a job can get all the way. One that is wrong by itself, that has its
    result already or that is released by a drain says nothing of the worker.

    Args:
        before: what it was before this job.
        committed: the job's result was written.
        ours: the job failed through the worker or the world around it.
    """
    return 0 if committed else before + ours


def failing_from(threads: int) -> int:
    """From how many failures in a row on a worker counts as one that fails every job.

    One bad moment of the network or of S3 fails the job on each thread that fetches or writes at
    that time; one more shows that it lasts. 5 at least, so that a worker with few threads isn't
    judged by one message.

    Args:
        threads: that fetch inputs or write results.
    """
    return max(5, threads + 1)


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
    seconds, is kept for saving checkpoints and releasing messages.
    """
    if notice_seconds is None:
        return drain_timeout
    reserve = min(20.0, max(5.0, notice_seconds / 6))
    return max(0.0, min(drain_timeout, notice_seconds - reserve))
