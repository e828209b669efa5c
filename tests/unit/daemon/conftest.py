from __future__ import annotations

import pytest

from worker.daemon.metrics import Metrics
from worker.speech.api import EngineStats


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def stats() -> EngineStats:
    return EngineStats()


@pytest.fixture
def counted(stats: EngineStats, clock: Clock) -> Metrics:
    return Metrics(stats=lambda: stats, held=lambda: (3, 125.0), price_per_hour=0.5, clock=clock)
