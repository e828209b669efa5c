"""A window in which the language changes is cut into parts that are all of it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from worker.speech.engine.division import cut
from worker.speech.engine.language_parts import Part, parts
from worker.speech.model.detection import pieces
from worker.speech.windows import Span


def loud(seconds: float, *pauses: tuple[float, float]) -> NDArray[np.float32]:
    """Features that are low in the pauses: float32 [80, frames]."""
    random = np.random.default_rng(0)
    features = random.uniform(0.5, 1.5, (80, round(seconds * 100))).astype(np.float32)
    for start, end in pauses:
        features[:, round(start * 100) : round(end * 100)] = -1.0
    return features


def spans_of(*seconds: float) -> tuple[Span, ...]:
    """Stretches of speech with pauses between that are left out."""
    found: list[Span] = []
    for length in seconds:
        start = found[-1].end + 20_000 if found else 0
        found.append(Span(start, start + round(length * 16_000)))
    return tuple(found)


def test_a_window_is_cut_where_a_pause_was_left_out_if_that_is_near() -> None:
    # The pause began before 5 s, and what was left of it ends after.
    features = loud(12.0, (4.6, 4.95), (5.0, 5.3))
    found = parts(("de", "fr", "fr"), spans_of(5.0, 7.0), features)
    assert found[0].end == 500
    features = loud(12.0, (3.0, 3.4))
    found = parts(("de", "fr", "fr"), spans_of(5.0, 7.0), features)
    assert 300 <= found[0].end <= 340


def test_a_window_is_cut_in_the_pause_near_the_change() -> None:
    features = loud(12.0, (1.0, 1.3), (5.1, 5.5), (10.0, 10.4))
    found = parts(("de", "fr", "fr"), spans_of(12.0), features)
    assert [part.language for part in found] == ["de", "fr"]
    assert 510 <= found[0].end <= 550
    assert found[0] == Part("de", 0, found[1].start)
    assert found[1].end == 1200


def test_a_moment_inside_a_word_is_no_pause() -> None:
    features = loud(12.0, (3.0, 3.05), (5.0, 5.3))
    found = parts(("de", "fr", "fr"), spans_of(12.0), features)
    assert 500 <= found[0].end <= 530


def test_as_many_languages_as_pieces_are_needed() -> None:
    with pytest.raises(ValueError, match="2 languages for 3 pieces"):
        parts(("de", "fr"), spans_of(12.0), loud(12.0))


@given(st.floats(8.0, 30.0), st.data())
def test_parts_follow_each_other_and_are_all_of_the_window(
    seconds: float, data: st.DataObject
) -> None:
    count = len(pieces(seconds))
    languages = data.draw(
        st.lists(st.sampled_from(("de", "en", "fr")), min_size=count, max_size=count)
    )
    features = loud(seconds)
    found = parts(languages, spans_of(seconds), features)
    assert found[0].start == 0
    assert found[-1].end == features.shape[1]
    for one, following in itertools.pairwise(found):
        assert one.end == following.start
        assert one.language != following.language
    assert all(part.end - part.start >= 199 for part in found)


spans = st.lists(st.tuples(st.integers(0, 40_000), st.integers(1, 80_000)), min_size=1, max_size=5)


@given(spans, st.floats(0.0, 1.0))
def test_a_cut_keeps_every_sample_in_its_place(pairs: list[tuple[int, int]], share: float) -> None:
    made: list[Span] = []
    at = 0
    for gap, length in pairs:
        made.append(Span(at + gap, at + gap + length, pause=gap))
        at += gap + length
    samples = sum(span.length for span in made)
    frame = int(share * samples / 160)
    before, after = cut(made, frame)

    def places(of: tuple[Span, ...] | list[Span]) -> list[int]:
        return [place for span in of for place in range(span.start, span.end, 997)]

    assert sum(span.length for span in before) == min(frame * 160, samples)
    assert sum(span.length for span in (*before, *after)) == samples
    joined = [span for span in (*before, *after) if span.length]
    assert len(joined) in (len(made), len(made) + 1)
    covered = np.zeros(at, dtype=bool)
    for span in joined:
        assert not covered[span.start : span.end].any()
        covered[span.start : span.end] = True
    assert all(covered[place] for place in places(made))
