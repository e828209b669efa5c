"""What short windows report back, and which windows are short because of it."""

from __future__ import annotations

import pytest

from tests.fakes.engine_parts import Parts, decoded, end, parts, window
from worker.errors import ErrorCode, JobError
from worker.speech.engine.batcher import Item, Turn
from worker.speech.engine.context import LEAST_SECONDS
from worker.speech.engine.guard import MIN_WINDOWS, Guard
from worker.speech.windows import FULL_POSITIONS

SHORT = LEAST_SECONDS
"""Seconds of speech in a window that is decoded short."""

UNLIKELY = -5.0
"""A mean log-probability that no check lets pass."""


def positions(engine: Parts) -> set[int]:
    """Encoder lengths of the windows that wait, and takes them."""
    found = set()
    while (batch := engine.batch()) is not None:
        found.add(batch.key.positions)
    return found


def short_file(engine: Parts, windows: int, *, name: str = "job", language: str = "en") -> None:
    """A file of short windows, prepared to its end."""
    _, feed = engine.file(name=name, language=language)
    for index in range(windows):
        window(feed, index, SHORT)
    end(feed, 30.0 * windows)


def audit(engine: Parts) -> Item:
    """The audit that waits, taken as the device takes it."""
    batch = engine.batch()
    assert batch is not None
    (item,) = batch.items
    assert item.job in engine.feedback
    return item


def test_full_context_has_no_short_windows() -> None:
    engine = parts(context="full")
    assert not engine.feedback.allows("en")
    assert not engine.feedback.allows(None)
    short_file(engine, 3)
    assert {item.key.positions for item in engine.decode()} == {FULL_POSITIONS}
    assert engine.shared.stats.short_windows == 0


def test_adaptive_context_counts_but_asks_no_guard() -> None:
    engine = parts(context="adaptive", guard=Guard(first_share=1.0))
    for number in range(3):
        short_file(engine, MIN_WINDOWS, name=str(number))
        engine.decode(logprob=UNLIKELY)  # every short window fails
        while len(engine.shared.batcher):
            engine.decode()
    stats = engine.shared.stats
    assert (stats.short_windows, stats.short_failed) == (3 * MIN_WINDOWS, 3 * MIN_WINDOWS)
    assert stats.audits == 0
    assert engine.feedback.allows("en")
    assert engine.feedback.why_not("en") == ""


def test_failing_windows_switch_their_language_to_full_and_the_result_says_so() -> None:
    engine = parts(context="auto")
    file, feed = engine.file()
    for index in range(MIN_WINDOWS):
        window(feed, index, SHORT)
    assert positions_after_failing(engine) == {FULL_POSITIONS}
    assert not engine.feedback.allows("en")
    assert engine.feedback.allows("de")
    window(feed, MIN_WINDOWS, SHORT)
    assert {item.key.positions for item in engine.decode()} == {FULL_POSITIONS}, "en: full"
    short_file(engine, 1, name="other", language="de")
    assert positions(engine) != {FULL_POSITIONS}, "de: short"
    end(feed, 30.0 * MIN_WINDOWS)
    (note,) = file.future.result(0).notes
    assert note == engine.feedback.why_not("en")
    assert "Context went to full for 'en'" in note


def positions_after_failing(engine: Parts) -> set[int]:
    """Fails every short window that waits; the encoder lengths they are decoded at next."""
    tried = {item.key.positions for item in engine.decode(logprob=UNLIKELY)}
    assert max(tried) < FULL_POSITIONS
    return {item.key.positions for item in engine.decode()}


def test_a_short_window_may_be_audited_when_no_job_waits() -> None:
    guard = Guard(first_share=1.0)
    engine = parts(context="auto", guard=guard)
    short_file(engine, 1)
    engine.decode("seventeen eighteen nineteen")
    assert engine.shared.stats.short_windows == 1
    item = audit(engine)
    assert item.key.positions == FULL_POSITIONS
    assert item.turn is Turn.AUDIT
    request = engine.flow.request(item)
    assert request is not None
    assert (request.language, request.want_words) == ("en", False)
    # Its job is answered long since.
    assert item.job not in engine.shared.files
    with engine.flow.lock:
        engine.flow.decoded(item, decoded("seventeen eighteen twenty"), 0.5)
    assert engine.shared.stats.audits == 1
    assert guard.excess("en") == pytest.approx(100.0 / 3)
    assert engine.shared.stats.windows == 0, "the device loop counts windows, not this"


def test_an_audit_to_know_the_noise_comes_a_second_time() -> None:
    guard = Guard(first_share=4.0)  # REPEAT_SHARE of it: every window twice
    engine = parts(context="auto", guard=guard)
    short_file(engine, 1)
    engine.decode("seventeen eighteen nineteen")
    item = audit(engine)
    engine.feedback.audited(item, decoded("seventeen eighteen twenty"))
    again = audit(engine)
    engine.feedback.audited(again, decoded("seventeen eighteen nineteen"))
    assert engine.shared.stats.audits == 2
    assert len(engine.shared.batcher) == 0
    assert guard.excess("en") == pytest.approx(0.0), "full differs from itself as much"


def test_an_audit_that_fails_decides_nothing() -> None:
    guard = Guard(first_share=1.0, min_words=1)
    engine = parts(context="auto", guard=guard)
    short_file(engine, 1)
    engine.decode("seventeen eighteen nineteen")
    engine.feedback.audited(audit(engine), JobError(ErrorCode.ENGINE_FAILED, "no text"))
    assert engine.feedback.allows("en")
    assert len(engine.shared.batcher) == 0


def test_audits_that_disagree_switch_the_language_to_full() -> None:
    guard = Guard(first_share=1.0, min_words=3)
    engine = parts(context="auto", guard=guard)
    short_file(engine, 1)
    engine.decode("seventeen eighteen nineteen")
    engine.feedback.audited(audit(engine), decoded("four five six"))
    assert not engine.feedback.allows("en")
    assert "short windows differ from full ones" in engine.feedback.why_not("en")
    # What was decoded short before that is neither counted against it again nor audited.
    assert engine.feedback.ladder(SHORT, "en")[0].positions == FULL_POSITIONS
    assert engine.feedback.ladder(SHORT, "de")[0].positions < FULL_POSITIONS


def test_a_window_that_failed_is_not_audited() -> None:
    engine = parts(context="auto", guard=Guard(first_share=1.0))
    short_file(engine, 1)
    engine.decode(logprob=UNLIKELY)
    engine.decode()
    assert engine.shared.stats.short_failed == 1
    assert engine.batch() is None
