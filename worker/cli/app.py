"""The commands. Nothing heavy is imported until a command needs it.

`--help` and `submit` start in well under half a second, because this module imports typer and
nothing else: settings, boto3 and the speech libraries are imported inside the commands.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worker import __version__
from worker.cli.flags import EngineCommand, SettingsCommand, given
from worker.errors import ExitCode, SettingsError, WorkerError

if TYPE_CHECKING:
    from worker.sender.plan import Planned
    from worker.settings import Settings
    from worker.speech.api import Transcriber

__all__ = ["app"]

DEFAULT_FORMATS = "json,srt,vtt,txt"

app = typer.Typer(
    name="transcription-worker",
    help="Speech in, transcripts out: a worker for SQS and S3, and for local files.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich would triple the time that --help takes
    context_settings={"help_option_names": ["-h", "--help"]},
)

Config = Annotated[
    Path | None,
    typer.Option(help="TOML file of settings; flags and WORKER_... variables go over it."),
]
Language = Annotated[
    str | None,
    typer.Option(help="Whisper code of the language spoken; detected if not given."),
]
Task = Annotated[str, typer.Option(help="transcribe, or translate (into English).")]
Formats = Annotated[
    str, typer.Option(help="Files to write, separated by commas: json, srt, vtt, tsv, txt.")
]
Words = Annotated[bool, typer.Option("--words/--no-words", help="Whether words get times.")]
Prompt = Annotated[str | None, typer.Option(help="Text taken as having been said before.")]
Hotwords = Annotated[str | None, typer.Option(help="Words and names to favour.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Say and exit."),
    ] = False,
) -> None:
    """Speech in, transcripts out: a worker for SQS and S3, and for local files."""


@app.command(cls=SettingsCommand)
def run(ctx: typer.Context, config: Config = None) -> None:
    """Take messages from the queue until idle or stopped."""
    from worker.logs import configure, get_logger
    from worker.speech.model.allocator import restart_for_cpu

    settings = _settings(ctx, config)
    if settings.queue_url is None:
        raise SettingsError(
            "queue_url is not set: give --queue-url or WORKER_QUEUE_URL the URL of an SQS queue"
        )
    restart_for_cpu(settings.device)
    configure(settings.log_level, settings.log_format, settings.log_file)
    log = get_logger("worker.run")
    for variable in settings.unknown_variables:
        log.warning("settings.unknown", message=variable)

    from worker.aws.clients import make_clients
    from worker.daemon import compose

    clients = make_clients(
        queue_url=settings.queue_url, visibility_timeout=settings.visibility_timeout
    )
    try:
        code = compose.daemon(settings, clients, _engine(settings)).run()
    except WorkerError as error:
        if settings.log_file is not None:  # else `main` says it, on the same stderr
            log.error("worker.failed", message=str(error))
        raise
    raise typer.Exit(int(code))


@app.command()
def submit(
    inputs: Annotated[
        list[str], typer.Argument(metavar="INPUT...", help="s3://bucket/key, or a local file.")
    ],
    queue_url: Annotated[
        str, typer.Option(envvar="WORKER_QUEUE_URL", help="URL of the worker's SQS queue.")
    ],
    upload_to: Annotated[
        str | None, typer.Option(help="s3://bucket/prefix/ that local files are put under.")
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            envvar="WORKER_OUTPUT",
            help="s3://bucket/prefix/ for results; the worker's setting if not given (with "
            "--wait: s3://<input bucket>/transcripts/).",
        ),
    ] = None,
    language: Language = None,
    task: Task = "transcribe",
    formats: Formats = DEFAULT_FORMATS,
    words: Words = True,
    prompt: Prompt = None,
    hotwords: Hotwords = None,
    metadata: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Echoed in the result; may be repeated."),
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait for the results; exit 1 if a job failed.")
    ] = False,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds that --wait waits.")] = 3600.0,
) -> None:
    """Send jobs to the queue and print one job id a line."""
    fields = {
        "language": language,
        "task": task,
        "formats": _names(formats),
        "words": words,
        "prompt": prompt,
        "hotwords": hotwords,
        "metadata": _pairs(metadata or []),
    }
    from worker.sender.plan import plan

    planned = plan(inputs, fields, upload_to=upload_to, output=output, fix_output=wait)

    from worker.aws.clients import make_clients
    from worker.sender.send import send, upload

    clients = make_clients(queue_url=queue_url)

    def uploaded() -> Iterator[Planned]:
        for job in planned:
            upload(clients.s3, job)
            yield job

    for job in send(clients.sqs, queue_url, uploaded()):
        typer.echo(job.job_id)
    if wait:
        from worker.cli.console import counter
        from worker.sender.send import wait as wait_for

        with counter("Waiting for results", len(planned)) as count:
            answers = wait_for(clients.s3, planned, timeout=timeout, told=lambda *_: count())
        if not answers.tell(timeout, lambda line: typer.echo(line, err=True)):
            raise typer.Exit(ExitCode.FAILURE)


@app.command(cls=EngineCommand)
def transcribe(
    ctx: typer.Context,
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Media files.")],
    output_dir: Annotated[Path, typer.Option(help="Where <stem>.json, <stem>.srt, ... go.")],
    stats: Annotated[
        Path | None, typer.Option(help="Write figures of the run to this JSON file.")
    ] = None,
    language: Language = None,
    task: Task = "transcribe",
    formats: Formats = DEFAULT_FORMATS,
    words: Words = True,
    prompt: Prompt = None,
    hotwords: Hotwords = None,
    config: Config = None,
) -> None:
    """Transcribe local files with the same engine; no queue, no AWS."""
    from worker.speech.model.allocator import restart_for_cpu

    settings = _settings(ctx, config)
    restart_for_cpu(settings.device)
    began = time.monotonic()

    from worker.cli.console import counter
    from worker.cli.local_files import check_files
    from worker.cli.local_files import transcribe as run_files
    from worker.jobs.request import parse_request
    from worker.logs import configure
    from worker.settings import DEFAULT
    from worker.speech.api import Options

    quiet = settings.origin("log_level") == DEFAULT
    configure("WARNING" if quiet else settings.log_level, settings.log_format, settings.log_file)
    # A request, because what may be asked of a file is what may be asked of a job.
    asked = parse_request(
        {
            "input": "s3://local/file",
            "language": language,
            "task": task,
            "formats": _names(formats),
            "prompt": prompt,
            "hotwords": hotwords,
        }
    )
    check_files(files, output_dir, asked.formats)
    engine = _engine(settings)
    try:
        engine.start()
        with counter("Transcribing", len(files)) as count:
            report = run_files(
                files,
                output_dir,
                engine,
                options=Options(
                    language=asked.language,
                    task=asked.task,
                    words=words,
                    prompt=asked.prompt,
                    hotwords=asked.hotwords,
                ),
                formats=asked.formats,
                held_seconds=settings.held_seconds,
                load_seconds=time.monotonic() - began,
                vtt_word_times=settings.vtt_word_times,
                done=lambda *_: count(),
            )
    finally:
        engine.stop()
    if stats is not None:
        stats.write_text(report.stats.to_json(), encoding="utf-8")
    for failure in report.failures:
        typer.echo(f"{failure.path}: {failure.code}: {failure.message}", err=True)
    typer.echo(
        f"{report.stats.files} of {len(files)} files, {report.stats.audio_seconds:.1f} s of audio"
        f" in {report.stats.seconds:.1f} s; results in {output_dir}",
        err=True,
    )
    if report.failures:
        raise typer.Exit(ExitCode.FAILURE)


@app.command(cls=SettingsCommand)
def check(ctx: typer.Context, config: Config = None) -> None:
    """Show the settings in force, and what this machine can do."""
    settings = _settings(ctx, config)

    from rich.console import Console

    from worker.cli.check import show
    from worker.speech.model.device import describe_machine, find_device

    show(Console(), settings, describe_machine())
    find_device(settings.device)


@app.command()
def top(
    port: Annotated[
        int,
        typer.Option(
            envvar="WORKER_METRICS_PORT", help="The worker's metrics_port on this machine."
        ),
    ] = 9400,
    every: Annotated[float, typer.Option(min=0.2, help="Seconds between pictures.")] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="One picture, and exit.")] = False,
) -> None:
    """Watch one worker live: its queue, jobs, batches and speed."""
    import contextlib

    from rich.console import Console

    from worker.cli.top import watch

    with contextlib.suppress(KeyboardInterrupt):  # how a person leaves
        watch(Console(), port, seconds=every, once=once)


@app.command()
def demo(
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FILE]...", help="Media files; a recorded call if none."),
    ] = None,
    output_dir: Annotated[Path, typer.Option(help="Where results are copied to.")] = Path(
        "out/demo"
    ),
    timeout: Annotated[float, typer.Option(min=1, help="Seconds the demo may take.")] = 900.0,
) -> None:
    """Show the whole way on this machine, without AWS.

    SQS and S3 are moto's, on loopback; the daemon is the real one, with the base model.
    """
    from worker.cli.demo import show

    raise typer.Exit(int(show(files or [], output_dir, timeout=timeout)))


def _settings(ctx: typer.Context, config: Path | None) -> Settings:
    from worker.settings import load

    return load(given(ctx), config)


def _engine(settings: Settings) -> Transcriber:
    """The engine that the settings ask for, not yet started."""
    from worker.speech.engine.engine import build

    return build(settings.engine())


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _pairs(texts: Sequence[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts]
    for name, equals, value in pairs:
        if not name or not equals:
            raise SettingsError(f"--metadata {name}{value}: write NAME=VALUE")
    return {name: value for name, _, value in pairs}
