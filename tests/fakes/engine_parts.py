"""The parts of the optimized engine put together without a model, children or threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from worker.results.transcript import Word
from worker.speech.api import CarryContext, Options, Partial
from worker.speech.engine.batcher import Batch, Batcher, Item
from worker.speech.engine.feedback import Feedback
from worker.speech.engine.file import File
from worker.speech.engine.flow import Flow
from worker.speech.engine.guard import Guard
from worker.speech.engine.inflow import FileFeed, Inflow, most_held_seconds
from worker.speech.engine.shared import Shared
from worker.speech.engine.state import FileState
from worker.speech.engine.whole_file import WholeFileStage
from worker.speech.engine.word_router import WordRouter
from worker.speech.model.decoding import Decoded
from worker.speech.prepare.frames import PrepareTask, end_frame
from worker.speech.windows import SAMPLE_RATE

MELS = 80
FRAMES = 10


@dataclass(frozen=True)
class Parts:
    """An engine's inner half; the test plays the prepare pool and the device."""

    shared: Shared
    feedback: Feedback
    flow: Flow
    inflow: Inflow

    def file(
        self,
        *,
        name: str = "job",
        language: str | None = "en",
        resume: Partial | None = None,
        samples: bool = False,
        carry_context: CarryContext = "off",
        diarize: bool = False,
    ) -> tuple[File, FileFeed]:
        """A file in the engine, and its seat in the prepare pool."""
        state = FileState(
            name,
            Options(language=language, carry_context=carry_context, diarize=diarize),
            self.feedback.ladder,
            resume=resume,
            stages_left={stage.name for stage in self.inflow.stages},
        )
        file = File(self.flow, self.shared.new_number(), state, start_length=4, word_times="none")
        self.shared.files[file.number] = file
        done = tuple((w.index, w.start, w.end) for w in resume.windows) if resume else ()
        task = PrepareTask(str(Path(name)), done=done, samples=samples)
        return file, self.inflow.feed(file, task)

    def batch(self, limit: int = 64) -> Batch | None:
        """What the device would take now."""
        return self.shared.batcher.next_batch(0.0, lambda _: limit, expecting=False)

    def decode(self, text: str = "so it is", *, logprob: float = -0.2) -> list[Item]:
        """Decodes a batch: every window says `text`, and how sure it is."""
        batch = self.batch()
        assert batch is not None
        with self.flow.lock:
            for item in batch.items:
                self.flow.request(item)
                self.flow.decoded(item, decoded(text, logprob=logprob), 0.5)
        return list(batch.items)


def parts(
    *,
    context: Literal["full", "adaptive", "auto"] = "full",
    guard: Guard | None = None,
    held_seconds: float = 0.0,
    stages: Callable[[Flow], Sequence[WholeFileStage]] = lambda _: (),
) -> Parts:
    """An engine without word times."""
    shared = Shared(Batcher(max_wait=0.2))
    feedback = Feedback(context, guard or Guard(), shared)
    flow = Flow(shared, feedback, WordRouter("none", None, shared))
    most = most_held_seconds(held_seconds or 1.0, 0)
    inflow = Inflow(shared, flow, most_held_seconds=most, mels=MELS, stages=stages(flow))
    return Parts(shared, feedback, flow, inflow)


def window(
    feed: FileFeed, index: int, seconds: float, *, start: float | None = None, pcm: bytes = b""
) -> NDArray[np.float32]:
    """Sends the frame of a window, as a child does; its features."""
    begins = round((30.0 * index if start is None else start) * SAMPLE_RATE)
    features = np.full((MELS, FRAMES), float(index), dtype=np.float32)
    features[0] = np.arange(FRAMES)
    header = {
        "kind": "window",
        "index": index,
        "spans": [[begins, begins + round(seconds * SAMPLE_RATE)]],
        "speech": [[]],
        "frames": FRAMES,
    }
    feed.frame(header, features.tobytes() + pcm)
    return features


def end(feed: FileFeed, seconds: float) -> None:
    """Sends the frame of a file's end."""
    feed.frame(*end_frame(seconds, 1.0, {"decode": 0.25}))


def decoded(text: str, *, logprob: float = -0.2, language: str = "en") -> Decoded:
    """A window that says this."""
    # Its one word lasts to the end of any window, so that no window ends early.
    word = Word(word=text, start=0.0, end=30.0)
    tokens = tuple(crc32(part.encode()) % 50_000 for part in text.split())
    return Decoded(text, tokens, logprob, 0.0, language, (), (word,))
