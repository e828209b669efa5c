"""What is wrong with cues, counted over talks in many languages."""

import pytest

from tests.cue_counts import Counts, Shown, count
from tests.spoken import segment, transcript, words_of
from tests.talks import LANGUAGES, talk
from worker.results.subtitles.cues import cues
from worker.results.transcript import SegmentResolution


def test_faults_are_counted() -> None:
    """The counting itself, on cues with every fault."""
    texts = ["Whoever", "says all of this in one second here", "is", "so fast.", "Well"]
    words = words_of(
        ("Whoever", 1.0, 1.5),
        ("says all of this in one second", 1.5, 2.2),
        ("here", 2.2, 2.5),
        ("is", 4.0, 4.1),
        ("so", 4.1, 4.3),
        ("fast.", 5.6, 6.0),
        ("Well", 7.5, 8.0),
    )
    whole = transcript(segment(1.0, 8.0, " ".join(texts), words))
    times = [(1.0, 1.5), (1.5, 2.5), (4.0, 4.1), (4.1, 6.0), (7.5, 8.0)]
    shown = [Shown(start, end, text) for (start, end), text in zip(times, texts, strict=True)]
    assert count(shown, whole) == Counts(
        cues=5,
        fast=1,
        fast_with_room=1,
        short=3,
        short_with_room=2,
        orphans=3,
        orphans_joinable=2,
        orphan_lines=0,
        over_pause=1,
        unpunctuated=2,
        unpunctuated_near=0,
    )
    for text, orphan_lines in (
        ("Whoever says all of this in one second\nhere is", 0),
        ("Whoever\nsays all of this in one second here is", 1),
    ):
        found = count([Shown(1.0, 4.1, text), *shown[3:]], whole)
        assert (found.orphan_lines, found.over_pause) == (orphan_lines, 2)


def test_a_word_is_no_orphan_that_a_pause_parts_from_the_others_of_its_sentence() -> None:
    words = words_of(("It", 0, 1), ("ends.", 3, 4), ("So", 4, 5), ("is", 7, 8), ("it.", 8, 9))
    whole = transcript(segment(0.0, 9.0, "It ends. So is it.", words))
    shown = [Shown(0, 1, "It"), Shown(3, 4, "ends."), Shown(4, 5, "So"), Shown(7, 9, "is it.")]
    found = count(shown, whole)
    assert (found.orphans, found.orphans_joinable) == (3, 0)


@pytest.mark.parametrize("resolution", ["sentence", "window"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_cues_of_a_talk_are_good_to_read(language: str, resolution: SegmentResolution) -> None:
    whole = talk(language, resolution)
    shown = [Shown(one.start_ms / 1000, one.end_ms / 1000, one.text) for one in cues(whole)]
    found = count(shown, whole)
    assert found.cues > 30
    assert found.over_pause == 0
    assert found.fast == found.short == 0
    assert found.orphans_joinable == found.orphan_lines == 0
    assert found.unpunctuated_near <= 0.05 * found.cues
