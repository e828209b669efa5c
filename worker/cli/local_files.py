"""Local files through the engine, for the command `transcribe`. No queue, no AWS.

Many files are in the engine at once, so that short ones share batches; how many is bounded by
the seconds of audio that the engine holds. Results are written as they come.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future
from concurrent.futures import wait as wait_for
from dataclasses import asdict, dataclass, field
from pathlib import Path

from worker.errors import JobError, SettingsError
from worker.results.formats import Format, render
from worker.results.transcript import Transcript
from worker.speech.api import Options, Recognition, Submission, Transcriber
from worker.speech.assemble import Input, assemble, timings, with_timings

__all__ = ["FileFailure", "Report", "Stats", "check_files", "transcribe_files"]

MAX_OPEN_FILES = 256
"""Files inside the engine at once, however short they are."""

POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class FileFailure:
    """A file that could not be transcribed, and why."""

    path: Path
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Stats:
    """What `--stats` writes.

    Attributes:
        files: that were transcribed.
        failed: that were not.
        audio_seconds: of the files transcribed.
        load_seconds: imports, model load and warm-up; no part of `seconds`.
        seconds: from the first file opened to the last result written.
        windows: of those files.
        batches: calls of the decoder, the warm-up's left out.
        batch_slots: what these batches had room for, in windows.
        encoder_calls: calls of the encoder.
        second_attempts: windows decoded again because their text failed the checks.
    """

    files: int
    failed: int
    audio_seconds: float
    load_seconds: float
    seconds: float
    windows: int
    batches: int
    batch_slots: int
    encoder_calls: int
    second_attempts: int

    def to_json(self) -> str:
        """One JSON object, indented."""
        values = {
            name: round(value, 4) if isinstance(value, float) else value
            for name, value in asdict(self).items()
        }
        return json.dumps(values, indent=2) + "\n"


@dataclass(slots=True)
class Report:
    """The figures of the run, and the files that failed, in the order in which they did."""

    stats: Stats
    failures: list[FileFailure] = field(default_factory=list)


def check_files(
    paths: Sequence[Path], output_dir: Path, formats: Sequence[Format]
) -> dict[Path, dict[Format, Path]]:
    """Which files each input's results go to: `<stem>.json`, `<stem>.srt`, ...

    Raises:
        SettingsError: an input is no file, two would write the same result, or a result would
            overwrite an input; the message says which and what to do.
    """
    problems = [f"{path}: there is no such file" for path in paths if not path.is_file()]
    inputs = {path.resolve() for path in paths}
    by_stem: dict[str, Path] = {}
    for path in paths:
        other = by_stem.setdefault(path.stem, path)
        if other is not path:
            problems.append(
                f"{path} and {other} would both write {output_dir / path.stem}.json: rename one,"
                " or transcribe them into different directories"
            )
    targets = {path: {fmt: output_dir / f"{path.stem}.{fmt}" for fmt in formats} for path in paths}
    problems += [
        f"{target} is an input and would be overwritten: choose another --output-dir"
        for files in targets.values()
        for target in files.values()
        if target.resolve() in inputs
    ]
    if problems:
        raise SettingsError("\n".join(problems))
    return targets


def transcribe_files(
    paths: Sequence[Path],
    output_dir: Path,
    engine: Transcriber,
    *,
    options: Options,
    formats: Sequence[Format],
    load_seconds: float,
    vtt_word_times: bool = False,
    on_done: Callable[[Path, Transcript | FileFailure], None] = lambda path, result: None,
) -> Report:
    """Transcribe files into `output_dir`, which is made if it isn't there.

    Args:
        paths: the files.
        output_dir: where `<stem>.<format>` go.
        engine: started.
        options: of every file.
        formats: to write.
        load_seconds: how long it took until the engine was ready; only reported.
        vtt_word_times: whether the vtt carries the times of words.
        on_done: called after each file, with its transcript or why there is none.

    Raises:
        SettingsError: see `check_files`; or the directory can't be written.
        EngineError: the engine broke.
    """
    targets = check_files(paths, output_dir, formats)
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"--output-dir {output_dir}: {error.strerror}") from error
    before = asdict(engine.stats)
    began = time.monotonic()
    run = _Run(engine, options, targets, vtt_word_times=vtt_word_times, on_done=on_done)
    run.transcribe(paths)
    seconds = time.monotonic() - began
    after = asdict(engine.stats)

    def counted(name: str) -> int:
        return int(after[name] - before[name])

    stats = Stats(
        files=len(run.recognitions),
        failed=len(run.failures),
        audio_seconds=sum(recognition.audio_seconds for recognition in run.recognitions),
        load_seconds=load_seconds,
        seconds=seconds,
        windows=sum(recognition.windows for recognition in run.recognitions),
        batches=counted("batches"),
        batch_slots=counted("batch_slots"),
        encoder_calls=counted("encoder_calls"),
        second_attempts=counted("second_attempts"),
    )
    return Report(stats, run.failures)


@dataclass(frozen=True, slots=True)
class _Open:
    """A file inside the engine, and when it went in (time.monotonic())."""

    path: Path
    submission: Submission
    began: float


class _Run:
    """Files on their way through the engine, and what became of those that are done."""

    def __init__(
        self,
        engine: Transcriber,
        options: Options,
        targets: Mapping[Path, Mapping[Format, Path]],
        *,
        vtt_word_times: bool,
        on_done: Callable[[Path, Transcript | FileFailure], None],
    ) -> None:
        self.failures: list[FileFailure] = []
        self.recognitions: list[Recognition] = []
        self._engine = engine
        self._options = options
        self._targets = targets
        self._vtt_word_times = vtt_word_times
        self._on_done = on_done
        self._open: dict[Future[Recognition], _Open] = {}

    def transcribe(self, paths: Sequence[Path]) -> None:
        """Every file, several at a time; raises EngineError."""
        waiting = list(reversed(paths))
        while waiting or self._open:
            while waiting and self._has_room():
                self._submit(waiting.pop())
            ready, _ = wait_for(self._open, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
            for future in ready:
                self._finish(self._open.pop(future))
            if (broken := self._engine.failure()) is not None:
                raise broken

    def _has_room(self) -> bool:
        if not self._open:
            return True
        held, most = self._engine.held_seconds(), self._engine.most_held_seconds()
        return len(self._open) < MAX_OPEN_FILES and held < most

    def _submit(self, path: Path) -> None:
        try:
            submission = self._engine.submit(path, self._options, name=path.name)
        except JobError as error:
            self._fail(path, error)
        else:
            self._open[submission.future] = _Open(path, submission, time.monotonic())

    def _finish(self, opened: _Open) -> None:
        try:
            recognition = opened.submission.future.result()
        except JobError as error:
            self._fail(opened.path, error)
            return
        transcript = self._write(opened, recognition)
        self.recognitions.append(recognition)
        self._on_done(opened.path, transcript)

    def _fail(self, path: Path, error: JobError) -> None:
        failure = FileFailure(path, error.code, error.message)
        self.failures.append(failure)
        self._on_done(path, failure)

    def _write(self, opened: _Open, recognition: Recognition) -> Transcript:
        """Write a file's results; the json last, as it says how long the others took."""
        began = time.monotonic()
        targets = self._targets[opened.path]
        transcript = assemble(
            recognition,
            job_id=opened.path.stem,
            input=Input(opened.path.name, opened.path.stat().st_size),
            task=self._options.task,
            engine=self._engine.info,
            timings=timings(recognition),
            words=self._options.words,
        )
        for fmt, target in targets.items():
            if fmt != "json":
                text = render(transcript, fmt, word_timestamps_in_vtt=self._vtt_word_times)
                target.write_text(text, encoding="utf-8")
        now = time.monotonic()
        transcript = with_timings(
            transcript, timings(recognition, write=now - began, total=now - opened.began)
        )
        targets["json"].write_text(render(transcript, "json"), encoding="utf-8")
        return transcript
