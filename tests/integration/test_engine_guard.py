"""Short windows that do harm: the engine catches them, leaves them, and says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.model import FakeModel, load_fake
from tests.fakes.speech import talk
from worker.speech.api import Options, Recognition
from worker.speech.config import EngineConfig
from worker.speech.engine.engine import Engine
from worker.speech.engine.guard import MIN_WINDOWS, Guard
from worker.speech.model.decoding import Decoded, Request
from worker.speech.windows import FULL_POSITIONS

PATIENCE = 60.0
BURSTS = 20
FILES = 4


class ShortSighted(FakeModel):
    """Hears well with 30 s of encoder. With less it loops, or hears other words."""

    def __init__(self, fault: str) -> None:
        super().__init__()
        self.fault = fault
        self.positions: list[int] = []

    def decode(
        self, requests: Sequence[Request], *, positions: int, beam_size: int, temperature: float
    ) -> list[Decoded]:
        self.positions += [positions] * len(requests)
        heard = super().decode(
            requests, positions=positions, beam_size=beam_size, temperature=temperature
        )
        return heard if positions == FULL_POSITIONS else [self._short(one) for one in heard]

    def _short(self, decoded: Decoded) -> Decoded:
        tokens: tuple[int, ...]
        if self.fault == "loops":
            tokens, text = (1, 2, 3, 4) * 8, "and so on and " * 8
        else:
            words = decoded.text.split()
            tokens, text = (1, 2), " ".join([words[0], "misunderstands everything", *words[2:]])
        return replace(decoded, text=text.strip(), tokens=tokens)


def run(
    model: FakeModel, tmp_path: Path, *, guard: Guard | None = None, **config: Any
) -> tuple[list[Recognition], Engine]:
    """Files of short windows, one after the other, so that what is learnt can be used."""
    settings: dict[str, Any] = {
        "model": "fake", "device": "cpu", "word_times": "none", "num_workers": 1,
        "max_wait": 0.05, "self_test": False,
    }  # fmt: skip
    engine = Engine(
        EngineConfig(**(settings | config)),
        load=lambda chosen: load_fake(chosen, model, windows=64, positions=16 * FULL_POSITIONS),
        guard=guard,
    )
    engine.start()
    try:
        path = talk(tmp_path / "calls.wav", bursts=BURSTS, seconds=2.5)
        results = [
            engine.submit(
                path, Options(language="en", carry_context="off"), name=f"file-{n}"
            ).future.result(PATIENCE)
            for n in range(FILES)
        ]
    finally:
        engine.stop()
    return results, engine


def texts(results: Sequence[Recognition]) -> list[list[str]]:
    return [[segment.text for segment in result.segments] for result in results]


@pytest.mark.timeout(180)
def test_an_engine_that_loops_in_short_windows_ends_in_full_mode(tmp_path: Path) -> None:
    full, _ = run(FakeModel(), tmp_path, context="full")
    model = ShortSighted("loops")
    found, engine = run(model, tmp_path, context="auto")
    assert texts(found) == texts(full), "what is committed is what full windows say"
    short = [at for at, positions in enumerate(model.positions) if positions < FULL_POSITIONS]
    assert len(short) <= MIN_WINDOWS + BURSTS, "it ends once that many were seen to fail"
    assert set(model.positions[short[-1] + 1 :]) == {FULL_POSITIONS}
    assert engine.stats.short_failed == len(short)
    assert any("Context went to full for 'en'" in note for note in found[-1].notes)
    assert not any("Context" in note for note in found[0].notes)


@pytest.mark.timeout(180)
def test_words_that_no_check_can_doubt_are_found_out_by_comparison(
    tmp_path: Path,
) -> None:
    # Eighty windows of three words are too few for the usual draw and bound.
    guard = Guard(first_share=1.0, min_words=60)
    model = ShortSighted("misses")
    found, engine = run(model, tmp_path, guard=guard, context="auto")
    assert engine.stats.audits > 0
    assert "Context went to full for 'en': short windows differ" in " ".join(found[-1].notes)
    full, _ = run(FakeModel(), tmp_path, context="full")
    assert texts(found)[-1] == texts(full)[-1], "files from then on are decoded in full"


@pytest.mark.timeout(180)
def test_adaptive_trusts_its_checks_alone(tmp_path: Path) -> None:
    model = ShortSighted("misses")
    found, engine = run(model, tmp_path, context="adaptive")
    assert engine.stats.audits == 0
    assert not any("Context" in note for result in found for note in result.notes)
    assert max(model.positions) < FULL_POSITIONS
