"""This machine's answers, as far as a machine without a card has them."""

from __future__ import annotations

from pathlib import Path

from tests.fakes.tiny_model import tiny_model
from worker.bench.gpu_test.checks import Outcome
from worker.bench.gpu_test.gpu import ThisMachine
from worker.speech.config import EngineConfig


def test_without_a_self_test_texts_go_unchecked(tmp_path: Path) -> None:
    """A model of random weights can be timed: it recognises nothing."""
    config = EngineConfig(
        model=str(tiny_model(tmp_path / "tiny")), device="cpu", beam_size=1, self_test=False
    )
    session = ThisMachine(config).load("cpu")
    assert session.self_test == (Outcome.SKIPPED, "self_test is off: texts are not checked")
    run = session.run(2)
    assert (run.windows, run.problem) == (2, "")
