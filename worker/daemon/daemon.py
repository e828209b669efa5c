"""The daemon: start, run, drain, stop.

Threads, each with one thing to do; a dead one drains the worker and makes it exit 1:

    main         signals and the watchdog; it never waits for the network or the engine
    intake       receives while there is room                       (worker/daemon/intake.py)
    downloads    fetch, then hand to the engine                     (Pipeline.fetch, submit)
    the engine   its own threads and children                       (worker/speech)
    commits      write results and errors, settle messages          (Pipeline.finish, ...)
    heartbeat    keeps the leases                                   (worker/aws/lease.py)
    watcher      listens for the machine's end                      (worker/aws/instance.py)

Whoever finds a reason to stop puts a `Stop` where the main thread waits. The first one begins
the drain: nothing new is taken in, what has not begun is given back, what runs may finish
until the deadline, the rest is checkpointed and given back. Later ones can only bring the
deadline nearer or make the exit code worse. A second signal ends the process at once.
"""

from __future__ import annotations

import faulthandler
import math
import os
import queue as queues
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from types import FrameType
from typing import TYPE_CHECKING, Any

from worker.aws.instance import EndResult, Imds, Instance, InstanceWatcher, SpotNotice
from worker.aws.lease import Heartbeat, LeaseTable
from worker.aws.notices import Notices
from worker.aws.queue import Message, Queue
from worker.aws.results import Store
from worker.daemon import policy
from worker.daemon.dispatch import Dispatch
from worker.daemon.intake import Intake
from worker.daemon.metrics import EmfReporter, Metrics, StatusServer
from worker.daemon.policy import IdleClock
from worker.daemon.systemd import Notifier
from worker.errors import ExitCode, MachineError, SettingsError, TransientError
from worker.jobs.message import JobDefaults
from worker.logs import get_logger
from worker.pipeline.holdings import Holdings, Task
from worker.pipeline.pipeline import Limits, Pipeline
from worker.pipeline.workdir import WorkDir
from worker.redact import summary
from worker.speech.api import EngineStats, Transcriber
from worker.threads import SupervisedThread, ThreadPool
from worker.uris import S3Prefix

if TYPE_CHECKING:
    from worker.aws.clients import Clients
    from worker.settings import Settings

log = get_logger(__name__)

_STATUS_SECONDS = 5.0
_EXTEND_SECONDS = 30.0
"""How much more time systemd is asked for while a drain goes on, again and again."""

_ENGINE_STOP_SECONDS = 20.0
_POOL_SECONDS = 5.0
_GIVE_BACK_SECONDS = 10.0
_RECEIVE_MARGIN_SECONDS = 5.0
_LOADING_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Pace:
    """How long the daemon waits for things, in seconds; tests are in more of a hurry.

    Attributes:
        poll: one long poll; whole seconds, 20 at most. A stop has to wait for it.
        tick: between two looks of the main thread.
        watch: between two looks at the instance metadata.
        settle: after a drain's deadline, for checkpoints and for giving leases back.
        max_leases: messages held at most; None: from the batch size.
    """

    poll: int = 5
    tick: float = 0.5
    watch: float = 5.0
    settle: float = 20.0
    max_leases: int | None = None


@dataclass(frozen=True, slots=True)
class Stop:
    """A reason to end.

    Attributes:
        event: its name in the log.
        message: the same for people.
        code: with which the process then exits.
        seconds: how long running jobs may go on; None: the setting `drain_timeout`.
        idle: nothing is held, and the setting `on_idle` applies.
        engine_lost: the engine is dead or hung: its jobs can't finish.
        hung: it may hold its threads and locks for ever: end the process the hard way.
    """

    event: str
    message: str
    code: ExitCode = ExitCode.OK
    seconds: float | None = None
    idle: bool = False
    engine_lost: bool = False
    hung: bool = False


class Daemon:
    """One worker: one queue, one engine, one process.

    Args:
        settings: `queue_url` must be set.
        clients: boto3 clients.
        engine: built, not started.
        pace: see `Pace`.
        environ: of the service manager and the metadata service.
    """

    def __init__(
        self,
        settings: Settings,
        clients: Clients,
        engine: Transcriber,
        *,
        pace: Pace | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        if settings.queue_url is None:
            raise SettingsError("queue_url is not set; give the URL of the queue to work on")
        self._settings = settings
        self._engine = engine
        self._pace = pace or Pace()
        self._stops: queues.SimpleQueue[Stop] = queues.SimpleQueue()
        self._signals = 0
        self._state = "loading"
        self._began = time.monotonic()
        self._status_at = 0.0
        self._ping_at = 0.0
        self._max_leases = self._pace.max_leases or policy.lease_bound(settings.batch_size)
        self._defaults = JobDefaults(
            output=S3Prefix.parse(settings.output) if settings.output else None,
            allowed_buckets=frozenset(settings.allowed_buckets),
        )
        self._queue = Queue(
            clients.sqs,
            settings.queue_url,
            visibility_timeout=settings.visibility_timeout,
            dead_letter_url=settings.dead_letter_url,
            poll_client=clients.sqs_poll,
        )
        self._store = Store(clients.s3)
        self._notices = Notices(clients, settings.notify_url)
        self._notifier = Notifier(environ)
        self._imds = Imds(environ)
        self._instance = Instance(self._imds, clients)
        self._holdings = Holdings()
        self._leases = LeaseTable(settings.visibility_timeout)
        self._heartbeat = Heartbeat(
            self._queue, self._leases, on_lost=self._lost, on_expiring=self._expiring
        )
        self._watcher = InstanceWatcher(
            self._imds,
            on_spot_notice=self._spot,
            on_rebalance=self._rebalance,
            on_terminating=self._terminating,
            poll_seconds=self._pace.watch,
        )
        self._metrics = Metrics(
            stats=self._stats,
            held=self._held,
            price_per_hour=settings.price_per_hour,
        )
        self._downloads = ThreadPool("download", settings.download_threads, self._died)
        self._commits = ThreadPool("commit", settings.commit_threads, self._died)
        self._intake = self._make_intake()
        self._intake_side = SupervisedThread("intake", self._intake.run, self._died)
        self._work: WorkDir | None = None
        self._dispatch: Dispatch | None = None
        self._engine_started = False
        self._emf: EmfReporter | None = None
        self._server: StatusServer | None = None

    def _make_intake(self) -> Intake:
        settings = self._settings
        return Intake(
            queue=self._queue,
            holdings=self._holdings,
            accept=self._accept,
            room=self._room,
            clock=IdleClock(
                time.monotonic(),
                idle_timeout=settings.idle_timeout,
                visibility_timeout=settings.visibility_timeout,
                min_uptime=settings.min_uptime,
            ),
            instance=self._instance,
            metrics=self._metrics,
            on_idle=self._on_idle,
            # A long poll must fit between two heartbeats, and an idle timeout is not overslept.
            poll_seconds=max(
                1,
                min(
                    self._pace.poll,
                    math.ceil(settings.idle_timeout),
                    settings.visibility_timeout // 6,
                ),
            ),
        )

    # -- start, run, stop ---------------------------------------------------------------------

    def run(self) -> ExitCode:
        """Work until idle or told to stop. Call it once, from the main thread.

        Raises:
            SettingsError: a setting turns out to be wrong (no such queue, ...).
            MachineError: the engine can't work here.
            TransientError: the queue can't be reached at the start.
        """
        with self._handling_signals():
            try:
                stop = self._start()
                if stop is None:
                    stop = self._watch()
                code = self._drain(stop)
            finally:
                self._close()
        if stop.idle and code is ExitCode.OK and self._settings.on_idle == "poweroff":
            self._instance.poweroff()
        log.info("worker.stopped", message=f"Worker stopped, exit code {code.value}")
        return code

    def stop(self) -> None:
        """Drain and end, as on SIGTERM. Callable from any thread, at any time."""
        self._stops.put(Stop("drain.asked", "Told to stop"))

    def _start(self) -> Stop | None:
        """Load everything, off the main thread; a Stop if one came meanwhile.

        The engine loads before the first receive: what is held while nothing can be done with
        it is held in vain.
        """
        loaded: Future[None] = Future()
        threading.Thread(target=self._load, args=(loaded,), name="start", daemon=True).start()
        while not loaded.done():
            stop = self._next_stop(self._pace.tick)
            if stop is not None:
                self._leave_loading(loaded)
                return stop
        try:
            loaded.result()
        except MachineError:
            self._instance.mark_unhealthy()
            raise
        self._heartbeat.start()
        self._watcher.start()
        self._downloads.start()
        self._commits.start()
        self._intake_side.start()
        self._state = "running"
        self._notifier.ready(self._status_line())
        info = self._engine.info
        log.info(
            "worker.ready",
            message=f"Ready: {info.model} on {info.device}, taking messages",
            model=info.model,
            device=info.device,
            compute_type=info.compute_type,
            max_leases=self._max_leases,
            load_seconds=time.monotonic() - self._began,
        )
        return None

    def _leave_loading(self, loaded: Future[None]) -> None:
        """Told to stop while loading. A model can't be loaded halfway, so wait only a little."""
        done, _ = wait([loaded], timeout=_LOADING_SECONDS)
        if not done:
            log.info("drain.loading", message="Told to stop while loading; nothing was held")
            self._end_hard(ExitCode.OK)

    def _load(self, loaded: Future[None]) -> None:
        try:
            self._open()
            self._notifier.status("loading the model")
            self._engine.start()
            self._engine_started = True
        except BaseException as error:  # noqa: BLE001  # raised again on the main thread
            loaded.set_exception(error)
        else:
            loaded.set_result(None)

    def _open(self) -> None:
        """Everything that may fail for the settings' sake, before the model is loaded."""
        settings = self._settings
        self._work = WorkDir(settings.work_dir)
        info = self._queue.describe()
        if info.dead_letter_url is None:
            log.warning(
                "queue.no_dead_letter_queue",
                message="The queue has no dead-letter queue: a message that can't be read, and "
                "has no place for an error.json, will come again and again",
            )
        if info.max_receive_count is not None and info.max_receive_count < policy.ENOUGH_RECEIVES:
            log.warning(
                "queue.few_receives",
                message=f"maxReceiveCount is {info.max_receive_count}: interruptions count as "
                f"receives, so set it to {policy.ENOUGH_RECEIVES} or more",
                max_receive_count=info.max_receive_count,
            )
        if settings.on_idle == "poweroff":
            self._refuse_poweroff_in_group()
        pipeline = Pipeline(
            store=self._store,
            queue=self._queue,
            engine=self._engine,
            notices=self._notices,
            work=self._work,
            limits=Limits(
                max_input_bytes=settings.max_input_bytes,
                max_failures=settings.max_failures,
                max_receive_count=info.max_receive_count,
                vtt_word_times=settings.vtt_word_times,
            ),
            draining=lambda: self._holdings.draining,
        )
        self._dispatch = Dispatch(
            pipeline=pipeline,
            holdings=self._holdings,
            leases=self._leases,
            queue=self._queue,
            engine=self._engine,
            metrics=self._metrics,
            downloads=self._downloads,
            commits=self._commits,
            defaults=self._defaults,
            held_seconds=settings.held_seconds,
            given_back=self._intake.given_back,
            intake_ended=self._intake_ended,
        )
        if settings.metrics_port is not None:
            self._server = StatusServer(
                settings.metrics_port,
                registry=self._metrics.registry,
                status=self.status,
                healthy=self.healthy,
            )
            self._server.start()
        if settings.metrics_emf:
            self._emf = EmfReporter(self._metrics, queue=self._queue.url.rpartition("/")[2])
            self._emf.start()

    def _refuse_poweroff_in_group(self) -> None:
        try:
            group = self._instance.group()
        except TransientError as error:
            log.warning("instance.group_unknown", message=f"Not checked before the end: {error}")
            return
        if group is not None:
            raise SettingsError(
                f"on_idle = 'poweroff' in the Auto Scaling group {group!r}: the group would only "
                "replace the machine; use on_idle = 'terminate'"
            )

    def _watch(self) -> Stop:
        """Wait for a reason to stop, and show signs of life."""
        while True:
            stop = self._next_stop(self._tick()) or self._trouble()
            if stop is not None:
                return stop
            self._show_life()

    def _next_stop(self, seconds: float) -> Stop | None:
        try:
            return self._stops.get(timeout=seconds)
        except queues.Empty:
            return None

    def _tick(self) -> float:
        ping = self._notifier.ping_seconds
        return min(self._pace.tick, ping / 2) if ping else self._pace.tick

    def _trouble(self) -> Stop | None:
        """Whether a thread that must live is dead, or the engine makes no progress."""
        failure = self._engine.failure()
        if failure is not None:
            return Stop(
                "engine.failed",
                f"The engine broke: {summary(failure)}",
                code=ExitCode.FAILURE,
                engine_lost=True,
            )
        if self._hung():
            return Stop(
                "engine.hung",
                f"The device has finished nothing for {self._settings.watchdog_timeout:.0f} "
                "seconds while it has work; the process ends",
                code=ExitCode.FAILURE,
                engine_lost=True,
                hung=True,
            )
        for name, side in (("heartbeat", self._heartbeat), ("watcher", self._watcher)):
            if not side.alive:
                died = side.failure
                return Stop(
                    "drain.thread_died",
                    f"The thread {name} died" + (f": {summary(died)}" if died else ""),
                    code=ExitCode.FAILURE,
                    # Without a heartbeat, leases hold for two thirds of their time at least.
                    seconds=min(
                        self._settings.drain_timeout, self._settings.visibility_timeout / 3
                    ),
                )
        return None

    def _hung(self) -> bool:
        return policy.hung(
            time.monotonic(),
            self._engine.last_progress(),
            timeout=self._settings.watchdog_timeout,
        )

    def _show_life(self) -> None:
        """Ping systemd's watchdog (only if the engine is not hung) and tell it how things are."""
        now = time.monotonic()
        ping = self._notifier.ping_seconds
        if ping is not None and now >= self._ping_at and not self._hung():
            self._notifier.watchdog()
            self._ping_at = now + ping
        if now >= self._status_at:
            self._notifier.status(self._status_line())
            self._status_at = now + _STATUS_SECONDS

    # -- drain --------------------------------------------------------------------------------

    def _drain(self, stop: Stop) -> ExitCode:
        """Finish what fits, keep and give back the rest. Returns the exit code."""
        began = time.monotonic()
        self._state = "draining"
        self._holdings.drain()
        held = len(self._holdings)
        level = log.info if stop.code is ExitCode.OK else log.error
        level(stop.event, message=stop.message, messages_held=held)
        self._notifier.stopping(f"draining: {held} messages held")
        if held:
            self._traffic.call_off_waiting()
            stop = self._wait_for_running(stop)
            self._traffic.call_off_running(engine_lost=stop.engine_lost)
            self._wait_until_empty(time.monotonic() + self._pace.settle)
            self._give_back_the_rest()
        log.info("drain.finished", message="Nothing is held", seconds=time.monotonic() - began)
        if stop.hung:
            self._end_hard(stop.code)
        return stop.code

    def _wait_for_running(self, stop: Stop) -> Stop:
        """Let running jobs finish until the deadline; the reason to stop as it is by then."""
        deadline = time.monotonic() + self._seconds_for(stop)
        while len(self._holdings) and time.monotonic() < deadline and not stop.engine_lost:
            more = self._next_stop(0.0) or self._trouble()
            if more is not None and more.event != stop.event:
                log.warning(more.event, message=more.message)
                deadline = min(deadline, time.monotonic() + self._seconds_for(more))
                stop = replace(more, code=max(stop.code, more.code), idle=stop.idle and more.idle)
            self._stay_alive(deadline)
            self._holdings.wait_empty(max(0.0, min(self._tick(), deadline - time.monotonic())))
        return stop

    def _seconds_for(self, stop: Stop) -> float:
        if stop.engine_lost:
            return 0.0
        return self._settings.drain_timeout if stop.seconds is None else stop.seconds

    def _wait_until_empty(self, deadline: float) -> None:
        while len(self._holdings) and time.monotonic() < deadline:
            self._stay_alive(deadline)
            self._holdings.wait_empty(self._tick())

    def _stay_alive(self, deadline: float) -> None:
        left = max(0.0, deadline - time.monotonic())
        self._notifier.extend(min(left, _EXTEND_SECONDS) + self._pace.settle + _EXTEND_SECONDS)
        self._show_life()

    def _give_back_the_rest(self) -> None:
        """What no thread could bring to an end in time: at least nobody has to wait for it."""
        left = [held.message.message_id for held in self._holdings.all()]
        if not left:
            return
        log.error(
            "drain.cut_short",
            message="Some jobs could not be ended in time; their messages are given back",
            message_ids=left,
        )
        self._bounded("give-back", self._traffic.give_back_all, _GIVE_BACK_SECONDS)

    def _close(self) -> None:
        """End every thread, give the machine back its protection, remove every file."""
        self._holdings.drain()
        self._notifier.status("stopping")
        # A receive under way ends by itself; what it brings is given back by the intake.
        if not self._intake_ended():
            log.warning("intake.stuck", message="A receive did not end; its messages will lapse")
        for pool in (self._downloads, self._commits):
            pool.stop(_POOL_SECONDS)
        self._heartbeat.stop()
        self._watcher.stop()
        ended = True
        if self._engine_started:
            ended = self._bounded("engine-stop", self._engine.stop, _ENGINE_STOP_SECONDS)
        self._instance.unprotect()
        if self._emf is not None:
            self._emf.stop()
        if self._server is not None:
            self._server.stop()
        if self._work is not None:
            self._work.close()
        if not ended:
            log.error("engine.stuck", message="The engine does not stop; the process ends anyway")
            self._end_hard(ExitCode.FAILURE)

    def _intake_ended(self) -> bool:
        """Wait until no receive is under way, and what came late is given back; whether so."""
        return self._intake_side.join(self._pace.poll + _RECEIVE_MARGIN_SECONDS)

    def _bounded(self, name: str, action: Callable[[], object], seconds: float) -> bool:
        """Run something that might hang; whether it ended in time."""
        side = SupervisedThread(name, action, lambda _name, _error: None)
        side.start()
        return side.join(seconds)

    def _end_hard(self, code: ExitCode) -> None:
        """End the process whatever the engine's threads do; a hung driver waits for nobody."""
        self._intake_ended()
        self._instance.unprotect()
        if self._work is not None:
            self._work.close()
        log.error("worker.ended_hard", message=f"Process ended, exit code {code.value}")
        os._exit(code)

    # -- reasons to stop ----------------------------------------------------------------------

    @contextmanager
    def _handling_signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT drain; only the main thread of a process may ask for that."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        # A crash in native code leaves its Python frames on stderr, where there is one.
        with suppress(OSError, RuntimeError, ValueError):
            faulthandler.enable()
        names = (signal.SIGTERM, signal.SIGINT)
        before = {name: signal.signal(name, self._signalled) for name in names}
        try:
            yield
        finally:
            for name, handler in before.items():
                signal.signal(name, handler)

    def _signalled(self, number: int, _frame: FrameType | None) -> None:
        # It may interrupt the main thread anywhere, so nothing here takes a lock that thread
        # could hold: SimpleQueue.put is made for this.
        self._signals += 1
        name = signal.Signals(number).name
        if self._signals > 1:
            if self._work is not None:
                self._work.close()
            os._exit(ExitCode.FAILURE)
        self._stops.put(Stop("drain.signal", f"{name}: finishing what is held"))

    def _spot(self, notice: SpotNotice) -> None:
        seconds = policy.drain_seconds(self._settings.drain_timeout, notice.seconds_left())
        self._stops.put(
            Stop(
                "drain.spot",
                f"The instance will {notice.action}: {seconds:.0f} seconds to finish what is held",
                seconds=seconds,
            )
        )

    def _rebalance(self) -> None:
        # No deadline: what is held may finish, but nothing new begins on a machine that is
        # likely to go. The group replaces it; `on_idle` has no part in this.
        self._stops.put(
            Stop("drain.rebalance", "Rebalance recommended: no new work", seconds=math.inf)
        )

    def _terminating(self) -> None:
        self._stops.put(Stop("drain.terminating", "The group ends this instance"))

    def _died(self, name: str, error: BaseException) -> None:
        code = getattr(error, "exit_code", ExitCode.FAILURE)
        self._stops.put(Stop("drain.thread_died", f"The thread {name} died", code=code))

    def _on_idle(self) -> bool:
        """Idle for good: end, unless the group keeps this instance. On the intake's thread."""
        if self._holdings.draining or self._signals:
            return True  # told to stop at the same moment: that never ends the machine
        self._instance.unprotect()
        if self._settings.on_idle == "terminate":
            try:
                if self._instance.terminate() is EndResult.AT_MINIMUM:
                    return False
            except TransientError as error:
                log.warning(
                    "instance.terminate_failed", message=f"Tried again when idle again: {error}"
                )
                return False
        self._stops.put(Stop("drain.idle", "Nothing to do: the worker ends", idle=True))
        return True

    def _room(self) -> int:
        """How many messages the intake may ask for now."""
        return policy.room(
            held_seconds=self._engine.held_seconds() + self._holdings.unsized_seconds(),
            limit_seconds=self._settings.held_seconds,
            leases=len(self._holdings),
            max_leases=self._max_leases,
            suspects=self._holdings.suspects(),
        )

    def _lost(self, message: Message) -> None:
        self._traffic.lost(message)

    def _expiring(self, message: Message) -> None:
        self._traffic.expiring(message)

    def _accept(self, message: Message) -> bool:
        return self._traffic.accept(message)

    @property
    def _traffic(self) -> Dispatch:
        assert self._dispatch is not None, "made before any thread that needs it"
        return self._dispatch

    # -- how it is ----------------------------------------------------------------------------

    def healthy(self) -> bool:
        """Whether the worker makes progress, or has nothing to make it on."""
        if self._state == "loading":
            return False
        intake = self._intake_side.alive or self._state == "draining"
        return intake and self._engine.failure() is None and not self._hung()

    def status(self) -> dict[str, Any]:
        """Everything that `top` shows, as JSON values; times in seconds."""
        now = self._metrics.snapshot()
        state: dict[str, Any] = {
            "state": self._state,
            "healthy": self.healthy(),
            "uptime_seconds": time.monotonic() - self._began,
            "queue": {
                "visible": now.queue_visible,
                "in_flight": now.queue_in_flight,
                "delayed": now.queue_delayed,
            },
            "messages_held": now.leases_held,
            "audio_held_seconds": now.held_seconds,
            "windows_waiting": now.windows_waiting,
            "batch_fill": now.batch_fill,
            "speed": now.speed,
            "jobs": dict(now.jobs),
            "leases_lost": now.leases_lost,
            "dollars_per_audio_hour": now.dollars_per_audio_hour,
            "engine": {},
            "extra": self._engine.sample().extra() if self._engine_started else {},
            "held": [_task_status(task) for h in self._holdings.all() for task in h.tasks],
        }
        if self._engine_started:
            state["engine"] = self._engine.info.model_dump(mode="json")
        return state

    def _stats(self) -> EngineStats:
        return self._engine.stats if self._engine_started else EngineStats()

    def _held(self) -> tuple[int, float]:
        """Messages, and seconds of audio."""
        seconds = self._engine.held_seconds() if self._engine_started else 0.0
        return len(self._holdings), seconds

    def _status_line(self) -> str:
        now = self._metrics.snapshot()
        speed = f"{now.speed:.1f}x" if now.speed else "no speed yet"
        waiting = "?" if now.queue_visible is None else str(now.queue_visible)
        return (
            f"{self._state}: {now.leases_held} messages and {now.held_seconds:.0f} s of audio "
            f"held, {now.jobs.get('committed', 0):.0f} jobs done, {speed}, {waiting} on the queue"
        )


def _task_status(task: Task) -> dict[str, Any]:
    done, total = task.submission.progress() if task.submission else (0.0, None)
    return {
        "job_id": task.job.job_id,
        "stage": task.stage.value,
        "bytes": task.size,
        "done_seconds": done,
        "total_seconds": total,
        "receive_count": task.message.receive_count,
    }
