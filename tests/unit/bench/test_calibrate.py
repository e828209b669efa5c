"""The calibration: same windows, several encoder lengths, one table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.fakes.model import FakeModel
from tests.fakes.speech import talk
from worker.bench.calibrate import (
    MARGINS,
    PeerRun,
    Prepared,
    calibrate,
    check_clips,
    decode_all,
    memory_table,
    prepare_clips,
    to_markdown,
)
from worker.bench.loads import Clip
from worker.errors import SettingsError
from worker.speech.engine.context import adaptive_ladder
from worker.speech.engine.window import full_ladder
from worker.speech.model.decoding import Decoded, Request
from worker.speech.windows import FULL_POSITIONS

PROSE = "Printing differs from most arts in being comparatively modern, as everybody here knows."


class Lengths(FakeModel):
    """Notes the encoder length of every call."""

    def __init__(self) -> None:
        super().__init__()
        self.positions: list[int] = []

    @staticmethod
    def text_of(request: Request) -> str:
        """As long as it takes to say: slow texts of short windows are decoded again."""
        return f"{FakeModel.text_of(request)} {PROSE[: round(12 * request.seconds)]}"

    def decode(
        self, requests: Sequence[Request], *, positions: int, beam_size: int, temperature: float
    ) -> list[Decoded]:
        self.positions.append(positions)
        assert len(requests) * positions <= 2 * FULL_POSITIONS
        return super().decode(
            requests, positions=positions, beam_size=beam_size, temperature=temperature
        )


def windows(count: int, *, first: int = 1) -> list[Prepared]:
    """Windows of so many seconds, each one longer than the last."""
    rng = np.random.default_rng(0)
    sizes = [(n + first) * 16_000 for n in range(count)]
    return [
        Prepared(n, rng.random((80, size // 160), dtype=np.float32), size)
        for n, size in enumerate(sizes)
    ]


def test_texts_come_back_in_order_whatever_batches_they_shared() -> None:
    model = Lengths()
    texts, failed = decode_all(
        model,
        windows(6, first=3),
        adaptive_ladder,
        language="en",
        beam_size=5,
        batch_positions=2 * FULL_POSITIONS,
    )
    assert [text.split()[2] for text in texts] == [f"{n:.2f}" for n in range(3, 9)]
    assert failed == 0
    assert max(model.positions) < FULL_POSITIONS
    full, _ = decode_all(
        model,
        windows(6, first=3),
        full_ladder,
        language="en",
        beam_size=5,
        batch_positions=2 * FULL_POSITIONS,
    )
    assert full == texts


def test_every_margin_has_its_row(tmp_path: Path) -> None:
    clips = [
        Clip(talk(tmp_path / f"{n}.wav", bursts=2, seconds=2.0 + n / 2), "sound of words")
        for n in range(3)
    ]
    found, seconds = prepare_clips(clips, 80)
    assert len(found) == 6
    assert seconds == pytest.approx(sum(2 * (2.0 + n / 2 + 5.0) for n in range(3)))
    begun: list[str] = []
    rows = calibrate(
        FakeModel(),
        clips,
        language="en",
        beam_size=5,
        batch_positions=12_000,
        on_row=begun.append,
        peers=[PeerRun("another", 7.0, ["sound of words"] * 3)],
    )
    peer, full, *short = rows
    assert [row.name for row in rows] == ["another", *begun]
    assert len(short) == 2 * len(MARGINS)
    assert full.interval is None
    assert all(row.interval is not None and row.interval.difference == 0.0 for row in short)
    assert (peer.error_rate, peer.speed, peer.failed) == (0.0, seconds / 7.0, None)
    assert peer.interval is not None
    assert peer.interval.difference == pytest.approx(-full.error_rate)
    table = to_markdown(rows)
    assert table.count("\n|") == 2 + len(rows)
    assert "speech + 2 s, buckets" in table


@pytest.mark.parametrize("clips", [[Clip(Path("a.wav"), "words")], [Clip(Path("a.wav"), None)] * 2])
def test_what_can_not_be_compared_is_refused(clips: list[Clip]) -> None:
    with pytest.raises(SettingsError, match="at least two, and a transcripts"):
        check_clips(clips)


def test_memory_is_the_peak_over_what_was_there() -> None:
    readings = iter(
        [100 << 20, 100 << 20, 150 << 20, 150 << 20, 150 << 20, 150 << 20] + [400 << 20] * 50
    )
    table = memory_table(FakeModel(), windows=4, beam_size=5, read=lambda: next(readings))
    assert "| 6 s of speech | 4 x 750 |" in table
    assert "| 30 s | 4 x 1500 |" in table
    assert "not measured" in memory_table(FakeModel(), windows=4, beam_size=5, read=lambda: None)


def test_a_batch_that_does_not_fit_is_a_row_and_no_error() -> None:
    table = memory_table(FakeModel(fits=3), windows=4, beam_size=5, read=lambda: 0)
    assert table.count("failed: CUDA failed with error out of memory") == 2


class Stopping(FakeModel):
    """Can't write all that is said in a long window."""

    def _decoded(self, request: Request) -> Decoded:
        return replace(super()._decoded(request), stopped=request.seconds > 12.0)


def test_a_window_that_is_divided_meanwhile_has_the_text_of_all_its_parts() -> None:
    long = windows(20)[-1]
    texts, failed = decode_all(
        Stopping(),
        [long, *windows(5)],
        full_ladder,
        language="en",
        beam_size=5,
        batch_positions=2 * FULL_POSITIONS,
    )
    parts = len(texts[0].split()) // 3
    assert parts >= 2
    assert [len(text.split()) for text in texts[1:]] == [3] * 5
    assert failed == 0
