"""Builds a worker from its settings: the one place that knows how the parts fit together.

Everything is built here, at once and complete, before anything starts. What needs the network
(the queue's redrive policy, the instance's group) is asked in `preflight`, which the daemon runs
beside the loading of the model.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from worker.aws.imds import Imds
from worker.aws.instance import Instance, InstanceWatcher
from worker.aws.lease import Heartbeat
from worker.aws.notices import Notices
from worker.aws.results import ResultStore
from worker.aws.source import Source, make_source
from worker.daemon import policy
from worker.daemon.daemon import Daemon, Feed, Pace, Parts, Reporter
from worker.daemon.dispatch import Dispatch
from worker.daemon.emf import EmfReporter
from worker.daemon.idle_end import IdleEnd
from worker.daemon.intake import Intake
from worker.daemon.metrics import Metrics
from worker.daemon.preflight import check_options, check_poweroff, check_queue
from worker.daemon.server import StatusServer
from worker.daemon.status import Readings, Status
from worker.daemon.stops import Stops, Watchdog
from worker.daemon.systemd import Notifier
from worker.errors import SettingsError
from worker.jobs.message import JobDefaults
from worker.pipeline.holdings import Holdings
from worker.pipeline.inputs import open_readers
from worker.pipeline.pipeline import Limits, Pipeline
from worker.pipeline.workdir import WorkDir
from worker.speech.api import Transcriber
from worker.threads import SupervisedThread, ThreadPool
from worker.uris import S3Prefix

if TYPE_CHECKING:
    from worker.aws.clients import Clients
    from worker.settings import Settings


def daemon(
    settings: Settings,
    clients: Clients,
    engine: Transcriber,
    *,
    pace: Pace | None = None,
    environ: Mapping[str, str] | None = None,
) -> Daemon:
    """A worker that is ready to run; see `parts`.

    Args:
        settings: `queue_url` must be set.
        clients: boto3 clients.
        engine: built, not started.
        pace: how long it waits for things; None: as in service.
        environ: of the service manager and the metadata service; None: this process's.

    Raises:
        SettingsError: a setting is missing, or can't be used on this machine.
    """
    pace = pace or Pace()
    return Daemon(parts(settings, clients, engine, pace=pace, environ=environ), pace)


def parts(
    settings: Settings,
    clients: Clients,
    engine: Transcriber,
    *,
    pace: Pace,
    environ: Mapping[str, str] | None = None,
    sources: Sequence[Source] | None = None,
) -> Parts:
    """The parts of a worker; nothing runs yet, and nothing has used the network.

    Makes the folder of temporary files and binds the port of the status pages, which `Daemon.run`
    removes and closes at its end.

    Args:
        settings: as for `daemon`, like all that is not named here.
        clients: boto3 clients.
        engine: built, not started.
        pace: how long it waits for things.
        environ: of the service manager and the metadata service; None: this process's.
        sources: the queues to work on; None: the one that the settings name.

    Raises:
        SettingsError: a setting is missing, or can't be used on this machine.
    """
    sources = sources or (_source(settings, clients),)
    imds = Imds(environ)
    instance = Instance(imds, clients)
    holdings = Holdings()
    stops = Stops(drain_timeout=settings.drain_timeout)
    readings = Readings(engine, holdings)
    metrics = Metrics(
        stats=readings.stats, held=readings.held, price_per_hour=settings.price_per_hour
    )
    downloads = ThreadPool("download", settings.download_threads, stops.thread_died)
    commits = ThreadPool("commit", settings.commit_threads, stops.thread_died)
    max_leases = pace.max_leases or policy.lease_bound(settings.batch_size)

    def room() -> int:
        return policy.room(
            held_seconds=engine.held_seconds() + holdings.unsized_seconds(),
            limit_seconds=engine.most_held_seconds(),
            leases=len(holdings),
            max_leases=max_leases,
            suspects=holdings.suspects(),
            only_speakers=holdings.only_speakers_left(),
        )

    def preflight() -> None:
        for source in sources:
            check_queue(source.queue)
        if settings.on_idle == "poweroff":
            check_poweroff(instance)

    def check_engine() -> None:
        check_options(engine, settings.options())

    def intake(source: Source) -> Intake:
        return Intake(
            source=source,
            holdings=holdings,
            room=room,
            clock=policy.IdleClock(
                time.monotonic(),
                idle_timeout=settings.idle_timeout,
                visibility_timeout=settings.visibility_timeout,
                min_uptime=settings.min_uptime,
            ),
            instance=instance,
            metrics=metrics,
            on_idle=IdleEnd(
                stops,
                instance,
                on_idle=settings.on_idle,
                draining=lambda: holdings.draining,
            ).end,
            poll_seconds=policy.poll_seconds(
                pace.poll,
                idle_timeout=settings.idle_timeout,
                visibility_timeout=settings.visibility_timeout,
            ),
        )

    intakes = [intake(source) for source in sources]

    def released(delay: float) -> None:
        # Each of them: whichever finds nothing to do ends the whole worker.
        for one in intakes:
            one.released(delay)

    def intakes_ended() -> bool:
        deadline = time.monotonic() + pace.receive
        return all(one.wait_ended(max(0.0, deadline - time.monotonic())) for one in intakes)

    with ExitStack() as undo:
        work = WorkDir(settings.work_dir)
        undo.callback(work.close)
        dispatch = Dispatch(
            pipeline=_pipeline(settings, clients, engine, work, holdings),
            holdings=holdings,
            engine=engine,
            metrics=metrics,
            downloads=downloads,
            commits=commits,
            defaults=JobDefaults(
                output=S3Prefix.parse(settings.output) if settings.output else None,
                allowed_buckets=frozenset(settings.allowed_buckets),
            ),
            released=released,
            intake_ended=intakes_ended,
        )
        feeds = [
            Feed(
                source,
                SupervisedThread("intake", partial(one.run, dispatch.accept), stops.thread_died),
                Heartbeat(
                    source.queue,
                    source.leases,
                    on_lost=dispatch.lost,
                    on_expiring=dispatch.expiring,
                ),
            )
            for source, one in zip(sources, intakes, strict=True)
        ]
        watcher = InstanceWatcher(
            imds,
            on_spot_notice=stops.spot_notice,
            on_rebalance=stops.rebalance,
            on_terminating=stops.terminating,
            poll_seconds=pace.watch,
        )
        watchdog = Watchdog(
            engine,
            [*(("heartbeat", feed.heartbeat) for feed in feeds), ("watcher", watcher)],
            hung_after=settings.watchdog_timeout,
            # Without a heartbeat, leases hold for two thirds of their time at least.
            seconds_without=min(settings.drain_timeout, settings.visibility_timeout / 3),
        )
        status = Status(
            readings,
            metrics,
            watchdog,
            [feed.intake for feed in feeds],
            failing_from=policy.failing_from(settings.download_threads + settings.commit_threads),
        )
        reporters = _reporters(settings, sources, metrics, status)
        undo.pop_all()
    return Parts(
        engine=engine,
        readings=readings,
        feeds=feeds,
        holdings=holdings,
        dispatch=dispatch,
        downloads=downloads,
        commits=commits,
        watcher=watcher,
        stops=stops,
        watchdog=watchdog,
        status=status,
        reporters=reporters,
        notifier=Notifier(environ),
        instance=instance,
        work=work,
        preflight=preflight,
        check_engine=check_engine,
        drain_timeout=settings.drain_timeout,
        max_leases=max_leases,
    )


def _source(settings: Settings, clients: Clients) -> Source:
    """The queue that the settings name."""
    if settings.queue_url is None:
        raise SettingsError("queue_url is not set; give the URL of the queue to work on")
    return make_source(
        clients,
        settings.queue_url,
        visibility_timeout=settings.visibility_timeout,
        dead_letter_url=settings.dead_letter_url,
    )


def _pipeline(
    settings: Settings,
    clients: Clients,
    engine: Transcriber,
    work: WorkDir,
    holdings: Holdings,
) -> Pipeline:
    return Pipeline(
        inputs=open_readers(clients),
        results=ResultStore(clients.s3),
        engine=engine,
        notices=Notices(clients, settings.notify_url),
        work=work,
        limits=Limits(
            max_input_bytes=settings.max_input_bytes,
            max_failures=settings.max_failures,
            vtt_word_times=settings.vtt_word_times,
            options=settings.options(),
        ),
        draining=lambda: holdings.draining,
    )


def _reporters(
    settings: Settings, sources: Sequence[Source], metrics: Metrics, status: Status
) -> tuple[Reporter, ...]:
    """The pages on loopback and the lines for CloudWatch, where the settings ask for them."""
    reporters: list[Reporter] = []
    if settings.metrics_port is not None:
        reporters.append(
            StatusServer(
                settings.metrics_port,
                registry=metrics.registry,
                status=status.document,
                unhealthy=status.unhealthy,
            )
        )
    if settings.metrics_emf:
        queue = ",".join(source.queue.url.rpartition("/")[2] for source in sources)
        reporters.append(EmfReporter(metrics, queue=queue))
    return tuple(reporters)
