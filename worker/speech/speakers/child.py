"""A child process that tells speakers apart, in one file at a time.

It keeps out of the main process what the models need and do: a gigabyte of imports, memory that is
not given back, prints, a switch of TF32 for the whole process, the unpickling of models. The parent
hands in a file of samples and reads frames back; see `frames` for the protocol and `attempts` for
the work.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from worker.errors import ErrorCode, JobError, MachineError
from worker.speech.children.framing import READY, TAKEN, error_frame, read_frame, write_frame
from worker.speech.children.rules import begin, let_others_first, limit_memory
from worker.speech.speakers.attempts import CPU, Attempts, Finder, Load
from worker.speech.speakers.frames import (
    SpeakersConfig,
    found_frame,
    progress_frame,
    read_config,
    read_task,
)

__all__ = ["main", "serve"]

NICENESS = 19
"""On the CPU, the least share of a core there is: text comes first, and what it leaves idle is
enough. Not before the models are loaded, which takes seconds, once: the start of a worker, or the
first file, would wait for a core that another program has."""

CHUNKS = 8
"""Chunks of audio that the models look at in one call. On a CPU no number is faster: 32 chunks took
the segmentation 1.5 s of CPU one at a time, 1.5 s by 8, 1.7 s and 0.2 GB more all at once. Cards
weren't measured; where 8 are too many for the memory, they are halved."""

KILLED_FIRST = 500
"""Added to the kernel's score of what to kill where the machine's memory ends (proc(5), at
"oom_score_adj"): this process before its parent, which holds every job."""

PROGRESS_SECONDS = 1.0
"""Progress is told so often at the most; calls of the models may be over in milliseconds."""


def main() -> None:
    """The child's entry point."""
    requests, replies = begin()
    limit_memory(0)  # none: torch maps more than it takes. No core file either.
    _let_be_killed_first()
    # A broken pipe: the parent is gone, and this process with it.
    with contextlib.suppress(BrokenPipeError):
        serve(requests, replies)


def serve(
    requests: BinaryIO,
    replies: BinaryIO,
    loader: Callable[[SpeakersConfig], Load] | None = None,
) -> None:
    """Answers requests until the parent closes the pipe. The first frame is the configuration.

    Args:
        requests: where they come from.
        replies: where they are answered.
        loader: says how models are loaded; replaced in tests.
    """
    first = read_frame(requests.read)
    if first is None:
        return
    config = read_config(first[0])
    try:
        attempts = Attempts(config.device, (loader or _loader)(config))
        attempts.load()
    except (JobError, MachineError) as error:
        write_frame(replies, *error_frame(ErrorCode.DIARIZATION_NOT_AVAILABLE, str(error)))
        return
    write_frame(replies, *READY)
    notes = (config.chosen.note,) if config.chosen.note else ()
    while (request := read_frame(requests.read)) is not None:
        task = read_task(request[0])
        write_frame(replies, *TAKEN)
        try:
            found = attempts.find(task, _Progress(replies))
        except JobError as error:
            write_frame(replies, *error_frame(error.code, error.message))
        except MachineError as error:
            write_frame(replies, *error_frame(ErrorCode.DIARIZATION_NOT_AVAILABLE, str(error)))
        else:
            write_frame(replies, *found_frame(found, notes))


class _Progress:
    """Sends progress, but not each bit of it."""

    def __init__(self, replies: BinaryIO) -> None:
        self._replies = replies
        self._told = -PROGRESS_SECONDS

    def __call__(self, share: float) -> None:
        now = time.monotonic()
        if now - self._told >= PROGRESS_SECONDS:
            self._told = now
            write_frame(self._replies, *progress_frame(share))


def _loader(config: SpeakersConfig) -> Load:
    """Loads the real models."""

    def load(device: str) -> Finder:
        # Seconds of imports.
        import torch

        from worker.speech.speakers.diarizer import Diarizer
        from worker.speech.speakers.loading import load_pipeline

        if device != CPU:
            # What it takes beyond what was kept free for it, it would take from batches of text.
            total = torch.cuda.get_device_properties(device).total_memory
            torch.cuda.set_per_process_memory_fraction(min(1.0, config.card_bytes / total), device)
            torch.cuda.empty_cache()
        pipeline = load_pipeline(config.chosen, device)
        if device == CPU:
            let_others_first(NICENESS)
        return Diarizer(pipeline, name=config.chosen.name, device=device, chunks_a_call=CHUNKS)

    return load


def _let_be_killed_first() -> None:
    with contextlib.suppress(OSError):  # not Linux, or not allowed: it is a wish
        Path("/proc/self/oom_score_adj").write_text(str(KILLED_FIRST))


if __name__ == "__main__":
    main()
