"""The command `transcribe`: local files through the worker's engine; no queue, no AWS."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from worker.cli.flags import SettingsCommand, config_option, job_options, job_part
from worker.cli.raw_input import raw_audio, raw_options
from worker.errors import ExitCode

if TYPE_CHECKING:
    from worker.cli.local_files import Report
    from worker.speech.media.raw import Encoding

__all__ = ["transcribe"]

_ANY_INPUT = "s3://local/file"
"""A request needs an input; a file's name is none."""


def _transcribe(
    *,
    files: Sequence[Path],
    output_dir: Path,
    stats: Path | None,
    config: Path | None,
    input_format: Encoding | None,
    input_rate: int | None,
    input_channels: int | None,
    **flags: Any,
) -> ExitCode:
    from worker.settings import DEFAULT, load
    from worker.speech.model.allocator import restart_for_cpu

    raw = raw_audio(input_format, input_rate, input_channels)
    fields = job_part(flags)
    settings = load({name: flags[name] for name in flags if name not in fields}, config)
    restart_for_cpu(settings.device)
    began = time.monotonic()

    from worker.cli.console import counter
    from worker.cli.local_files import check_files, transcribe_files
    from worker.jobs.request import parse_request
    from worker.logs import configure
    from worker.pipeline.options import engine_options
    from worker.speech.engine.engine import build

    quiet = settings.origin("log_level") == DEFAULT
    configure("WARNING" if quiet else settings.log_level, settings.log_format, settings.log_file)
    # A request, because what may be asked of a file is what may be asked of a job.
    request = parse_request({"input": _ANY_INPUT, **fields})
    check_files(files, output_dir, request.formats)
    options = replace(engine_options(request, settings.options()), raw=raw)
    engine = build(settings.engine())
    try:
        engine.start()
        with counter("Transcribing", len(files)) as count:
            report = transcribe_files(
                files,
                output_dir,
                engine,
                options=options,
                formats=request.formats,
                load_seconds=time.monotonic() - began,
                vtt_word_times=settings.vtt_word_times,
                on_done=lambda *_: count(),
            )
    finally:
        engine.stop()
    if stats is not None:
        stats.write_text(report.stats.to_json(), encoding="utf-8")
    _print(report, len(files), output_dir)
    return ExitCode.FAILURE if report.failures else ExitCode.OK


def _print(report: Report, files: int, output_dir: Path) -> None:
    """To stderr: the failures, and one line about all of it."""
    for failure in report.failures:
        click.echo(f"{failure.path}: {failure.code}: {failure.message}", err=True)
    click.echo(
        f"{report.stats.files} of {files} files, {report.stats.audio_seconds:.1f} s of audio"
        f" in {report.stats.seconds:.1f} s; results in {output_dir}",
        err=True,
    )


_PATH = click.Path(path_type=Path)

transcribe = SettingsCommand(
    "transcribe",
    engine_only=True,
    callback=_transcribe,
    help="Transcribe local files with the same engine; no queue, no AWS.",
    params=[
        click.Argument(
            ["files"], nargs=-1, required=True, type=_PATH, metavar="FILE...", help="Media files."
        ),
        click.Option(
            ["--output-dir"],
            required=True,
            type=_PATH,
            help="Where <stem>.json, <stem>.srt, ... go.",
        ),
        click.Option(["--stats"], type=_PATH, help="Write figures of the run to this JSON file."),
        *raw_options(),
        *job_options("transcribe"),
        config_option(),
    ],
)
