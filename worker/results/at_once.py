"""Words in whose time two are heard: whoever says the words beside them says them too (pure).

Who is louder at a moment says little of a word that is heard beside another voice. Whose sentence
it is says more: few sentences are begun by one and ended by another, and a change of speakers in
overlapped speech would tear them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise

from worker.results.runs import runs
from worker.results.sentences import sentence_begins
from worker.results.transcript import Segment, Task, Word

__all__ = ["by_their_sentences"]


def by_their_sentences(
    windows: Sequence[Segment], task: Task, heard: Callable[[Word], frozenset[str]]
) -> tuple[Segment, ...]:
    """The windows; words in whose time two are heard have the speaker of their sentence.

    That is who says the next word in it that one says alone, on either side, if that speaker is
    heard in all words between. Where the two sides have two speakers, and where neither has any, a
    word stays with whom it had. So no word gets a speaker who isn't heard in it, and sentences have
    no more changes of speaker than before.

    Args:
        windows: as for `sentences.by_sentences`, with the speakers of their words.
        task: what was asked; a translation is English.
        heard: all who are heard in a word.
    """
    told: list[Word] = []
    for run in runs(windows, task):
        places = [place for place, _ in run.words]
        edges = [bisect_left(places, first) for first in sorted(sentence_begins(run, task))]
        for first, after in pairwise([*edges, len(places)]):
            told += _told([word for _, word in run.words[first:after]], heard)
    left = iter(told)
    return tuple(
        window.model_copy(update={"words": tuple(next(left) for _ in window.words)})
        for window in windows
    )


def _told(words: Sequence[Word], heard: Callable[[Word], frozenset[str]]) -> Iterator[Word]:
    """The words of one sentence, with their speakers."""
    speakers = [heard(word) for word in words]
    said = list(zip(words, speakers, strict=True))
    before = _reaching(said)
    after = reversed(list(_reaching(reversed(said))))
    for word, its, *beside in zip(words, speakers, before, after, strict=True):
        known = {*beside} - {None}
        if len(its) > 1 and len(known) == 1:
            yield word.model_copy(update={"speaker": known.pop()})
        else:
            yield word


def _reaching(said: Iterable[tuple[Word, frozenset[str]]]) -> Iterator[str | None]:
    """For each word who says the last one before that is said alone, as far as that one is heard.

    Args:
        said: words, each with all who are heard in it.
    """
    reaching: str | None = None
    for word, speakers in said:
        if len(speakers) < 2:
            reaching = word.speaker or reaching
        elif reaching not in speakers:
            reaching = None
        yield reaching
