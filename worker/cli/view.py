"""The command `view`: a transcript in the browser, beside its recording, to read and to correct."""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from worker.cli.flags import CONTEXT
from worker.errors import JobError, SettingsError, TransientError

if TYPE_CHECKING:
    from worker.results.transcript import Transcript
    from worker.viewer.fetching import Fetcher

__all__ = ["view"]

_DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")


@dataclass(frozen=True, slots=True)
class _Found:
    """What is shown.

    Attributes:
        name: what files of corrections begin with.
        folder: where they go if nothing else is said.
        recording: None where there is none.
    """

    transcript: Transcript
    name: str
    folder: Path
    recording: Path | None


def _view(
    *, file: str, recording: str | None, output_dir: Path | None, port: int, browser: bool
) -> None:
    from worker.cli.interrupts import ended_as_by_ctrl_c
    from worker.cli.writable import writable
    from worker.logs import configure
    from worker.pipeline.workdir import WorkDir

    configure("WARNING")
    if output_dir is not None and (problem := writable(output_dir)) is not None:
        raise SettingsError(f"--output-dir {output_dir} can't be written: {problem}")
    with (
        contextlib.suppress(KeyboardInterrupt),  # how a person leaves
        ended_as_by_ctrl_c(),  # what was fetched or decoded is removed
        contextlib.closing(WorkDir(None)) as work,  # it removes what one that was killed left
    ):
        found = _find(file, recording, work.path)
        _serve(found, output_dir or found.folder, work.path, port=port, browser=browser)


def _find(file: str, recording: str | None, scratch: Path) -> _Found:
    from worker.viewer.fetching import Fetcher, is_remote
    from worker.viewer.finding import (
        find_recording,
        find_transcript,
        is_file,
        name_for_edits,
        read_transcript,
    )

    fetcher = Fetcher(scratch)
    if is_remote(file):
        transcript = read_transcript(fetcher.transcript(file), file)
        beside = _fetched(fetcher, transcript) if recording is None else None
        name, folder = name_for_edits(transcript.job_id), Path()
    else:
        path, beside = find_transcript(Path(file))
        transcript = read_transcript(path, path)
        beside = beside or find_recording(path, transcript)
        name, folder = name_for_edits(path.stem), path.parent
    if recording is not None and is_remote(recording):
        beside = fetcher.recording(recording)
    elif recording is not None:
        beside = Path(recording)
        if not is_file(beside):
            raise SettingsError(f"--recording {recording}: there is no such file")
    return _Found(transcript, name, folder, beside)


def _fetched(fetcher: Fetcher, transcript: Transcript) -> Path | None:
    """The recording that a transcript in S3 names, in the state in which it was transcribed."""
    from worker.cli.progress import size
    from worker.viewer.fetching import is_remote

    uri = transcript.input.uri
    if not is_remote(uri):
        return None
    click.echo(f"fetching {uri} ({size(transcript.input.bytes)})", err=True)
    try:
        return fetcher.recording(uri, etag=transcript.input.etag)
    except (JobError, TransientError) as error:
        click.echo(f"the recording is not shown: {error}", err=True)
        return None


def _serve(found: _Found, folder: Path, scratch: Path, *, port: int, browser: bool) -> None:
    from worker.cli.writable import writable
    from worker.results.html import Viewing, page
    from worker.viewer.recording import Recording
    from worker.viewer.saving import Edits
    from worker.viewer.server import ViewServer

    recording = None if found.recording is None else Recording(found.recording, scratch)
    edits = Edits(found.transcript, folder, found.name)
    server = ViewServer(
        port,
        page=page(found.transcript, Viewing(recording.sources if recording else ())),
        recording=recording,
        edits=edits,
    )
    try:
        server.start()
        if recording is None:
            click.echo("no recording was found: name one with --recording to hear it", err=True)
        if (problem := writable(folder)) is None:
            click.echo(f"corrections are saved as {folder / edits.free_stem()}.json", err=True)
        else:  # said before anyone types any
            click.echo(
                f"corrections can't be saved in {folder} ({problem}): name another directory with"
                " --output-dir",
                err=True,
            )
        click.echo(server.url)
        click.echo("Ctrl-C ends it", err=True)
        if browser:
            _open(server.url)
        server.wait()
    finally:
        server.stop()


def _open(url: str) -> None:
    """Open the browser, where there is a screen; in a bare terminal it would be a text browser."""
    import webbrowser

    if sys.platform == "darwin" or any(os.environ.get(name) for name in _DISPLAYS):
        webbrowser.open(url)


view = click.Command(
    "view",
    context_settings=dict(CONTEXT),
    callback=_view,
    help="Show a transcript in the browser beside its recording; correct it and save it anew.\n\n"
    "Served on 127.0.0.1 alone, until Ctrl-C. Corrections go to new files, <name>.edited.json, "
    ".srt, .vtt and .txt.",
    params=[
        click.Argument(
            ["file"],
            metavar="FILE",
            help="A transcript (.json), a recording whose transcript lies beside it, or "
            "s3://bucket/key of a transcript, or s3://bucket/prefix/ of a job's results.",
        ),
        click.Option(
            ["--recording"],
            metavar="FILE",
            help="The recording, a file or s3://bucket/key, if it isn't the one beside the "
            "transcript (for one in S3: the job's input).",
        ),
        click.Option(
            ["--output-dir"],
            type=click.Path(path_type=Path),
            help="Where corrections are saved: by default beside the transcript, for one in S3 "
            "the current directory.",
        ),
        click.Option(
            ["--port"],
            type=click.IntRange(0, 65535),
            default=0,
            help="To listen on; 0: any free one.",
        ),
        click.Option(["--browser/--no-browser"], default=True, help="Open the browser."),
    ],
)
