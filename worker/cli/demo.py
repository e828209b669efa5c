"""The command `demo`: SQS and S3 on loopback, the real daemon, the base model.

This process plays the sender. Afterwards everything that was promised is checked: results,
queues, and the daemon's exit code.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from worker.cli.demo_aws import BUCKET, DemoAws, demo_aws
from worker.cli.demo_daemon import DemoDaemon, log_tail, running_daemon
from worker.errors import ExitCode, SettingsError
from worker.jobs.fields import DEFAULT_FORMATS
from worker.results.formats import cues
from worker.results.names import TRANSCRIPT, sibling
from worker.results.transcript import Transcript
from worker.sender.plan import Planned, job_stem, plan
from worker.sender.send import Answers, send, upload_each, wait
from worker.speech.model.selftest import recording

__all__ = ["sample_recording", "short_ids", "show"]

EXIT_SECONDS = 60.0
"""How long an idle daemon may take to end itself before it is ended."""

POLL_SECONDS = 0.3


def show(files: Sequence[Path], output_dir: Path, *, timeout: float) -> ExitCode:
    """Run the demo, and print what came of it.

    Args:
        files: media files; without any, the telephone call that pyannote-audio ships.
        output_dir: `<job id>/transcript.json` and its siblings are copied there, and the
            daemon's log.
        timeout: seconds for all of it.

    Returns:
        OK if everything was as it should be.

    Raises:
        SettingsError: a file isn't there, or the extra `demo` isn't installed.
    """
    # Whatever ends this process, except SIGKILL, ends the daemon with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(ExitCode.FAILURE))
    console = Console(stderr=True)
    ends = time.monotonic() + timeout
    inputs = [str(path) for path in files] or [str(sample_recording())]
    output_dir.mkdir(parents=True, exist_ok=True)
    log_path = output_dir / "daemon.log"
    log_path.unlink(missing_ok=True)
    with demo_aws() as aws:
        jobs = _send(aws, inputs)
        many = "1 job" if len(jobs) == 1 else f"{len(jobs)} jobs"
        console.print(f"{many} sent to {aws.queue_url}", soft_wrap=True)
        console.print(f"the daemon's log: {escape(str(log_path))}", soft_wrap=True)
        with running_daemon(aws.queue_url, log_path) as daemon:
            answers = _watch(console, aws, daemon, jobs, ends)
            left = max(1.0, min(EXIT_SECONDS, ends - time.monotonic()))
            problems = daemon.wait_for_exit(left)
        problems += [f"{f.job_id} failed: {f.code}: {f.message}" for f in answers.failed]
        problems += [f"{job_id} has no result" for job_id in answers.waiting]
        problems += aws.leftovers()
        results, missing = _download(aws, jobs, output_dir)
        problems += missing
    _print(Console(), results)
    for problem in problems:
        console.print(f"[red]not as it should be:[/] {escape(problem)}")
    if problems:
        console.print(escape(log_tail(log_path)))
        return ExitCode.FAILURE
    console.print("[green]everything as it should be[/]: results complete, queues empty, exit 0")
    return ExitCode.OK


def sample_recording() -> Path:
    """The recording of the engine's self-test.

    Raises:
        SettingsError: it isn't installed.
    """
    path = recording()
    if path is None:
        raise SettingsError(
            "pyannote-audio's sample.wav isn't installed: name a FILE to transcribe"
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


def _send(aws: DemoAws, inputs: Sequence[str]) -> list[Planned]:
    jobs = plan(
        inputs,
        {},
        upload_to=f"s3://{BUCKET}/in/",
        output=f"s3://{BUCKET}/out/",
        new_id=short_ids(),
    )
    return list(send(aws.clients.sqs, aws.queue_url, list(upload_each(aws.clients.s3, jobs))))


def _watch(
    console: Console, aws: DemoAws, daemon: DemoDaemon, jobs: Sequence[Planned], ends: float
) -> Answers:
    """Poll for the results, showing how far things are, until all are there or time is up."""
    done: list[str] = []
    answers = Answers(waiting=tuple(job.job_id for job in jobs))
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
    ) as progress:
        task = progress.add_task("loading the model", total=len(jobs))
        left = list(jobs)
        while left and time.monotonic() < ends:
            alive = daemon.alive
            round_ = wait(
                aws.clients.s3, left, timeout=0, on_answer=lambda job_id, _: done.append(job_id)
            )
            answers.completed |= round_.completed
            answers.failed += round_.failed
            answers.waiting = round_.waiting
            left = [job for job in left if job.job_id not in done]
            progress.update(task, completed=len(done), description=daemon.stage())
            if not alive:
                break
            time.sleep(POLL_SECONDS)
    return answers


def _download(
    aws: DemoAws, jobs: Sequence[Planned], output_dir: Path
) -> tuple[list[tuple[Path, Transcript]], list[str]]:
    """Copy each job's results; the transcripts by folder, and a sentence for each missing file."""
    results: list[tuple[Path, Transcript]] = []
    missing: list[str] = []
    for job in jobs:
        folder = output_dir / job.job_id
        folder.mkdir(exist_ok=True)
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


def _print(console: Console, results: Sequence[tuple[Path, Transcript]]) -> None:
    """The transcripts, and where their files lie."""
    for folder, transcript in results:
        lines = Table.grid(padding=(0, 2))
        for cue in cues(transcript):
            lines.add_row(f"[cyan]{cue.start:6.2f}[/]", escape(" ".join(cue.text.split())))
        language = transcript.language.code if transcript.language else "no speech"
        languages = ", ".join([language, *(share.code for share in transcript.languages[1:])])
        about = f"{languages}, {transcript.input.audio_seconds:.1f} s of audio"
        console.print(Panel(lines, title=escape(transcript.job_id), subtitle=about))
        files = ", ".join(sorted(path.name for path in folder.iterdir()))
        console.print(f"{escape(str(folder))}/: {files}", soft_wrap=True)
