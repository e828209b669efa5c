"""Windows of speech -> sentences, each with its times, its words and how sure the model was (pure).

Whatever a segment is, it ends where the speaker changes: between the last word of one and the first
of another, where a sentence ends, or else at the longest pause.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from worker.results.languages import written_in
from worker.results.runs import Cut, Run, runs
from worker.results.sentence_ends import is_ended, sentences
from worker.results.transcript import Segment, Task

__all__ = ["by_sentences", "by_speakers", "sentence_begins"]

_PAUSE = 2.0
"""Seconds of pause that end a sentence within a window, whatever its text says: the model doesn't
hear most of such a pause, and so writes no full stop for it. Twice the pause over which windows
aren't read as one, because the model read both sides together, and because times of words may be
wrong."""

_LONGEST = 30.0
"""Seconds of a sentence: what Whisper hears at once. So no segment is longer than a window."""

_LONGEST_OPEN = 15.0
"""Seconds of a text that no full stop ends. Sometimes Whisper writes none for minutes, and Thai has
none. Read aloud these are 40 words; few sentences have as many."""


def by_sentences(windows: Sequence[Segment], task: Task) -> tuple[Segment, ...]:
    """The sentences that were said in windows, each by one speaker.

    Together they have the text of the windows, but for white space between sentences, and each of
    their words once. They lie in the windows' times, in order and without overlap.

    Args:
        windows: in order, without overlap; each has text that neither begins nor ends with white
            space, and words in order, inside its times. Where speakers are told apart, words have
            theirs, and a window without words has the one who says most of it.
        task: what was asked; a translation is English.
    """
    found: list[Segment] = []
    for run in runs(windows, task):
        found += run.segments(_pieces(run, task), len(found))
    return tuple(found)


def by_speakers(windows: Sequence[Segment], task: Task) -> tuple[Segment, ...]:
    """The windows, each cut where the speaker changes; arguments as for `by_sentences`."""
    found: list[Segment] = []
    for window in windows:
        if len({word.speaker for word in window.words if word.speaker}) < 2:
            found.append(window.model_copy(update={"id": len(found)}))
            continue
        run = Run.of(window)
        begins = sorted({0, *_changes(run, sentence_begins(run, task), run.cuts())})
        pieces = [_stripped(run, *piece) for piece in pairwise([*begins, len(run.text)])]
        found += run.segments(pieces, len(found))
    return tuple(found)


def sentence_begins(run: Run, task: Task) -> set[int]:
    """The first character of each sentence, whoever says it and however long it is."""
    language = written_in(run.windows[0][1].language, task)
    begins = {first for first, _ in sentences(run.text, language) if not run.splits_a_word(first)}
    return begins | {cut.at for cut in run.cuts() if cut.pause > _PAUSE * 1000}


def _pieces(run: Run, task: Task) -> Iterator[tuple[int, int]]:
    """(first character, one past the last) of each sentence, or part of one that is too long."""
    cuts = run.cuts()
    begins = sentence_begins(run, task)
    begins.update(_changes(run, begins, cuts))
    for first, end in pairwise([*sorted(begins), len(run.text)]):
        longest = 1000 * (_LONGEST if is_ended(run.text[first:end]) else _LONGEST_OPEN)
        pending = [(first, end)]
        while pending:
            start, after = _stripped(run, *pending.pop())
            inside = cuts[bisect_right(cuts, (start, math.inf)) : bisect_left(cuts, (after,))]
            if inside and run.ends[after - 1] - run.begins(start, after) > longest:
                at = _best(run, start, after, inside)
                pending += [(at, after), (start, at)]
            else:
                yield start, after


def _changes(run: Run, begins: Iterable[int], cuts: Sequence[Cut]) -> Iterator[int]:
    """Where to cut because the speaker changes: once between each two who follow each other.

    What is said between them, and nobody is heard to say, stays with one of them.

    Args:
        run: the text.
        begins: where sentences begin; the cut is there if it can be.
        cuts: of the run.
    """
    ordered = sorted(begins)
    for (_, after, speaker), (first, _, following) in pairwise(run.spoken):
        if speaker == following:
            continue
        places = ordered[bisect_left(ordered, after) : bisect_right(ordered, first)] or [
            cut.at
            for cut in cuts[bisect_left(cuts, (after,)) : bisect_right(cuts, (first, math.inf))]
        ]
        yield max(places, key=run.pause_at)


def _best(run: Run, start: int, after: int, cuts: Sequence[Cut]) -> int:
    """Where to cut what is too long: at the longest pause of its middle half."""
    begins, ends = run.starts[start], run.ends[after - 1]

    def away(cut: Cut) -> float:
        """Milliseconds from the middle."""
        return abs(run.starts[cut.at] - (begins + ends) / 2)

    inner = [cut for cut in cuts if away(cut) <= (ends - begins) / 4]
    if not inner:
        return min(cuts, key=away).at
    return max(inner, key=lambda cut: (cut.pause, -away(cut))).at


def _stripped(run: Run, first: int, after: int) -> tuple[int, int]:
    """A piece without the white space at its end."""
    return first, first + len(run.text[first:after].rstrip())
