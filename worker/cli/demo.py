"""The whole way on one machine: SQS and S3 on loopback, the real daemon, the base model.

The daemon is a process of its own, started as an operator would start it; this one plays the
sender. Afterwards everything that was promised is looked at again: results, queues, exit code.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

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

from worker.errors import ExitCode, SettingsError
from worker.results.formats import Format, cues
from worker.results.names import TRANSCRIPT, sibling
from worker.results.transcript import Transcript
from worker.sender.plan import Planned, make_job_id, plan
from worker.sender.send import Answers, send, upload, wait

if TYPE_CHECKING:
    from worker.aws.clients import Clients

__all__ = ["show"]

BUCKET = "demo"
FORMATS: tuple[Format, ...] = ("json", "srt", "vtt", "txt")
MAX_RECEIVES = 10
IDLE_SECONDS = 3.0
EXIT_SECONDS = 60.0
"""How long an idle daemon may take to end itself before it is ended."""
LOG_LINES = 30
"""Of the daemon's log, where something went wrong."""

_STAGES = (("job.started", "transcribing"), ("model.loaded", "warming up"))
"""What the daemon is doing, by the latest of these events in its log."""


@dataclass(slots=True)
class _Demo:
    """What is running, and what was found wrong."""

    clients: Clients
    queue_url: str
    dead_letter_url: str
    problems: list[str] = field(default_factory=list)


def show(files: Sequence[Path], output_dir: Path, *, timeout: float) -> ExitCode:
    """Run the demo and say what came of it.

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
    inputs = [str(path) for path in files] or [str(_sample())]
    output_dir.mkdir(parents=True, exist_ok=True)
    log_path = output_dir / "daemon.log"
    log_path.unlink(missing_ok=True)
    with _server() as endpoint, _environment(endpoint):
        demo = _make_queues(endpoint)
        jobs = plan(
            inputs, {}, upload_to=f"s3://{BUCKET}/in/", output=f"s3://{BUCKET}/out/",
            new_id=_short_ids(),
        )  # fmt: skip
        for job in jobs:
            upload(demo.clients.s3, job)
        for _ in send(demo.clients.sqs, demo.queue_url, jobs):
            pass
        many = "1 job" if len(jobs) == 1 else f"{len(jobs)} jobs"
        console.print(f"{many} sent to {demo.queue_url}", soft_wrap=True)
        console.print(f"the daemon's log: {escape(str(log_path))}", soft_wrap=True)
        with _daemon(demo.queue_url, log_path) as daemon:
            answers = _watch(console, demo, daemon, jobs, log_path, ends)
            _check_exit(demo, daemon, ends)
        _check_answers(demo, answers)
        _check_queues(demo)
        results = _download(demo, jobs, output_dir)
    _print(Console(), results)
    for problem in demo.problems:
        console.print(f"[red]not as it should be:[/] {escape(problem)}")
    if demo.problems:
        console.print(escape(_tail(log_path)))
        return ExitCode.FAILURE
    console.print("[green]everything as it should be[/]: results complete, queues empty, exit 0")
    return ExitCode.OK


def _sample() -> Path:
    """The recording beside pyannote's code, found without the seconds that importing it takes."""
    spec = find_spec("pyannote")
    for folder in spec.submodule_search_locations or [] if spec else []:
        sample = Path(folder) / "audio" / "sample" / "sample.wav"
        if sample.is_file():
            return sample
    raise SettingsError("pyannote-audio's sample.wav isn't installed: name a FILE to transcribe")


def _short_ids() -> Callable[[str], str]:
    """Job ids that are the files' stems: nobody else uses this bucket. Equal stems get a number."""
    used: set[str] = set()

    def new_id(name: str) -> str:
        stem = make_job_id(name).rsplit("-", 1)[0]
        number = 1
        job_id = stem
        while job_id in used:
            number += 1
            job_id = f"{stem}-{number}"
        used.add(job_id)
        return job_id

    return new_id


@contextmanager
def _server() -> Iterator[str]:
    """SQS and S3 over their real protocols, on a free port of loopback."""
    try:
        from moto.server import ThreadedMotoServer
    except ImportError as error:
        raise SettingsError(
            "the demo needs the extra `demo`: pip install 'transcription-worker[demo]'"
        ) from error
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


@contextmanager
def _environment(endpoint: str) -> Iterator[None]:
    """AWS's variables for the server, for this process and the daemon; nothing real is reached."""
    kept = dict(os.environ)
    for name in kept:
        if name.startswith(("AWS_", "WORKER_")):
            del os.environ[name]
    os.environ |= {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "demo",
        "AWS_SECRET_ACCESS_KEY": "demo",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "NO_PROXY": "127.0.0.1",
    }
    try:
        yield
    finally:
        os.environ.clear()
        os.environ |= kept


def _make_queues(endpoint: str) -> _Demo:
    from worker.aws.clients import make_clients

    clients = make_clients(queue_url=endpoint)
    clients.s3.create_bucket(Bucket=BUCKET)
    dead = clients.sqs.create_queue(QueueName="demo-dead")["QueueUrl"]
    arn = clients.sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])
    policy = {
        "deadLetterTargetArn": arn["Attributes"]["QueueArn"],
        "maxReceiveCount": MAX_RECEIVES,
    }
    queue = clients.sqs.create_queue(
        QueueName="demo", Attributes={"RedrivePolicy": json.dumps(policy)}
    )["QueueUrl"]
    return _Demo(clients, queue, dead)


@contextmanager
def _daemon(queue_url: str, log_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The daemon as its own process; ended whatever happens here."""
    command = [
        sys.executable, "-m", "worker", "run",
        "--queue-url", queue_url,
        "--model", "base",
        "--device", "cpu",
        "--idle-timeout", f"{IDLE_SECONDS:g}",
        "--compute-type", "auto",
        "--word-times", "attention",  # no alignment model is fetched for a demo
        "--log-file", str(log_path),
    ]  # fmt: skip
    with log_path.with_suffix(".err").open("wb") as errors:
        process = subprocess.Popen(command, stdout=errors, stderr=errors)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(timeout=10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def _watch(
    console: Console,
    demo: _Demo,
    daemon: subprocess.Popen[bytes],
    jobs: Sequence[Planned],
    log_path: Path,
    ends: float,
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
            alive = daemon.poll() is None
            round_ = wait(
                demo.clients.s3, left, timeout=0, told=lambda job_id, _: done.append(job_id)
            )
            answers.completed |= round_.completed
            answers.failed += round_.failed
            answers.waiting = round_.waiting
            left = [job for job in left if job.job_id not in done]
            progress.update(task, completed=len(done), description=_stage(log_path))
            if not alive:
                break
            time.sleep(0.3)
    return answers


def _stage(log_path: Path) -> str:
    """How far the daemon is, from its log."""
    try:
        log = log_path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return "starting the daemon"
    return next(
        (stage for event, stage in _STAGES if f"event={event} " in log), "loading the model"
    )


def _check_exit(demo: _Demo, daemon: subprocess.Popen[bytes], ends: float) -> None:
    try:
        code = daemon.wait(timeout=max(1.0, min(EXIT_SECONDS, ends - time.monotonic())))
    except subprocess.TimeoutExpired:
        demo.problems.append("the daemon didn't end itself when it was idle")
    else:
        if code != ExitCode.OK:
            demo.problems.append(f"the daemon ended with exit code {code}")


def _check_answers(demo: _Demo, answers: Answers) -> None:
    demo.problems += [f"{f.job_id} failed: {f.code}: {f.message}" for f in answers.failed]
    demo.problems += [f"{job_id} has no result" for job_id in answers.waiting]


def _check_queues(demo: _Demo) -> None:
    for name, url in (("queue", demo.queue_url), ("dead-letter queue", demo.dead_letter_url)):
        answer = demo.clients.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
        counts = answer["Attributes"].items()
        left = sum(int(n) for name_, n in counts if name_.startswith("ApproximateNumberOf"))
        if left:
            demo.problems.append(f"{left} messages are still on the {name}")


def _download(
    demo: _Demo, jobs: Sequence[Planned], output_dir: Path
) -> list[tuple[Path, Transcript]]:
    """Copy each job's results; a file that should be there and isn't is a problem."""
    results: list[tuple[Path, Transcript]] = []
    for job in jobs:
        folder = output_dir / job.job_id
        folder.mkdir(exist_ok=True)
        for fmt in FORMATS:
            key = f"out/{job.job_id}/{sibling(fmt)}"
            target = folder / sibling(fmt)
            target.unlink(missing_ok=True)
            try:
                answer = demo.clients.s3.get_object(Bucket=BUCKET, Key=key)
            except demo.clients.s3.exceptions.NoSuchKey:
                demo.problems.append(f"s3://{BUCKET}/{key} isn't there")
            else:
                target.write_bytes(answer["Body"].read())
        document = folder / TRANSCRIPT
        if document.is_file():
            results.append((folder, Transcript.model_validate_json(document.read_bytes())))
    return results


def _print(console: Console, results: Sequence[tuple[Path, Transcript]]) -> None:
    """The transcripts, and where their files lie."""
    for folder, transcript in results:
        lines = Table.grid(padding=(0, 2))
        for cue in cues(transcript):
            lines.add_row(f"[cyan]{cue.start:6.2f}[/]", escape(" ".join(cue.text.split())))
        language = transcript.language.code if transcript.language else "no speech"
        about = f"{language}, {transcript.input.audio_seconds:.1f} s of audio"
        console.print(Panel(lines, title=escape(transcript.job_id), subtitle=about))
        files = ", ".join(sorted(path.name for path in folder.iterdir()))
        console.print(f"{escape(str(folder))}/: {files}", soft_wrap=True)


def _tail(log_path: Path) -> str:
    """The end of what the daemon said, wherever it said it."""
    lines: list[str] = []
    for path in (log_path, log_path.with_suffix(".err")):
        if path.is_file():
            lines += path.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:]
    return "\n".join(lines)
