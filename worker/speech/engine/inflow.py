"""From the prepare pool into the engine: how much is held, and frames -> windows.

Prepared windows take memory until their words are known. So a file whose windows take too much is
paused in the pool until some are done; other files are prepared meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.errors import JobError, WorkerError
from worker.logs import get_logger
from worker.speech.config import QUEUED_SECONDS
from worker.speech.engine.file import File
from worker.speech.engine.flow import Flow
from worker.speech.engine.shared import Shared
from worker.speech.engine.whole_file import WholeFileStage
from worker.speech.prepare.frames import PrepareTask, read_samples, read_window
from worker.speech.windows import WINDOW_SECONDS

log = get_logger(__name__)

FILE_SHARE = 2
"""One file, its channels taken together, may hold at most one part in this many of the seconds that
may be held."""

MIN_HELD_SECONDS = 300.0
"""The least limit of held seconds: less would not hold one batch and the next."""

HELD_SECONDS = 1800.0
"""The limit where nobody has said and batches are small."""

HELD_BATCHES = 12
"""The limit in full batches. Windows are of several kinds (prompts, second attempts, lengths), each
with batches of its own, and most wait for the text before them: with eight, a simulated H100 had
batches filled to 0.8 by files of two hours, with twelve to 0.9. A window takes 1 MB as samples,
1.5 as features."""

CHECK_SECONDS = 1.0
"""How often a paused file looks for room, in case it missed a notification."""


def most_held_seconds(setting: float, batch_windows: int) -> float:
    """Seconds of speech in windows that may be held.

    Args:
        setting: `held_seconds`; 0 where nobody has said.
        batch_windows: of 30 s in a full batch.
    """
    by_batches = max(HELD_SECONDS, HELD_BATCHES * batch_windows * WINDOW_SECONDS)
    return max(MIN_HELD_SECONDS, setting or by_batches)


class Inflow:
    """Counts what is held and decides which file may hold more.

    Args:
        shared: the state of the engine.
        flow: takes the windows.
        most_held_seconds: seconds of speech in windows that may be held; see
            `most_held_seconds`.
        mels: feature bands that children compute; 0 if the model computes them.
        stages: what looks at whole files, in the order it is to be run.
        decoded: called with the lock when a file is decoded to its end.
    """

    def __init__(
        self,
        shared: Shared,
        flow: Flow,
        *,
        most_held_seconds: float,
        mels: int,
        stages: Sequence[WholeFileStage] = (),
        decoded: Callable[[File], None] = lambda _: None,
    ) -> None:
        self.flow = flow
        self.decoded = decoded
        self.mels = mels
        self.stages = tuple(stages)
        self._shared = shared
        self.most_held_seconds = most_held_seconds

    def feed(self, file: File, task: PrepareTask) -> FileFeed:
        """What the prepare pool is given for a file."""
        return FileFeed(self, self._shared, file, task)

    def held_seconds(self) -> float:
        """Seconds of audio inside; a file not opened yet counts as `QUEUED_SECONDS`."""
        with self._shared.changed:
            queued = len(self._shared.surveys) + sum(
                not file.state.windows and file.state.total is None
                for file in self._shared.files.values()
            )
            return queued * QUEUED_SECONDS + self._in_windows()

    def has_room(self, file: File) -> bool:
        """Whether another window of this file may be held."""
        with self._shared.changed:
            if file.gone:
                return True
            if file.state.wants_windows:
                # Until they are here, the room that the others take would never become free.
                return True
            files = self._shared.files.values()
            own = sum(each.state.held_seconds for each in files if each.group is file.group)
            return (
                self._in_windows() < self.most_held_seconds
                and own < self.most_held_seconds / FILE_SHARE
            )

    def wait_for_room(self, file: File) -> None:
        """Block the calling (pool) thread until its file `has_room` or the engine stops."""
        with self._shared.changed:
            while not self.has_room(file) and not self._shared.stopping:
                self._shared.changed.wait(CHECK_SECONDS)

    def expecting(self) -> bool:
        """Whether more windows are on their way, so that a batch may wait for them.

        Not if all room is taken: then they wait for the batch.
        """
        with self._shared.changed:
            return self._in_windows() < self.most_held_seconds and any(
                file.state.total is None for file in self._shared.files.values()
            )

    def _in_windows(self) -> float:
        return sum(file.state.held_seconds for file in self._shared.files.values())


class FileFeed:
    """One file as the prepare pool sees it; see `pool.Client`.

    Args:
        inflow: decides whether there is room, and runs whole-file stages.
        shared: the state of the engine.
        file: takes the windows.
        task: what the child is asked for.
    """

    def __init__(self, inflow: Inflow, shared: Shared, file: File, task: PrepareTask) -> None:
        self.task = task
        self._inflow = inflow
        self._flow = inflow.flow
        self._shared = shared
        self._file = file
        self._pieces: list[NDArray[np.float32]] = []

    def wanted(self) -> bool:
        """See `pool.Client`."""
        return not self._file.gone

    def has_room(self) -> bool:
        """See `pool.Client`."""
        return self._inflow.has_room(self._file)

    def wait_for_room(self) -> None:
        """See `pool.Client`."""
        self._inflow.wait_for_room(self._file)

    def failed(self, error: WorkerError) -> None:
        """See `pool.Client`."""
        self._flow.fail(self._file, error)

    def frame(self, header: dict[str, Any], payload: bytes) -> None:
        """See `pool.Client`; the kinds of frames are those of `prepare.frames`."""
        with self._shared.changed:
            if self._shared.device_idle():
                # Hours without speech give the device nothing to do: a frame is progress then.
                self._shared.step()
        kind = header["kind"]
        if kind == "samples":
            self._pieces.append(read_samples(payload))
            return
        if kind == "end" and self._inflow.stages:
            self._run_stages()
        with self._shared.changed:
            if self._file.gone:
                return
            if kind == "opened":
                self._file.state.stated_seconds = header["stated_seconds"]
            elif kind == "window":
                self._window(header, payload)
            elif kind == "end":
                self._end(header)
            self._flow.finish_if_done(self._file)
            self._shared.changed.notify_all()

    def _window(self, header: dict[str, Any], payload: bytes) -> None:
        window = read_window(header, payload, self._inflow.mels, samples=self.task.samples)
        self._flow.add_window(self._file, window.index, window.spans, window.sound, window.samples)

    def _end(self, header: dict[str, Any]) -> None:
        state = self._file.state
        self._flow.follow(
            self._file,
            state.end(header["audio_seconds"], header["seconds"], header["notes"], header["peak"]),
        )
        self._inflow.decoded(self._file)
        self._shared.stats.audio_seconds += self._file.group.longer(header["audio_seconds"])
        log.debug(
            "file.prepared",
            message="File decoded to its end",
            job_id=state.name,
            audio_seconds=header["audio_seconds"],
            windows=state.total,
        )

    def _run_stages(self) -> None:
        """Run the whole-file stages, on this pool thread; one that fails fails the file."""
        samples = np.concatenate(self._pieces) if self._pieces else np.zeros(0, dtype=np.float32)
        self._pieces.clear()
        with self._shared.changed:
            self._shared.whole_file += 1
        try:
            for stage in self._inflow.stages:
                began = time.monotonic()
                stage.run(self._file, samples)
                with self._shared.changed:
                    if self._file.gone:
                        return
                    self._file.state.spend(stage.name, time.monotonic() - began)
                    self._flow.follow(self._file, self._file.state.stage_done(stage.name))
        except JobError as error:
            self._flow.fail(self._file, error)
        finally:
            with self._shared.changed:
                self._shared.whole_file -= 1
