"""The commands. Nothing heavy is imported until a command needs it.

`--help` and `submit` start in well under half a second, because the modules that declare the
commands import click and nothing else: settings, boto3 and the speech libraries are imported
inside the commands.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from worker import __version__
from worker.cli.flags import CONTEXT, PATH, SettingsCommand, config_option
from worker.cli.submit import submit
from worker.cli.transcribe import transcribe
from worker.cli.view import view
from worker.errors import ExitCode, SettingsError

__all__ = ["app"]

CHECK_SECONDS = 8.0
"""How long `check` waits for all that it asks; a service that is there answers in less than one."""

TELL_THEMSELVES = frozenset({"run", "check", "transcribe"})
"""Commands that name misspelled variables themselves: in the log, and for another environment."""


def _run(*, config: Path | None, **flags: Any) -> ExitCode:
    from worker.cli.command_log import failure_logged

    with failure_logged(flags, config):
        return _work(config, flags)


def _work(config: Path | None, flags: dict[str, Any]) -> ExitCode:
    from worker.cli.command_log import warn_of_unknown
    from worker.logs import configure, get_logger
    from worker.settings import changed, load
    from worker.speech.model.allocator import restart_for_cpu

    settings = load(flags, config)
    if settings.queue_url is None:
        raise SettingsError(
            "queue_url is not set: give --queue-url or WORKER_QUEUE_URL the URL of an SQS queue"
        )
    restart_for_cpu(settings.device)
    configure(settings.log_level, settings.log_format, settings.log_file)
    log = get_logger("worker.run")
    log.info(
        "worker.starting",
        message=f"transcription-worker {__version__} starts with {settings.model}",
        version=__version__,
        queue=settings.queue_url,
        model=settings.model,
        settings=changed(settings),
    )
    warn_of_unknown(settings, log)

    from worker.aws.clients import make_clients
    from worker.daemon import compose
    from worker.speech.engine.engine import build

    clients = make_clients(
        queue_url=settings.queue_url, visibility_timeout=settings.visibility_timeout
    )
    return compose.daemon(settings, clients, build(settings.engine())).run()


def _check(*, config: Path | None, unit: str | None, **flags: Any) -> ExitCode:
    from rich.console import Console

    from worker.cli.asking import ask_all
    from worker.cli.check import show_findings, show_machine, show_settings
    from worker.cli.questions import aws_questions, engine_questions
    from worker.settings import load
    from worker.speech.model.device import describe_machine, find_device

    console = Console()
    if unit is not None:
        from worker.cli.unit import become, environment_of

        become(environment_of(unit))
        console.print(f"With the environment that systemd would give {unit} now.", markup=False)
    settings = load(flags, config)
    show_settings(console, settings)
    show_machine(console, describe_machine())  # imports torch: before the engine's questions
    asked = [*aws_questions(settings), *engine_questions(settings)]
    well = show_findings(console, ask_all(asked, seconds=CHECK_SECONDS))
    find_device(settings.device)
    return ExitCode.OK if well else ExitCode.FAILURE


def _top(*, port: int, every: float, once: bool) -> None:
    from rich.console import Console

    from worker.cli.top import watch

    with contextlib.suppress(KeyboardInterrupt):  # how a person leaves
        watch(Console(), port, seconds=every, once=once)


def _demo(*, files: Sequence[Path], speakers: bool, output_dir: Path, timeout: float) -> ExitCode:
    from worker.cli.demo import show

    return show(files, output_dir, timeout=timeout, speakers=speakers)


def _print_version(ctx: click.Context, param: click.Parameter, wanted: bool) -> None:
    if wanted:
        click.echo(__version__)
        ctx.exit()


@click.pass_context
def _name_unknown_variables(ctx: click.Context) -> None:
    """Say on stderr which `WORKER_...` variables are no setting, whatever the command."""
    known = {param.envvar for command in app.commands.values() for param in command.params}
    others = [name for name in os.environ if name.upper().startswith("WORKER_")]
    if ctx.invoked_subcommand in TELL_THEMSELVES or known.issuperset(others):
        return
    from worker.settings import unknown_variables  # a fifth of a second, only if there may be one

    for sentence in unknown_variables(os.environ):
        click.echo(f"warning: {sentence}", err=True)


class _Commands(click.Group):
    """The commands, in the order in which they are declared."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


app = _Commands(
    "transcription-worker",
    context_settings=dict(CONTEXT),
    callback=_name_unknown_variables,
    help="Speech in, transcripts out: a worker for SQS and S3, and for local files.",
    params=[
        click.Option(
            ["--version"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_print_version,
            help="Say and exit.",
        )
    ],
    commands=[
        SettingsCommand(
            "run",
            callback=_run,
            help="Take messages from the queue until idle or stopped.",
            params=[config_option()],
        ),
        submit,
        transcribe,
        view,
        SettingsCommand(
            "check",
            callback=_check,
            help="Show the settings in force, what this machine can do, and whether run would find "
            "its queue, buckets and model.",
            epilog="Exit codes: 0 all that was asked is there, 1 something run needs is not, "
            "2 wrong settings, 3 not on this machine.",
            params=[
                config_option(),
                click.Option(
                    ["--unit"],
                    metavar="UNIT",
                    help="Take variables not from this shell but from this systemd unit, such as "
                    "transcription-worker.",
                ),
            ],
        ),
        click.Command(
            "top",
            context_settings=dict(CONTEXT),
            callback=_top,
            help="Watch one worker live: its queue, jobs, batches and speed.",
            params=[
                click.Option(
                    ["--port"],
                    type=int,
                    default=9400,
                    envvar="WORKER_METRICS_PORT",
                    show_envvar=True,
                    help="The worker's metrics_port on this machine.",
                ),
                click.Option(
                    ["--every"],
                    type=click.FloatRange(min=0.2),
                    default=1.0,
                    help="Seconds between pictures.",
                ),
                click.Option(["--once"], is_flag=True, help="One picture, and exit."),
            ],
        ),
        click.Command(
            "demo",
            context_settings=dict(CONTEXT),
            callback=_demo,
            help="Show the whole way on this machine, without AWS.\n\n"
            "SQS and S3 are moto's, on loopback; the daemon is the real one, with the base model.",
            params=[
                click.Argument(
                    ["files"],
                    nargs=-1,
                    type=PATH,
                    metavar="[FILE]...",
                    help="Media files; a recorded call if none.",
                ),
                click.Option(
                    ["--speakers"],
                    is_flag=True,
                    help="Say who speaks; needs the extra `speakers`.",
                ),
                click.Option(
                    ["--output-dir"],
                    type=PATH,
                    default=Path("out/demo"),
                    help="Where results are copied to.",
                ),
                click.Option(
                    ["--timeout"],
                    type=click.FloatRange(min=1),
                    default=900.0,
                    help="Seconds the demo may take.",
                ),
            ],
        ),
    ],
)
"""`transcription-worker`. A command returns its exit code, or None for 0."""
