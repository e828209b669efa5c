"""Words that are shown otherwise than they are said, and words that must not show (pure).

First phrases are shown as the job's vocabulary says, then its filter does its work on what is
shown: Amazon Transcribe's order. What the filter names must not show either way: a phrase that it
names is left as it was said, for the filter to find, unless more than it is shown otherwise.

Text and words of a segment stay in agreement. Where the words didn't spell the text, they fall out
of a segment whose text changes.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence

from worker.results.presentation import FilterMethod, Presentation
from worker.results.transcript import Segment
from worker.results.wording.closing import is_shown
from worker.results.wording.phrases import Match, Phrases
from worker.results.wording.spelled import Edit, Spelled, spelled

__all__ = ["MASK", "notes_of_tags", "worded"]

MASK = "***"
"""What stands in a masked word's place; Amazon Transcribe's."""


def worded(segments: Sequence[Segment], presentation: Presentation) -> tuple[Segment, ...]:
    """The segments as the job's vocabulary and its filter have them shown.

    A phrase may begin in one segment and end in the next, where no punctuation parts them: what it
    is shown as then stands in the first of them. A segment from which words were taken is left out
    if there is nothing else in it.

    Args:
        segments: in order, with ids from 0.
        presentation: what is asked.
    """
    if not (presentation.display_as or presentation.vocabulary_filter):
        return tuple(segments)
    hidden = Phrases(dict.fromkeys(presentation.vocabulary_filter, ""))
    before = [spelled(segment.text, segment.words) for segment in segments]
    lines, moved = _displayed(before, Phrases(presentation.display_as), hidden)
    lines, removed = _filtered(lines, hidden, presentation.vocabulary_filter_method)
    kept: list[Segment] = []
    for number, (segment, line) in enumerate(zip(segments, lines, strict=True)):
        if number not in moved | removed or is_shown(line.text):
            update = {"id": len(kept), "text": line.text, "words": line.words}
            kept.append(segment.model_copy(update=update))
    return tuple(kept)


def notes_of_tags(segments: Sequence[Segment], presentation: Presentation) -> tuple[str, ...]:
    """The note of a result in which tags were asked for and have no words to stand in."""
    asked = presentation.vocabulary_filter and presentation.vocabulary_filter_method == "tag"
    if not asked or not segments or any(segment.words for segment in segments):
        return ()
    return ("No word is tagged by 'vocabulary_filter': this result has no words, only text.",)


def _displayed(
    lines: Sequence[Spelled], shown: Phrases, hidden: Phrases
) -> tuple[list[Spelled], frozenset[int]]:
    """The lines with their phrases as they are shown; numbers of those that only lost words."""
    texts = [line.text for line in lines]
    edits: dict[int, list[Edit]] = defaultdict(list)
    moved: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for match in _unfiltered(shown.find(texts), hidden.find(texts)):
        number, first, end = match.places[0]
        edits[number].append(Edit(first, end, match.value))
        for number, first, end in match.places[1:]:
            moved[number].append((first, end))
    # What moved to a segment before stood at the beginning: edits don't change its place.
    displayed = [
        line.replaced(edits.get(number, ())).without(moved.get(number, ()))
        for number, line in enumerate(lines)
    ]
    return displayed, frozenset(moved.keys() - edits.keys())


def _unfiltered(shown: Sequence[Match], hidden: Sequence[Match]) -> list[Match]:
    """Of the matches to be shown otherwise those that the filter leaves to be.

    One goes where the filter names the same words, or some of them and others beside.
    """
    ends = [_end(match) for match in hidden]
    kept = []
    for match in shown:
        first, end = _first(match), _end(match)
        number = bisect_right(ends, first)
        stays = True
        while stays and number < len(hidden) and _first(hidden[number]) < end:
            inside = first <= _first(hidden[number]) and ends[number] <= end
            stays = inside and (first, end) != (_first(hidden[number]), ends[number])
            number += 1
        if stays:
            kept.append(match)
    return kept


def _first(match: Match) -> tuple[int, int]:
    return match.places[0].text, match.places[0].first


def _end(match: Match) -> tuple[int, int]:
    return match.places[-1].text, match.places[-1].end


def _filtered(
    lines: Sequence[Spelled], hidden: Phrases, method: FilterMethod
) -> tuple[list[Spelled], frozenset[int]]:
    """The lines with the filter's work done; numbers of those from which it removed something."""
    done = [line if line.is_spelled else _own_words(line, hidden, method) for line in lines]
    removed: set[int] = set()
    found = _found(done, hidden, [range(len(done))])
    while found:
        for number, places in found.items():
            match method:
                case "tag":
                    done[number] = done[number].tagged(places)
                case "mask":
                    done[number] = _masked(done[number], places)
                case "remove":
                    done[number] = done[number].without(places)
        if method != "remove":
            break
        removed.update(found)
        # What closes over removed words may be a phrase that must not show.
        texts = [line.text for line in done]
        found = _found(done, hidden, hidden.reached(texts, sorted(found)))
    return done, frozenset(removed)


def _found(
    lines: Sequence[Spelled], hidden: Phrases, where: Sequence[range]
) -> dict[int, list[tuple[int, int]]]:
    """Where the filter finds something, by the number of the text.

    Args:
        lines: all of them.
        hidden: what to find.
        where: the numbers of the lines that are searched, each range by itself.
    """
    found: dict[int, list[tuple[int, int]]] = {}
    for numbers in where:
        for match in hidden.find([lines[number].text for number in numbers]):
            for number, first, end in match.places:
                found.setdefault(numbers[number], []).append((first, end))
    return found


def _masked(line: Spelled, places: Sequence[tuple[int, int]]) -> Spelled:
    return line.replaced(
        [Edit(first, end, re.sub(r"\S+", MASK, line.text[first:end])) for first, end in places]
    )


def _own_words(line: Spelled, hidden: Phrases, method: FilterMethod) -> Spelled:
    """A line whose words are not its text's: they are searched by themselves."""
    texts = [word.word for word in line.words]
    of_words = spelled(" ".join(texts), line.words)
    if not hidden.find([of_words.text]) and not hidden.find(["".join(texts)]):
        return line
    if method != "tag":
        return Spelled(line.text)
    found = _found([of_words], hidden, [range(1)])
    return Spelled(line.text, of_words.tagged(found.get(0, ())).words)
