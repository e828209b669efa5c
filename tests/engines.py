"""The real engine with real children around a model that fails on demand, and waiting for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.fakes.model import FakeModel, load_fake
from worker.errors import JobError
from worker.speech.api import Options, Recognition, Submission
from worker.speech.config import EngineConfig
from worker.speech.engine.diarizing import MakeProcess, process_for
from worker.speech.engine.engine import Engine

PATIENCE = 60.0
"""Seconds for what takes a tenth of one on a machine that has nothing else to do."""

ENGLISH = Options(language="en")

Make = Callable[..., Engine]
"""Takes (model, windows=, speakers=, fields of `EngineConfig`) and gives a started engine."""


@contextmanager
def making_engines() -> Iterator[Make]:
    """Makes engines, and stops them all at the end."""
    made: list[Engine] = []

    def make(
        model: FakeModel, *, windows: int = 8, speakers: MakeProcess = process_for, **config: Any
    ) -> Engine:
        settings: dict[str, Any] = {
            "model": "fake", "device": "cpu", "word_times": "none", "context": "full",
            "num_workers": 1, "max_wait": 0.2, "self_test": False,
        }  # fmt: skip
        engine = Engine(
            EngineConfig(**(settings | config)),
            load=lambda chosen: load_fake(chosen, model, windows=windows),
            speakers=speakers,
        )
        made.append(engine)
        engine.start()
        return engine

    yield make
    for engine in made:
        engine.stop()
        assert engine.children() == []


def until(condition: Callable[[], object]) -> None:
    """Waits for something to come about."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.01)


def result(submission: Submission) -> Recognition:
    """What came of a file."""
    return submission.future.result(PATIENCE)


def error(submission: Submission) -> JobError:
    """What is wrong with a file."""
    found = submission.future.exception(PATIENCE)
    assert isinstance(found, JobError)
    return found
