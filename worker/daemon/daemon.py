"""The daemon's life: start, watch, drain, close.

Threads, each with one thing to do; a dead one drains the worker and makes it exit 1:

    main         signals and the watchdog; it never waits for the network or the engine
    intake       receives while there is room                       (worker/daemon/intake.py)
    downloads    fetch, then hand to the engine                     (Pipeline.fetch, submit)
    the engine   its own threads and children                       (worker/speech)
    commits      write results and errors, settle messages          (Pipeline.finish, ...)
    heartbeat    extends the leases                                 (worker/aws/lease.py)
    watcher      watches for the end of the instance                (worker/aws/instance.py)

The first reason to stop (`stops.py`) begins the drain: nothing new is taken in, what has not
begun is released, what runs may finish until the deadline, the rest is saved and released. Later
reasons can only bring the deadline nearer or make the exit code worse.

`compose.py` builds the parts.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, replace
from typing import Any, Protocol

from worker.aws.instance import Instance, InstanceWatcher
from worker.aws.lease import Heartbeat
from worker.aws.source import Source
from worker.daemon.dispatch import Dispatch
from worker.daemon.status import Readings, State, Status
from worker.daemon.stops import Stop, Stops, Watchdog
from worker.daemon.systemd import Notifier
from worker.errors import ExitCode, MachineError
from worker.logs import get_logger
from worker.pipeline.answers import Answer
from worker.pipeline.holdings import Holdings
from worker.pipeline.workdir import WorkDir
from worker.speech.api import Transcriber
from worker.threads import SupervisedThread, ThreadPool

log = get_logger(__name__)

_STATUS_SECONDS = 5.0
_EXTEND_SECONDS = 30.0
"""How much more time systemd is asked for while a drain goes on, again and again."""

_CLOSE_SECONDS = 60.0
"""What systemd is asked for, beside the engine's time, for all that `_close` waits for."""

_POOL_SECONDS = 5.0
_RELEASE_SECONDS = 10.0
_RECEIVE_MARGIN_SECONDS = 5.0
_LOADING_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Pace:
    """How long the daemon waits for things, in seconds; tests are in more of a hurry.

    Attributes:
        poll: one long poll; whole seconds, 20 at most. A stop has to wait for it.
        tick: between two looks of the main thread.
        watch: between two looks at the instance metadata.
        settle: after a drain's deadline, for checkpoints and for releasing messages.
        engine_stop: for the batch on the device, which can't be interrupted, after all is released.
        max_leases: messages held at most; None: from the batch size.
    """

    poll: int = 5
    tick: float = 0.5
    watch: float = 5.0
    settle: float = 20.0
    engine_stop: float = 20.0
    max_leases: int | None = None

    @property
    def receive(self) -> float:
        """How long a receive that is under way may take to end by itself."""
        return self.poll + _RECEIVE_MARGIN_SECONDS


class Reporter(Protocol):
    """Something that shows the worker's metrics to the outside."""

    def start(self) -> None:
        """Begin."""
        ...

    def stop(self) -> object:
        """End. Safe if it never started."""
        ...


@dataclass(frozen=True, slots=True)
class Feed:
    """One queue that the worker takes messages from, with the two threads that it needs.

    Attributes:
        source: the queue, its dead letters and its leases.
        intake: the thread that receives messages.
        heartbeat: the thread that extends the leases.
    """

    source: Source
    intake: SupervisedThread
    heartbeat: Heartbeat


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that a worker is made of, built and not yet started.

    Attributes:
        engine: what transcribes.
        readings: numbers of the engine and the holdings.
        feeds: the queues, each with its threads.
        holdings: the messages and jobs held.
        dispatch: hands each job to the thread that has the next step.
        downloads: the threads that fetch.
        commits: the threads that write the end of jobs.
        watcher: the thread that watches for the end of the instance.
        stops: where reasons to stop wait.
        watchdog: looks for a broken engine and dead threads.
        status: what the worker reports about itself.
        reporters: the pages on loopback and the lines for CloudWatch, where they are wanted.
        notifier: the service manager.
        instance: the machine.
        work: the folder of temporary files.
        preflight: whether queue and instance fit the settings; raises SettingsError and
            TransientError, and may take some seconds.
        check_engine: whether the started engine can do what the settings ask of it for every job;
            raises SettingsError.
        drain_timeout: seconds that running jobs have to finish.
        max_leases: messages held at most.
    """

    engine: Transcriber
    readings: Readings
    feeds: Sequence[Feed]
    holdings: Holdings
    dispatch: Dispatch
    downloads: ThreadPool
    commits: ThreadPool
    watcher: InstanceWatcher
    stops: Stops
    watchdog: Watchdog
    status: Status
    reporters: Sequence[Reporter]
    notifier: Notifier
    instance: Instance
    work: WorkDir
    preflight: Callable[[], None]
    check_engine: Callable[[], None]
    drain_timeout: float
    max_leases: int


class Daemon:
    """One worker: one engine, one process. Built by `compose.daemon`.

    Args:
        parts: what it is made of; they belong to it from now on.
        pace: how long it waits for things.
    """

    def __init__(self, parts: Parts, pace: Pace) -> None:
        self._parts = parts
        self._pace = pace
        self._began = time.monotonic()
        self._status_at = 0.0
        self._ping_at = 0.0
        self._unhealthy = False

    def run(self) -> ExitCode:
        """Work until there is a reason to stop. Call it once, from the main thread.

        Raises:
            SettingsError: a setting turns out to be wrong (no such queue, ...).
            MachineError: the engine can't work here.
            TransientError: the queue can't be reached at the start.
        """
        parts = self._parts
        with parts.stops.handling_signals(parts.work.close):
            try:
                code = self._drain(self._start() or self._watch())
            except BaseException:
                self._close(ExitCode.FAILURE)
                raise
            self._close(code)
        log.info("worker.stopped", message=f"Worker stopped, exit code {code.value}")
        return code

    def stop(self) -> None:
        """Drain and end, as on SIGTERM. Callable from any thread, at any time."""
        self._parts.stops.asked()

    def status(self) -> dict[str, Any]:
        """The status document, see `Status.document`. Callable from any thread, at any time."""
        return self._parts.status.document()

    # -- start --------------------------------------------------------------------------------

    def _start(self) -> Stop | None:
        """Load the engine and start the threads; a Stop if one came meanwhile.

        The engine loads before the first receive: a message that is held while nothing can be
        done with it is held in vain. It loads on a thread of its own, so that a stop is noticed.
        """
        parts = self._parts
        loaded: Future[None] = Future()
        SupervisedThread("start", lambda: self._load(loaded)).start()
        while not loaded.done():
            stop = parts.stops.next(self._pace.tick)
            if stop is not None:
                self._leave_loading(loaded)
                return stop
        try:
            loaded.result()
        except MachineError:
            parts.instance.mark_unhealthy()
            raise
        for feed in parts.feeds:
            feed.heartbeat.start()
        parts.watcher.start()
        parts.downloads.start()
        parts.commits.start()
        for feed in parts.feeds:
            feed.intake.start()
        parts.status.state = State.RUNNING
        parts.notifier.ready(parts.status.line())
        info = parts.engine.info
        log.info(
            "worker.ready",
            message=f"Ready: {info.model} on {info.device}, taking messages",
            model=info.model,
            device=info.device,
            compute_type=info.compute_type,
            max_leases=parts.max_leases,
            load_seconds=time.monotonic() - self._began,
        )
        return None

    def _load(self, loaded: Future[None]) -> None:
        """What may fail for the settings' sake, the model, and whether it fits the settings."""
        parts = self._parts
        try:
            parts.preflight()
            for reporter in parts.reporters:
                reporter.start()
            parts.notifier.status("loading the model")
            parts.engine.start()
            parts.readings.engine_started = True
            parts.check_engine()
        except BaseException as error:  # noqa: BLE001  # raised again on the main thread
            loaded.set_exception(error)
        else:
            loaded.set_result(None)

    def _leave_loading(self, loaded: Future[None]) -> None:
        """A stop came while loading. A model can't be loaded halfway, so wait only a little."""
        done, _ = wait([loaded], timeout=_LOADING_SECONDS)
        if not done:
            log.info("drain.loading", message="Asked to stop while loading; nothing was held")
            self._end_hard(ExitCode.OK)

    # -- watch --------------------------------------------------------------------------------

    def _watch(self) -> Stop:
        """Wait for a reason to stop, and show signs of life."""
        while True:
            stop = self._parts.stops.next(self._tick()) or self._parts.watchdog.check()
            if stop is not None:
                return stop
            self._show_life()

    def _tick(self) -> float:
        ping = self._parts.notifier.ping_seconds
        return min(self._pace.tick, ping / 2) if ping else self._pace.tick

    def _show_life(self) -> None:
        """Ping systemd's watchdog (unless the engine hangs) and send it the status line."""
        notifier, now = self._parts.notifier, time.monotonic()
        ping = notifier.ping_seconds
        if ping is not None and now >= self._ping_at and not self._parts.watchdog.hung():
            notifier.watchdog()
            self._ping_at = now + ping
        if now >= self._status_at:
            notifier.status(self._parts.status.line())
            self._status_at = now + _STATUS_SECONDS
            self._tell_health()

    def _tell_health(self) -> None:
        """Log when the worker's health turns."""
        reason = self._parts.status.unhealthy()
        if (reason is not None) is self._unhealthy:
            return
        self._unhealthy = reason is not None
        if reason is not None:
            log.warning("worker.unhealthy", message=f"Unhealthy: {reason}")
        else:
            log.info("worker.healthy", message="Healthy again")

    # -- drain --------------------------------------------------------------------------------

    def _drain(self, stop: Stop) -> ExitCode:
        """Finish what the time allows, save and release the rest. Returns the exit code."""
        parts = self._parts
        began = time.monotonic()
        parts.status.state = State.DRAINING
        parts.holdings.drain()
        held = len(parts.holdings)
        before = parts.status.answered()
        level = log.info if stop.code is ExitCode.OK else log.error
        level(stop.event, message=stop.message, messages_held=held)
        parts.notifier.stopping(f"draining: {held} messages held")
        if held:
            parts.dispatch.release_waiting()
            stop = self._wait_for_running(stop)
            parts.dispatch.release_running(engine_lost=stop.engine_lost)
            self._wait_until_empty(time.monotonic() + self._pace.settle)
            self._release_the_rest()
        answered = parts.status.answered()
        done, given_back = (
            answered[answer] - before[answer] for answer in (Answer.COMMITTED, Answer.RELEASED)
        )
        log.info(
            "drain.finished",
            message=f"Nothing is held: {done} jobs done meanwhile, {given_back} given back",
            seconds=time.monotonic() - began,
            jobs_done=done,
            jobs_given_back=given_back,
        )
        if stop.hung:
            self._end_hard(stop.code)
        return stop.code

    def _wait_for_running(self, stop: Stop) -> Stop:
        """Let running jobs finish until the deadline; the reason to stop as it is by then."""
        parts = self._parts
        deadline = time.monotonic() + self._seconds_for(stop)
        while len(parts.holdings) and time.monotonic() < deadline and not stop.engine_lost:
            more = parts.stops.next(0.0) or parts.watchdog.check()
            if more is not None and more.event != stop.event:
                log.warning(more.event, message=more.message)
                deadline = min(deadline, time.monotonic() + self._seconds_for(more))
                stop = replace(more, code=max(stop.code, more.code), idle=stop.idle and more.idle)
            self._stay_alive(deadline)
            parts.holdings.wait_empty(max(0.0, min(self._tick(), deadline - time.monotonic())))
        return stop

    def _seconds_for(self, stop: Stop) -> float:
        if stop.engine_lost:
            return 0.0
        return self._parts.drain_timeout if stop.seconds is None else stop.seconds

    def _wait_until_empty(self, deadline: float) -> None:
        while len(self._parts.holdings) and time.monotonic() < deadline:
            self._stay_alive(deadline)
            self._parts.holdings.wait_empty(self._tick())

    def _stay_alive(self, deadline: float) -> None:
        """Ask systemd for more time, and show signs of life."""
        left = min(max(0.0, deadline - time.monotonic()), _EXTEND_SECONDS)
        self._parts.notifier.extend(left + self._pace.settle + _EXTEND_SECONDS)
        self._show_life()

    def _release_the_rest(self) -> None:
        """Release what no thread could end in time, so that other workers get it at once."""
        left = [held.message.message_id for held in self._parts.holdings.all()]
        if not left:
            return
        log.error(
            "drain.cut_short",
            message="Some jobs could not be ended in time; their messages are released",
            message_ids=left,
        )
        _bounded("release", self._parts.dispatch.release_all, _RELEASE_SECONDS)

    # -- close --------------------------------------------------------------------------------

    def _close(self, code: ExitCode) -> None:
        """End every thread, release the machine's protection, remove every file.

        A device call can't be interrupted, and on a CPU one may take minutes. Nothing is held any
        more, so nobody waits for what comes of it: the process ends without it, with its `code`.
        """
        parts = self._parts
        parts.holdings.drain()
        parts.notifier.status("stopping")
        parts.notifier.extend(self._pace.receive + self._pace.engine_stop + _CLOSE_SECONDS)
        # A receive under way ends by itself; the intake releases what it brings.
        if not self._intakes_ended():
            log.warning("intake.stuck", message="A receive did not end; its messages will lapse")
        for pool in (parts.downloads, parts.commits):
            pool.stop(_POOL_SECONDS)
        for feed in parts.feeds:
            feed.heartbeat.stop()
        parts.watcher.stop()
        ended = True
        if parts.readings.engine_started:
            ended = _bounded("engine-stop", parts.engine.stop, self._pace.engine_stop)
        parts.instance.unprotect()
        for reporter in reversed(parts.reporters):
            reporter.stop()
        parts.work.close()
        if ended:
            return
        if code is ExitCode.OK:
            log.warning(
                "engine.abandoned",
                message=f"What is on the device isn't done after {self._pace.engine_stop:g} "
                "seconds; it belongs to no job any more, and the process ends without it",
            )
        else:
            log.error("engine.stuck", message="The engine does not stop; the process ends anyway")
        self._end_hard(code)

    def _intakes_ended(self) -> bool:
        """Wait until no receive is under way, a bounded time; whether that is so."""
        deadline = time.monotonic() + self._pace.receive
        return all(feed.intake.join(deadline - time.monotonic()) for feed in self._parts.feeds)

    def _end_hard(self, code: ExitCode) -> None:
        """End the process whatever the engine's threads do; a hung driver waits for nobody."""
        self._intakes_ended()
        self._parts.instance.unprotect()
        self._parts.work.close()
        level = log.info if code is ExitCode.OK else log.error
        level("worker.ended_hard", message=f"Process ended, exit code {code.value}")
        os._exit(code)


def _bounded(name: str, action: Callable[[], object], seconds: float) -> bool:
    """Run something that might hang; whether it ended within so many seconds."""
    thread = SupervisedThread(name, action)
    thread.start()
    return thread.join(seconds)
