"""Local files through the engine, for the command `transcribe`. No queue, no AWS.

Many files are in the engine at once, so that short ones share batches; how many is bounded by
the seconds of audio that the engine holds. Results are written as they come.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future
from concurrent.futures import wait as wait_for
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from worker.cli.figures import Stats
from worker.cli.media_files import FileFailure
from worker.cli.progress import FileProgress, Finished, Progress, of_files
from worker.cli.result_files import ResultFiles, WriteError
from worker.cli.targets import Target
from worker.errors import JobError, TransientError
from worker.results.formats import render
from worker.results.names import Format
from worker.results.presentation import Presentation
from worker.speech.api import Options, Recognition, Submission, Transcriber
from worker.speech.assemble import Input, assemble, timings, with_timings

__all__ = ["Report", "Watcher", "transcribe_files"]

MAX_OPEN_FILES = 256
"""Files inside the engine at once, however short they are."""

POLL_SECONDS = 0.2


@dataclass(slots=True)
class Report:
    """What came of the run.

    Attributes:
        stats: its figures.
        failures: the files that failed, in the order in which they did.
        kept: files in the results' place that were left alone, see `ResultFiles`.
    """

    stats: Stats
    failures: list[FileFailure] = field(default_factory=list)
    kept: list[Path] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Watcher:
    """Who follows a run. Called on the thread that runs it.

    Attributes:
        on_failure: gets each file that failed, at once.
        on_progress: gets how far things are, several times a second.
        stopping: whether to stop: what isn't done by then is left undone.
    """

    on_failure: Callable[[FileFailure], None] = lambda failure: None
    on_progress: Callable[[Progress], None] = lambda progress: None
    stopping: Callable[[], bool] = lambda: False


def transcribe_files(
    targets: Sequence[Target],
    engine: Transcriber,
    results: ResultFiles,
    *,
    options: Options,
    load_seconds: float,
    presentation: Presentation | None = None,
    watcher: Watcher | None = None,
) -> Report:
    """Transcribe files and write their results.

    Args:
        targets: the files, and what to write for each.
        engine: started.
        results: writes them.
        options: of every file.
        load_seconds: how long it took until the engine was ready; only reported.
        presentation: how the results show what was said.
        watcher: follows it, and may stop it.

    Raises:
        EngineError: the engine broke.
    """
    before = asdict(engine.stats)
    began = time.monotonic()
    run = _Run(engine, options, results, presentation or Presentation(), watcher or Watcher())
    run.transcribe(targets)
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
    return Report(stats, run.failures, results.kept)


@dataclass(frozen=True, slots=True)
class _Open:
    """A file inside the engine, and when it went in (time.monotonic())."""

    target: Target
    submission: Submission
    began: float

    def progress(self) -> FileProgress:
        return FileProgress(self.target.file.size, *self.submission.progress())


class _Run:
    """Files on their way through the engine, and what became of those that are done."""

    def __init__(
        self,
        engine: Transcriber,
        options: Options,
        results: ResultFiles,
        presentation: Presentation,
        watcher: Watcher,
    ) -> None:
        self.failures: list[FileFailure] = []
        self.recognitions: list[Recognition] = []
        self._engine = engine
        self._options = options
        self._results = results
        self._presentation = presentation
        self._watcher = watcher
        self._open: dict[Future[Recognition], _Open] = {}
        self._finished = Finished()

    def transcribe(self, targets: Sequence[Target]) -> None:
        """Every file, several at a time; raises EngineError."""
        waiting = list(reversed(targets))
        waiting_size = sum(target.file.size for target in targets)
        while waiting or self._open:
            while waiting and self._has_room():
                target = waiting.pop()
                waiting_size -= target.file.size
                self._submit(target)
            ready, _ = wait_for(self._open, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
            for future in ready:
                self._finish(self._open.pop(future))
            if self._watcher.stopping():
                return
            if (broken := self._engine.failure()) is not None:
                raise broken
            begun = [opened.progress() for opened in self._open.values()]
            self._watcher.on_progress(
                of_files(self._finished, begun, waiting_size=waiting_size, total=len(targets))
            )

    def _has_room(self) -> bool:
        if not self._open:
            return True
        held, most = self._engine.held_seconds(), self._engine.most_held_seconds()
        return len(self._open) < MAX_OPEN_FILES and held < most

    def _submit(self, target: Target) -> None:
        try:
            submission = self._engine.submit(
                target.file.path, self._options, name=_shown(target.stem.name)
            )
        except JobError as error:
            self._fail(target, error.message, error.code)
        except TransientError as error:
            self._fail(target, str(error))
        else:
            self._open[submission.future] = _Open(target, submission, time.monotonic())

    def _finish(self, opened: _Open) -> None:
        try:
            recognition = opened.submission.future.result()
            self._write(opened, recognition)
        except JobError as error:
            self._fail(opened.target, error.message, error.code)
        except (TransientError, WriteError) as error:
            self._fail(opened.target, str(error))
        else:
            self.recognitions.append(recognition)
            self._finished = Finished(
                self._finished.files + 1,
                self._finished.size + opened.target.file.size,
                self._finished.seconds + recognition.audio_seconds,
            )

    def _fail(self, target: Target, message: str, code: str | None = None) -> None:
        failure = FileFailure(target.file.path, message, code)
        self.failures.append(failure)
        self._finished = replace(self._finished, files=self._finished.files + 1)
        self._watcher.on_failure(failure)

    def _write(self, opened: _Open, recognition: Recognition) -> None:
        """Write a file's results. Raises WriteError."""
        target = opened.target
        transcript = assemble(
            recognition,
            job_id=_shown(target.stem.name),
            input=Input(_shown(target.file.path.name), target.file.size),
            task=self._options.task,
            engine=self._engine.info,
            timings=timings(recognition),
            presentation=self._presentation,
        )
        began = time.monotonic()

        def texts() -> Iterator[tuple[Format, str]]:
            for fmt in target.results:
                if fmt != "json":
                    yield fmt, render(transcript, fmt)
            if "json" in target.results:  # it says how long the others took
                now = time.monotonic()
                took = timings(recognition, write=now - began, total=now - opened.began)
                yield "json", render(with_timings(transcript, took), "json")

        self._results.write(target, texts())


def _shown(name: str) -> str:
    """A file's name for results and logs: bytes that are no UTF-8 become replacement characters."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
