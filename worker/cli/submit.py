"""The command `submit`: sends jobs to the queue, by the piece or by the thousand.

A wrong argument is refused before boto3 is imported. Long lists go out a thousand jobs at a
time, so that the first are at work while the others are still being read.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import click

from worker.cli.flags import CONTEXT, job_options, job_part
from worker.errors import ExitCode, SettingsError
from worker.jobs.inputs import input_forms
from worker.results.plural import counted

if TYPE_CHECKING:
    from worker.aws.clients import Clients
    from worker.sender.plan import Planned

__all__ = ["submit"]

CHUNK = 1000
"""Inputs planned at a time: a prefix may have millions."""


@dataclass(frozen=True, slots=True)
class _Arguments:
    """What was typed; a job's own fields apart."""

    inputs: tuple[str, ...]
    prefix: str | None
    from_file: str | None
    queue_url: str | None
    upload_to: str | None
    output: str | None
    stable_ids: bool
    dry_run: bool
    wait: bool
    timeout: float


def _submit(**values: Any) -> ExitCode:
    fields = job_part(values)
    arguments = _Arguments(**{name: values[name] for name in values if name not in fields})
    if not (arguments.inputs or arguments.prefix or arguments.from_file):
        raise click.UsageError("give INPUT..., --prefix or --from-file")
    if arguments.dry_run:
        printed = 0
        for jobs in _planned(arguments, fields, _connector(arguments.queue_url)):
            for job in jobs:
                click.echo(job.request.body())
            printed += len(jobs)
        return ExitCode.OK if printed else _nothing(arguments)
    if not arguments.queue_url:
        raise click.UsageError(
            "--queue-url is missing: give it, or WORKER_QUEUE_URL, the URL of the worker's queue"
        )
    return _send(arguments, fields, arguments.queue_url)


def _send(arguments: _Arguments, fields: dict[str, object], queue_url: str) -> ExitCode:
    connect = _connector(queue_url)
    chunks = _planned(arguments, fields, connect)
    first = next(chunks, [])  # what is wrong is said before boto3 is imported
    if not first:
        return _nothing(arguments)

    from worker.aws.clients import make_clients
    from worker.sender.send import ask_first, send, upload_each

    if why := ask_first(make_clients(queue_url=queue_url, patient=False).sqs, queue_url):
        click.echo(f"{why}; still trying ...", err=True)
    clients = connect()
    sent: list[Planned] = []
    for jobs in chain([first], chunks):
        if local := sum(job.path is not None for job in jobs):
            click.echo(f"Uploading {counted(local, 'file')} ...", err=True)
        for job in send(clients.sqs, queue_url, upload_each(clients.s3, jobs)):
            click.echo(job.job_id)
            if arguments.wait:
                sent.append(job)
    return _wait(clients, sent, arguments) if arguments.wait else ExitCode.OK


def _nothing(arguments: _Arguments) -> ExitCode:
    """Says that there is no job to send, because a place that was named is empty."""
    lacking = [f"no input in {arguments.from_file}"] if arguments.from_file else []
    lacking += [f"no object below {arguments.prefix}"] if arguments.prefix else []
    click.echo(f"error: nothing to send: {', '.join(lacking)}", err=True)
    return ExitCode.FAILURE


def _wait(clients: Clients, sent: list[Planned], arguments: _Arguments) -> ExitCode:
    from worker.cli.console import screen
    from worker.cli.progress import Progress
    from worker.sender.send import Answers, wait

    answered = 0

    def show(answers: Answers) -> None:
        nonlocal answered
        answered = answers.count
        shown.show(Progress(answered, len(sent), "job"))

    try:
        with screen() as shown:
            shown.stage("Waiting for results")
            answers = wait(clients.s3, sent, timeout=arguments.timeout, on_round=show)
    except KeyboardInterrupt:
        click.echo(_left_alone(sent, answered, stable_ids=arguments.stable_ids), err=True)
        raise
    for line in (*answers.problems(arguments.timeout), answers.summary(sent)):
        click.echo(line, err=True)
    return ExitCode.OK if answers.all_completed else ExitCode.FAILURE


def _left_alone(sent: list[Planned], answered: int, *, stable_ids: bool) -> str:
    """What becomes of jobs that are no longer waited for."""
    from worker.sender.send import places

    again = (
        "the same command waits for them again, and does nothing twice"
        if stable_ids
        else "lists sent with --stable-ids can be waited for again, by the same command"
    )
    return (
        f"\nno longer waiting: {answered} of {counted(len(sent), 'job')} answered, the others go on"
        f" without this command; results: {places(sent)}\n{again}"
    )


def _planned(
    arguments: _Arguments, fields: dict[str, object], connect: Callable[[], Clients]
) -> Iterator[list[Planned]]:
    from worker.sender.plan import chunks, make_job_id, plan, stable_id

    # What was typed is checked whole, before any of it is sent.
    size = max(CHUNK, len(arguments.inputs))
    for inputs in chunks(_inputs(arguments, connect), size):
        yield plan(
            inputs,
            fields,
            upload_to=arguments.upload_to,
            output=arguments.output,
            fix_output=arguments.wait,
            new_id=stable_id if arguments.stable_ids else make_job_id,
        )


def _inputs(arguments: _Arguments, connect: Callable[[], Clients]) -> Iterator[str]:
    """What was typed, then the lines of the file, then the objects below the prefix."""
    from worker.sender.plan import read_lines
    from worker.uris import S3Prefix

    yield from arguments.inputs
    if arguments.from_file:
        yield from read_lines(arguments.from_file)
    if arguments.prefix:
        try:
            prefix = S3Prefix.parse(arguments.prefix)
        except ValueError as error:
            raise SettingsError(f"--prefix: {error}") from None

        from worker.sender.send import list_objects

        yield from list_objects(connect().s3, prefix)


def _connector(queue_url: str | None) -> Callable[[], Clients]:
    """Makes the AWS clients when they are first needed, and boto3 is imported with them."""

    @functools.cache
    def connect() -> Clients:
        from worker.aws.clients import make_clients

        return make_clients(queue_url=queue_url)

    return connect


submit = click.Command(
    "submit",
    context_settings=dict(CONTEXT),
    callback=_submit,
    help="Send jobs to the queue and print one job id a line.",
    epilog="Exit codes: 0 sent (and, with --wait, all completed), 1 not, 2 wrong arguments.",
    params=[
        click.Argument(
            ["inputs"],
            nargs=-1,
            metavar="[INPUT]...",
            help=f"{input_forms()}, or a local file.",
        ),
        click.Option(["--prefix"], help="s3://bucket/prefix/: a job for every object below it."),
        click.Option(
            ["--from-file"], metavar="FILE", help="Inputs, one a line; - for standard input."
        ),
        click.Option(
            ["--queue-url"],
            envvar="WORKER_QUEUE_URL",
            show_envvar=True,
            help="URL of the worker's SQS queue; required without --dry-run.",
        ),
        click.Option(["--upload-to"], help="s3://bucket/prefix/ that local files are put under."),
        click.Option(
            ["--output"],
            envvar="WORKER_OUTPUT",
            show_envvar=True,
            help="s3://bucket/prefix/ for results; the worker's setting if not given (with "
            "--wait: s3://<input bucket>/transcripts/).",
        ),
        *job_options("submit"),
        click.Option(
            ["--stable-ids"],
            is_flag=True,
            help="Job ids from the inputs' names alone: a list sent twice makes the same jobs.",
        ),
        click.Option(
            ["--dry-run"], is_flag=True, help="Print the messages; send and upload nothing."
        ),
        click.Option(
            ["--wait"], is_flag=True, help="Wait for the results; exit 1 if a job failed."
        ),
        click.Option(
            ["--timeout"],
            type=click.FloatRange(min=0),
            default=3600.0,
            help="Seconds that --wait waits.",
        ),
    ],
)
