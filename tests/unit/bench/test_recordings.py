from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.bench.recordings import Piece, Recording, order, read_recordings, turn
from worker.errors import SettingsError

RATE = 16_000


def recording(*times: tuple[float, float]) -> Recording:
    pieces = [Piece(start, end, f"words {number}") for number, (start, end) in enumerate(times)]
    return Recording(Path("talk.wav"), tuple(pieces))


def test_pieces_are_cut_half_way_between_them() -> None:
    talk = recording((0.0, 1.0), (2.0, 3.0), (4.0, 5.0))
    samples = np.arange(6 * RATE, dtype=np.int32).astype(np.int16)
    turned = turn(talk, samples, [2, 0])
    assert turned.texts == ("words 2", "words 0")
    expected = np.concatenate([samples[int(3.5 * RATE) :], samples[: int(1.5 * RATE)]])
    assert np.array_equal(turned.samples, expected)


def test_pieces_that_overlap_are_cut_where_the_second_begins() -> None:
    samples = np.zeros(10 * RATE, dtype=np.int16)
    turned = turn(recording((0.0, 9.0), (2.0, 3.0), (4.0, 5.0)), samples, [1])
    assert len(turned.samples) == 1.5 * RATE  # from 2 s to half-way between 3 and 4 s


@st.composite
def talks(draw: st.DrawFn) -> Recording:
    steps = draw(st.lists(st.floats(0.1, 20.0), min_size=2, max_size=40))
    times = np.cumsum([0.0, *steps])
    return recording(*((float(a), float(b)) for a, b in zip(times[::2], times[1::2], strict=False)))


@given(talks(), st.floats(0.0, 1.0, exclude_max=True))
def test_a_whole_turn_has_every_piece_and_every_sample_once(talk: Recording, share: float) -> None:
    found = order(talk.pieces, share)
    assert sorted(found) == list(range(len(talk.pieces)))
    assert found == [(found[0] + step) % len(found) for step in range(len(found))]
    samples = np.zeros(round(talk.pieces[-1].end * 100) + 5, dtype=np.int16)
    assert len(turn(talk, np.repeat(samples, 160), found).samples) == 160 * len(samples)


@given(talks(), st.floats(0.0, 1.0, exclude_max=True), st.floats(0.1, 100.0))
def test_a_limit_ends_with_the_piece_that_reaches_it(
    talk: Recording, share: float, seconds: float
) -> None:
    found = order(talk.pieces, share, seconds)
    assert found == order(talk.pieces, share)[: len(found)]
    said = [talk.pieces[index].end - talk.pieces[index].start for index in found]
    assert sum(said[:-1]) < seconds
    assert sum(said) >= seconds - 1e-6 or len(found) == len(talk.pieces)


def test_it_begins_with_the_first_piece_after_the_share() -> None:
    talk = recording((0.0, 3.0), (4.0, 7.0), (8.0, 10.0))
    assert [order(talk.pieces, share)[0] for share in (0.0, 0.3, 0.5, 0.79, 0.81)] == [
        *(0, 1, 2, 2, 0),
    ]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("begin,end,text\n0,1,hello\n", "row 2: the columns start and end"),
        ("start,end,text\n0,soon,hello\n", "row 2: the columns start and end"),
        ("start,end,text\n0,1,hello\n2,1.5,there\n", "row 3: 2 to 1.5 s: a piece must end after"),
        ("start,end,text\n5,6,hello\n2,3,there\n", "row 3: 2 to 3 s"),
        ("start,end,text\n", "has no rows"),
    ],
)
def test_wrong_tables_say_what_is_wrong(tmp_path: Path, table: str, message: str) -> None:
    (tmp_path / "talk.flac").touch()
    (tmp_path / "talk.csv").write_text(table, encoding="utf-8")
    with pytest.raises(SettingsError, match=message):
        read_recordings(tmp_path)
