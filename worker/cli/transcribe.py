"""The command `transcribe`: local files through the worker's engine; no queue, no AWS.

What is wrong with the arguments, the files or the places of the results is said before the model
is loaded.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from worker.cli.flags import PATH, SettingsCommand, config_option, job_options, job_part
from worker.cli.raw_input import raw_audio, raw_options
from worker.errors import ExitCode
from worker.results.plural import counted

if TYPE_CHECKING:
    from worker.cli.figures import Stats
    from worker.cli.local_files import Report
    from worker.cli.media_files import FileFailure, MediaFile
    from worker.cli.targets import Plan
    from worker.results.names import Format
    from worker.results.presentation import Presentation
    from worker.settings import Settings
    from worker.speech.api import Options
    from worker.speech.config import EngineConfig
    from worker.speech.media.raw import Encoding

__all__ = ["transcribe"]

_ANY_INPUT = "s3://local/file"
"""A request needs an input; a file's name is none."""


@dataclass(frozen=True, slots=True)
class _Arguments:
    """What was typed; settings and a job's own fields apart."""

    files: Sequence[Path]
    output_dir: Path
    overwrite: bool
    skip_existing: bool
    stats: Path | None
    quiet: bool
    config: Path | None
    input_format: Encoding | None
    input_rate: int | None
    input_channels: int | None


def _transcribe(**values: Any) -> ExitCode:
    own = {field.name for field in fields(_Arguments)}
    arguments = _Arguments(**{name: values.pop(name) for name in own})
    if arguments.overwrite and arguments.skip_existing:
        raise click.UsageError("give --overwrite or --skip-existing, not both")
    raw = raw_audio(arguments.input_format, arguments.input_rate, arguments.input_channels)
    job = job_part(values)

    from worker.settings import load
    from worker.speech.model.allocator import restart_for_cpu

    settings = load({name: values[name] for name in values if name not in job}, arguments.config)
    restart_for_cpu(settings.device)
    began = time.monotonic()

    from worker.cli import figures
    from worker.jobs.request import parse_request
    from worker.pipeline.options import engine_options, presentation

    files, failures = _find(arguments, settings.log_file)
    _configure_logs(settings)
    # A request, because what may be asked of a file is what may be asked of a job.
    request = parse_request({"input": _ANY_INPUT, **job})
    options = replace(engine_options(request, settings.options()), raw=raw)
    todo = _plan(arguments, files, failures, request.formats)
    for failure in todo.failures:
        click.echo(failure, err=True)
    if todo.skipped and not arguments.quiet:
        click.echo(f"{counted(len(todo.skipped), 'file')} skipped: the results are there", err=True)
    if not todo.targets:
        written = _write_stats(arguments.stats, figures.Stats(failed=len(todo.failures)))
        return ExitCode.FAILURE if todo.failures or not written else ExitCode.OK
    shown = presentation(request, vtt_word_times=settings.vtt_word_times)
    return _run(arguments, settings, options, shown, todo, began)


def _configure_logs(settings: Settings) -> None:
    """Warnings alone on the screen, unless more is asked for."""
    from worker.cli.command_log import warn_of_unknown
    from worker.logs import configure, get_logger
    from worker.settings import DEFAULT

    unset = settings.origin("log_level") == DEFAULT and settings.log_file is None
    configure("WARNING" if unset else settings.log_level, settings.log_format, settings.log_file)
    warn_of_unknown(settings, get_logger("worker.transcribe"))


def _find(
    arguments: _Arguments, log_file: Path | None
) -> tuple[Sequence[MediaFile], Sequence[FileFailure]]:
    """The files, and what is none; all that would overwrite one is refused before it can.

    Raises:
        SettingsError: the log or the figures can't be written, or would go into a file or a result.
    """
    from worker.cli.figures import check_stats
    from worker.cli.media_files import find_files
    from worker.cli.targets import Taken
    from worker.errors import SettingsError

    files, failures = find_files(arguments.files, raw=arguments.input_format is not None)
    taken = Taken(files, arguments.output_dir)
    if log_file is not None and (problem := taken.problem(log_file)) is not None:
        raise SettingsError(f"--log-file {log_file} {problem}")
    if arguments.stats is not None:
        if log_file is not None and arguments.stats.resolve() == log_file.resolve():
            raise SettingsError(f"--stats {arguments.stats} is the log file: choose another")
        check_stats(arguments.stats, taken, arguments.output_dir)
    return files, failures


def _plan(
    arguments: _Arguments,
    files: Sequence[MediaFile],
    failures: Sequence[FileFailure],
    formats: Sequence[Format],
) -> Plan:
    """What is to be done, and what was typed that can't be.

    Raises:
        SettingsError: nothing can be done, or the results can't be written.
    """
    from worker.cli.targets import Existing, plan
    from worker.errors import SettingsError

    existing: Existing = "refuse"
    if arguments.overwrite or arguments.skip_existing:
        existing = "overwrite" if arguments.overwrite else "skip"
    todo = plan(files, arguments.output_dir, formats, existing=existing)
    failures = [*failures, *todo.failures]
    if not todo.targets and not todo.skipped:
        raise SettingsError("\n".join(map(str, failures)))
    return replace(todo, failures=failures)


def _run(
    arguments: _Arguments,
    settings: Settings,
    options: Options,
    presentation: Presentation,
    todo: Plan,
    began: float,
) -> ExitCode:
    """Load the engine, transcribe, write; ends the process where a signal asks for that."""
    from worker.cli.console import screen
    from worker.cli.interrupts import interruptible
    from worker.cli.loading import load, stop
    from worker.cli.local_files import Watcher, transcribe_files
    from worker.cli.result_files import ResultFiles
    from worker.pipeline.workdir import WorkDir
    from worker.speech.model.whole_folders import discard_unfinished

    results = ResultFiles(overwrite=arguments.overwrite)
    with screen(quiet=arguments.quiet) as shown, ExitStack() as leaving:
        if options.diarize:
            # Samples are written, and what a run that is killed leaves, the next removes.
            work = leaving.enter_context(closing(WorkDir(settings.work_dir)))
            leaving.enter_context(_temporary_files_in(work.path))

        def clean_up() -> None:
            shown.abandon()
            results.discard()
            discard_unfinished()
            leaving.close()

        with interruptible(clean_up) as interrupts:
            engine = load(_engine_config(settings, len(todo.targets)), shown, interrupts)
            if engine is None:
                shown.close()
                clean_up()
                shown.say("Stopped while the model was loading; nothing is transcribed")
                interrupts.end()
            try:
                engine.check(options)
                info = engine.info
                shown.say(f"{info.model} is loaded: {info.device}, {info.compute_type}")
                shown.stage("Transcribing")
                report = transcribe_files(
                    todo.targets,
                    engine,
                    results,
                    options=options,
                    load_seconds=time.monotonic() - began,
                    presentation=presentation,
                    watcher=Watcher(
                        on_failure=lambda failure: shown.report(str(failure)),
                        on_progress=shown.show,
                        stopping=lambda: interrupts.asked,
                    ),
                )
                shown.close()
                interrupted = interrupts.asked
                if interrupted:
                    shown.say(_stopping(report, len(todo.targets), arguments.output_dir))
            finally:
                stop(engine, interrupts)
            code = _finish(arguments, todo, report, interrupted=interrupted)
            if interrupts.asked:
                leaving.close()
                interrupts.end()
            return code


@contextmanager
def _temporary_files_in(folder: Path) -> Iterator[None]:
    """Within, temporary files go to a folder: those of this process and of those it starts."""
    chosen, before = tempfile.tempdir, os.environ.get("TMPDIR")
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = chosen
        if before is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = before


def _engine_config(settings: Settings, files: int) -> EngineConfig:
    from worker.speech.model.choices import children_for

    config = settings.engine()
    return replace(config, num_workers=config.num_workers or children_for(files))


def _stopping(report: Report, files: int, output_dir: Path) -> str:
    return (
        f"Stopping; {report.stats.files} of {counted(files, 'file')} done"
        f"{_where(report.stats.files, ', ', output_dir)}; press Ctrl-C again to end at once"
    )


def _where(files: int, before: str, output_dir: Path) -> str:
    """Where the results lie; nothing if there are none, since the directory need not be there."""
    return f"{before}results in {output_dir}" if files else ""


def _finish(arguments: _Arguments, todo: Plan, report: Report, *, interrupted: bool) -> ExitCode:
    """Write the figures, and say in one line what was done; the exit code."""
    failures = [*todo.failures, *report.failures]
    code = ExitCode.FAILURE if failures else ExitCode.OK
    stats = replace(report.stats, failed=len(failures))
    if not _write_stats(arguments.stats, stats):
        code = ExitCode.FAILURE
    for path in report.kept:
        _say(f"{path} is of an earlier run, or not ours, and was kept")
    if not arguments.quiet and not interrupted:  # then it is said already
        _say(
            f"{stats.files} of {counted(len(todo.targets) + len(todo.failures), 'file')},"
            f" {stats.audio_seconds:.1f} s of audio in {stats.seconds:.1f} s"
            f"{_where(stats.files, '; ', arguments.output_dir)}"
        )
    return code


def _write_stats(path: Path | None, stats: Stats) -> bool:
    """Write the figures if they are asked for; False, and a line, if they could not be."""
    from worker.cli.figures import write_stats

    if path is None:
        return True
    try:
        write_stats(path, stats)
    except OSError as error:
        _say(f"--stats {path} can't be written: {error.strerror}")
        return False
    return True


def _say(text: str) -> None:
    from worker.redact import printable

    click.echo(printable(text), err=True)


transcribe = SettingsCommand(
    "transcribe",
    for_files=True,
    callback=_transcribe,
    help="Transcribe local files with the same engine; no queue, no AWS.",
    epilog="Exit codes: 0 all done, 1 some not, 2 wrong arguments, 3 no such machine, 130 Ctrl-C.",
    params=[
        click.Argument(
            ["files"],
            nargs=-1,
            required=True,
            type=PATH,
            metavar="FILE...",
            help="Media files, directories (their media files, at any depth) and quoted patterns.",
        ),
        click.Option(
            ["--output-dir"],
            type=PATH,
            default=Path(),
            help="Where <stem>.json, <stem>.srt, ... go.",
        ),
        click.Option(["--overwrite"], is_flag=True, help="Replace results that are there."),
        click.Option(
            ["--skip-existing"],
            is_flag=True,
            help="Keep results that are there, and do what is missing.",
        ),
        click.Option(["--stats"], type=PATH, help="Write figures of the run to this JSON file."),
        click.Option(["--quiet", "-q"], is_flag=True, help="Say nothing but what went wrong."),
        *raw_options(),
        *job_options("transcribe"),
        config_option(),
    ],
)
