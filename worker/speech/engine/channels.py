"""One submitted file of which each channel, or track, is transcribed on its own.

The prepare pool surveys the file first: how many are there, and which hold the same samples? Then
each that holds samples of its own goes through the engine as a file does: its speech is found, its
language is detected, its windows are prompted with its own text. When all are done, their results
are put together (`channel_results`). If one fails, the others end with it.

Everything happens under the engine's lock, also what the files' futures call.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from functools import partial
from typing import Any

from worker.errors import JobError, WorkerError
from worker.speech.api import Partial, Recognition, Submission
from worker.speech.children.framing import FrameError
from worker.speech.engine import channel_results
from worker.speech.engine.file import File, Group
from worker.speech.engine.shared import Shared
from worker.speech.media.selection import Kind, Selection, Survey
from worker.speech.prepare.frames import PrepareTask, read_survey

__all__ = ["AddFile", "ChannelSubmission", "SurveyFeed"]

AddFile = Callable[[Selection, Partial | None, Group], File]
"""Takes (what of the file is read, what of it an earlier run finished, with which others it
belongs together) and adds a file to the engine. Called with the lock."""


class ChannelSubmission(Submission):
    """See the module.

    Args:
        shared: the state of the engine.
        kind: what is transcribed each on its own.
        labels: what the caller calls them, in their order.
        resume: what earlier runs finished.
        add: adds the file of a channel to the engine.
    """

    def __init__(
        self,
        shared: Shared,
        kind: Kind,
        labels: tuple[str, ...],
        *,
        resume: Partial | None,
        add: AddFile,
    ) -> None:
        self._shared = shared
        self._kind = kind
        self._given = labels
        self._kept = resume.channels if resume is not None else ()
        self._add = add
        self._future: Future[Recognition] = Future()
        self._stated_seconds: float | None = None
        self._survey: Survey | None = None
        self._labels: tuple[str, ...] = ()
        self._files: dict[int, File] = {}
        self._gone = False

    @property
    def future(self) -> Future[Recognition]:
        """See `api.Submission`."""
        return self._future

    @property
    def gone(self) -> bool:
        """Whether it is answered or cancelled."""
        return self._gone

    def partial(self) -> Partial:
        """See `api.Submission`. One for each channel; before the survey is done, none."""
        with self._shared.changed:
            found = self._survey.found if self._survey is not None else ()
            return Partial(
                channels=tuple(
                    self._files[position].partial() if position in self._files else Partial()
                    for position in range(len(found))
                )
            )

    def progress(self) -> tuple[float, float | None]:
        """See `api.Submission`."""
        with self._shared.changed:
            files = [file.progress() for file in self._files.values()]
            return channel_results.progress(files, self._stated_seconds)

    def on_text_done(self, call: Callable[[], object]) -> None:
        """See `api.Submission`. Never: nobody asks who speaks where channels say it."""

    def cancel(self) -> None:
        """See `api.Submission`."""
        with self._shared.changed:
            self._end()
            self._future.cancel()

    def fail(self, error: BaseException) -> None:
        """End it with an error. Takes the lock itself."""
        with self._shared.changed:
            if not self._gone:
                self._end()
                with suppress(InvalidStateError):  # a caller may have cancelled the future itself
                    self._future.set_exception(error)

    def opened(self, stated_seconds: float | None) -> None:
        """The file is media, and maybe says how long it is. Call with the lock."""
        self._stated_seconds = stated_seconds

    def surveyed(self, survey: Survey) -> None:
        """What the file consists of is known: each channel begins. Call with the lock."""
        if self._gone:
            return
        self._survey = survey
        self._labels = channel_results.labels(self._given, survey.found, self._kind)
        self._shared.surveys.discard(self)
        group = Group(self._shared.new_number())
        for position, one in enumerate(survey.found):
            if one.same_as is None:
                kept = self._kept[position] if position < len(self._kept) else None
                self._files[position] = self._add(one.selection, kept, group)
        for position, file in self._files.items():
            file.future.add_done_callback(partial(self._answered, position))

    def _answered(self, position: int, future: Future[Recognition]) -> None:
        """A channel is done, has failed, or is cancelled because the engine stops."""
        with self._shared.changed:
            if self._gone:
                return
            if future.cancelled():
                self.cancel()
            elif (error := future.exception()) is not None:
                self.fail(self._named(position, error))
            elif all(file.future.done() for file in self._files.values()):
                self._finish()

    def _finish(self) -> None:
        assert self._survey is not None
        self._gone = True
        notes = channel_results.labels_note(self._given, len(self._labels), self._kind)
        recognitions = {place: file.future.result() for place, file in self._files.items()}
        with suppress(InvalidStateError):  # a caller may have cancelled the future itself
            try:
                merged = channel_results.merged(
                    self._survey, self._labels, self._kind, recognitions, notes
                )
            except Exception as error:  # noqa: BLE001  # what a future calls has nobody to tell
                self._future.set_exception(error)
            else:
                self._future.set_result(merged)

    def _named(self, position: int, error: BaseException) -> BaseException:
        """What is wrong with one of several channels says with which."""
        if not isinstance(error, JobError) or len(self._labels) == 1:
            return error
        return JobError(error.code, f"{self._labels[position]}: {error.message}")

    def _end(self) -> None:
        self._gone = True
        self._shared.surveys.discard(self)
        for file in self._files.values():
            if not file.gone:
                file.cancel()
        self._shared.changed.notify_all()


class SurveyFeed:
    """A file that is surveyed, as the prepare pool sees it; see `pool.Client`.

    Args:
        shared: the state of the engine.
        submission: takes what is found.
        task: what the child is asked for.
    """

    def __init__(self, shared: Shared, submission: ChannelSubmission, task: PrepareTask) -> None:
        self.task = task
        self._shared = shared
        self._submission = submission

    def wanted(self) -> bool:
        """See `pool.Client`."""
        return not self._submission.gone

    def has_room(self) -> bool:
        """See `pool.Client`: a survey holds no audio."""
        return True

    def wait_for_room(self) -> None:
        """See `pool.Client`: there is room."""

    def failed(self, error: WorkerError) -> None:
        """See `pool.Client`."""
        self._submission.fail(error)

    def frame(self, header: dict[str, Any], payload: bytes) -> None:
        """See `pool.Client`; the kinds of frames are those of `prepare.frames`.

        Raises:
            FrameError: no child of ours sends that.
        """
        del payload
        with self._shared.changed:
            if self._shared.device_idle():
                # As for files: a long survey may be all that the engine has to do.
                self._shared.step()
            if header["kind"] == "opened":
                self._submission.opened(header["stated_seconds"])
            elif header["kind"] == "surveyed":
                self._submission.surveyed(read_survey(header))
            elif header["kind"] == "end":
                raise FrameError("a child came to an end without what it was asked for")
            self._shared.changed.notify_all()
