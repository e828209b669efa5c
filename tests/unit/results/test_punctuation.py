"""Whoever reads punctuation knows all of it."""

import pytest

from tests.spoken import segment, transcript
from worker.results.punctuation import CLAUSE_ENDS, CLOSERS, SENTENCE_ENDS
from worker.results.speech_times import shared_out
from worker.results.subtitles.pieces import Ending, pieces
from worker.results.wording.closing import removal

SIGNS = sorted(SENTENCE_ENDS | CLAUSE_ENDS)


@pytest.mark.parametrize("stop", sorted(SENTENCE_ENDS))
def test_what_ends_a_sentence_outlives_its_last_word(stop: str) -> None:
    text = f"so it was{stop} then"
    gone = removal(text, 6, 9)
    assert text[: gone.first] + gone.mark == f"so it{stop}"


@pytest.mark.parametrize("sign", SIGNS)
def test_a_pause_is_put_behind_a_sign(sign: str) -> None:
    for closer in ["", *CLOSERS]:
        text = f"He came by{sign}{closer} ".replace("  ", " ") + "It was late that evening"
        # At one even rate the pause would be two words later.
        starts, _ = shared_out(text, [(0.0, 1.0), (1.4, 2.4)])
        assert starts[text.index("It") - 1] < starts[text.index("It")] == 1.4


@pytest.mark.parametrize("sign", [sign for sign in SIGNS if sign != "."])
def test_a_clause_of_a_subtitle_ends_with_a_sign(sign: str) -> None:
    for closer in ("", ")", "\u201d"):
        whole = transcript(segment(0.0, 3.0, f"and so{sign}{closer} he said"))
        sentences = whole.model_copy(update={"segment_resolution": "sentence"})
        found = pieces(sentences, sentences.segments)
        assert [piece.ending for piece in found if sign in piece.text][-1] is Ending.CLAUSE
