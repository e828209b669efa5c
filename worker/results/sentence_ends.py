"""Where sentences end in a text of a language (pure).

`sentencex` knows the signs that end sentences in the world's scripts, and the abbreviations of
thirty languages. Three things are done about what it says. It takes what stands in quotation marks
or brackets for one piece, and one stray mark would join minutes of speech: so it doesn't get to
see them. Its lists of abbreviations were made for encyclopedias and hold words that people end
sentences with (Italian `so`, `fa`, `via`): so a word in small letters before a capital is believed
to be one only where it usually stands before a name (`abbreviations.py`). And what follows an end
has a say.
"""

# ruff: noqa: RUF001  # full-width signs

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

from worker.results.abbreviations import is_abbreviation

__all__ = ["is_ended", "sentences"]

_MARKS = frozenset({"Ps", "Pe", "Pi", "Pf"})
"""Unicode's categories of brackets and quotation marks: opening, closing, and those that open in
one language and close in another."""

_LONE_APOSTROPHE = re.compile(r"(?<!\w)'|'(?!\w)")

_SEEN_OTHERWISE = {
    "\N{RIGHT SINGLE QUOTATION MARK}": "'",
    "\N{KHMER SIGN KHAN}": "\N{DEVANAGARI DANDA}",
    "\N{KHMER SIGN BARIYOOSAN}": "\N{DEVANAGARI DANDA}",
    "\N{MYANMAR SIGN LITTLE SECTION}": ",",
    '"': " ",
    "`": " ",
}
"""Among them two full stops that sentencex doesn't know, and a comma that it takes for one."""

_STOP = re.compile(r"[.…](?=[^\w\s.…]*\s)")
"""Where a sentence may end although sentencex says nothing."""

_STRETCH = re.compile(r".{4000}.{0,4000}?(?<=\w)(?=\s+\w|[\u3040-\ua4cf])|.{1,8000}", re.DOTALL)
"""What sentencex is given at a time, cut between two words: at each stop it looks back for a space,
and a long Chinese text has none."""

_LOOK_BACK = 40
"""Characters before a stop that are looked at: an abbreviation, or a number and the word before."""

_ENGLISH_I = re.compile(r"I\b")
"""A capital that doesn't begin a sentence: `Well... I don't know.`"""

_SIGNS = re.compile(r"^\W+|[.…]+$")
"""What is no part of a word."""

_FOLLOWER = re.compile(r"(?:['\u2019][stn]\s)?\w")
"""What comes next, but for signs. A Dutch sentence may begin with `'s Avonds` or `'t Is`."""

_ELLIPSIS = re.compile(r"(?<![.…!?؟！？。])[.…]*(?:\.\.|…)$")
"""Such as is the only stop there."""

_EAST_ASIAN = re.compile(r"[\u3040-\u9fff]")
"""Kana and Chinese characters."""

_SYLLABLE = re.compile(r"[\u3040-\u9fff\uac00-\ud7a3]")
"""Those and Korean: one of them may be a word, `네.`"""

_THAI = re.compile(r"[\u0e00-\u0e7f]")

_LAUGHTER = re.compile(r"[(（](?:爆?笑\w?|[泣汗]|拍手)[)）]")
"""Japanese: what the speaker or the audience does after a sentence."""

_PARTICLE = re.compile(r"って|と[いか思聞言]")
"""Japanese, after a quotation without marks: `どうした?って聞いた`."""

_SAID = re.compile(r"\w{1,3}(?<!知)[说說问問喊答道](?=\W)")
"""Chinese, after a quotation: `“你好！”他说。`"""

_NOUNS_HAVE_CAPITALS = frozenset({"de", "lb"})
"""Whisper codes. There a capital after an abbreviation says nothing: `inkl. Mehrwertsteuer`."""

_ORDINAL = re.compile(
    r"\b(?:[ai]m|vom|[zb](?:um|eim)|d(?:as|er|ie|en|em|es)|(?:[mds]?ein|jed|dies)e[mnrs]?)"
    r" \d{1,2}\.$",
    re.IGNORECASE,
)
"""German: `das 19. Jahrhundert`. Elsewhere a small letter follows, which says enough."""


def sentences(text: str, language: str | None) -> list[tuple[int, int]]:
    """The sentences of a text.

    Args:
        text: any; of one language.
        language: Whisper code of the language it is written in (a translation is in English);
            None where not known. A language without rules of its own has those of its relatives,
            or English ones.

    Returns:
        (first character, one past the last) of each sentence, in order. Nothing but white space is
        outside of them, and none begins or ends with any.
    """
    found: list[tuple[int, int]] = []
    start = looked = _after_space(text, 0)
    for end in _ends(text, language or "en"):
        says = _FOLLOWER.search(text, looked, end)
        looked = end
        if says:  # signs alone are no sentence
            found.append((start, end))
            start = _after_space(text, end)
    left = text[start:].rstrip()
    if left and found and not _FOLLOWER.search(left):
        found[-1] = (found[-1][0], start + len(left))
    elif left:
        found.append((start, start + len(left)))
    return found


def is_ended(text: str) -> bool:
    """Whether a sign ends the last sentence of a text, maybe with quotation marks after it."""
    from sentencex import get_sentence_boundaries

    seen = _seen(text[-_LOOK_BACK:]).rstrip()
    pieces = get_sentence_boundaries("en", seen)
    return bool(pieces) and (pieces[-1]["boundary_symbol"] is not None or seen.endswith("…"))


def _after_space(text: str, at: int) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return at


class _Place(NamedTuple):
    """Where a sentence may end.

    Attributes:
        text: the whole.
        first: the first letter or digit of the sentence that ends here, if it does.
        start: the first character after the last such place, whether a sentence ended there or not.
        stop: one past the stop.
        end: one past the quotation marks and brackets that are closed there.
        next: the first letter or digit after that.
    """

    text: str
    first: int
    start: int
    stop: int
    end: int
    next: int

    @property
    def before(self) -> str:
        """What stands before the end of the stop; of a long text only as much as is looked at."""
        return self.text[max(self.start, self.stop - _LOOK_BACK) : self.stop]

    @property
    def word(self) -> str:
        """The word before the stop."""
        return _SIGNS.sub("", self.before.rsplit(None, 1)[-1])

    @property
    def is_one_word(self) -> bool:
        """Whether that word is all that stands since the last such place."""
        return self.stop - self.start < _LOOK_BACK and len(self.before.split()) == 1

    @property
    def is_in_a_word(self) -> bool:
        """Whether it stands where a text has no space though its sentences are parted by some."""
        return not self.text[self.end].isspace() and not _needs_no_space(self)

    @property
    def is_ellipsis(self) -> bool:
        """Whether an ellipsis is all that may end a sentence here."""
        return _ELLIPSIS.search(self.before) is not None

    @property
    def begins_small(self) -> bool:
        """Whether what would end here begins with a small letter."""
        return self.first < self.stop and _is_small(self.text[self.first])


def _ends(text: str, language: str) -> Iterator[int]:
    """Where sentences end before the last one: one past the last character of each."""
    seen = _seen(text)
    told = set(_told(seen, language))
    start = 0
    follower = _FOLLOWER.search(text)
    first = follower.end() - 1 if follower else 0
    for stop in sorted(told.union(match.end() for match in _STOP.finditer(seen))):
        if stop <= start:
            continue
        end = _closed(text, stop)
        if follower is None or follower.start() < end:
            follower = _FOLLOWER.search(text, end)
        if follower is None:
            return
        place = _Place(text, first, start, stop, end, follower.end() - 1)
        if place.is_in_a_word:
            continue
        if place.is_ellipsis:
            is_end = _ends_with_ellipsis(place, language)
        elif stop in told:
            is_end = not _goes_on(place, language)
        elif _is_overlooked(place, language):
            is_end = True
        else:
            continue
        start = _after_space(text, end)
        if is_end:
            first = place.next
            yield end


def _seen(text: str) -> str:
    """The text as sentencex gets to see it: as long, without brackets and quotation marks."""
    table: dict[int, str] = {}
    for character in set(text):
        category = unicodedata.category(character)
        if category in _MARKS or character.isspace():
            table[ord(character)] = " "
        elif category == "Cs":  # can't be passed
            table[ord(character)] = "\N{REPLACEMENT CHARACTER}"
    table |= {ord(character): shown for character, shown in _SEEN_OTHERWISE.items()}
    return _LONE_APOSTROPHE.sub(" ", text.translate(table))


def _closed(text: str, stop: int) -> int:
    """Where a sentence ends: after the quotation marks and brackets that are closed at its stop.

    French sets its marks off with a space.
    """
    laughter = _LAUGHTER.match(text, stop)
    end = laughter.end() if laughter else stop
    while True:
        after = _after_space(text, end)
        category = unicodedata.category(text[after]) if after < len(text) else ""
        opens = text[after + 1 : after + 2].isalnum()
        if after > end:
            closes = category == "Pf" and not opens
        elif category == "Pi":
            closes = not opens
        else:
            closes = category in ("Pe", "Pf") or text[after : after + 1] in ("'", '"')
        if not closes:
            return end
        end = after + 1


def _told(seen: str, language: str) -> Iterator[int]:
    """Where sentencex ends sentences: one past the stop."""
    from sentencex import get_sentence_boundaries

    for stretch in _STRETCH.finditer(seen):
        for piece in get_sentence_boundaries(language, stretch.group()):
            length = len(piece["text"].rstrip())
            stop = stretch.start() + piece["start_index"] + length
            if length and stop < stretch.end():
                yield stop


def _needs_no_space(place: _Place) -> bool:
    """Whether a sentence may end where no white space follows.

    A full stop within `3.5`, `Node.js` or `أ.ف.ب` ends none. Scripts whose letters have no case
    often write no spaces.
    """
    stop, next_ = place.text[place.stop - 1], place.text[place.next]
    if _is_quoted(place):
        return False
    if stop in ".…":
        return bool(_EAST_ASIAN.match(place.word[-1:]) and _EAST_ASIAN.match(next_))
    return not stop.isascii() or unicodedata.category(next_) == "Lo"


def _is_quoted(place: _Place) -> bool:
    """Whether a Japanese or Chinese quotation ends here, and its sentence goes on.

    Japanese puts a particle after it: `「はい。」と言った`. Without
    marks only those count that begin hardly a sentence.
    """
    text, end = place.text, place.end
    if end == place.stop:
        return text[end - 1] not in "。." and _PARTICLE.match(text, end) is not None
    if _SAID.match(text, end):
        return True
    follows = place.next == end and text[end - 1] not in ")）"
    return follows and unicodedata.name(text[end], "").startswith("HIRAGANA")


def _ends_with_ellipsis(place: _Place, language: str) -> bool:
    """Whether an ellipsis ends a sentence: only a capital tells."""
    if language == "en" and _ENGLISH_I.match(place.text, place.next):
        return False
    return place.text[place.next].isupper()


def _goes_on(place: _Place, language: str) -> bool:
    """Whether a sentence goes on where sentencex ends it."""
    next_ = place.text[place.next]
    if _is_small(next_) and not place.begins_small:
        return True  # UAX #29, SB8; unless all of it is in small letters
    before, word = place.before, place.word
    if not before.endswith("."):
        return False
    if word and not (word[-1].isdigit() or _has_case(word[-1])) and _is_caseless_abbreviation(word):
        return True
    if place.is_one_word and (_is_short_number(word) or _is_dotted(word) or _is_initial(word)):
        return True  # `3. Bölüm`, `T.ex. Sverige`, `J. Dupont`
    if language in _NOUNS_HAVE_CAPITALS and _ORDINAL.search(before):
        return True
    return is_abbreviation(word, language, before_number=next_.isdigit())


def _is_overlooked(place: _Place, language: str) -> bool:
    """Whether a sentence ends where sentencex doesn't end it."""
    if not place.text[place.next].isupper():
        return False
    word = place.word
    if word.casefold() == "no" or (language == "en" and word == "I" and not place.is_one_word):
        return True  # in its lists for `No. 5` and for initials
    if language in _NOUNS_HAVE_CAPITALS or len(word) < 2 or not word.isalpha():
        return False
    return word.islower() and not is_abbreviation(word, language, before_number=False)


def _has_case(character: str) -> bool:
    """Whether it is a letter with a capital to begin a sentence with; Georgian has none."""
    return character.lower() != character.title()


def _is_small(character: str) -> bool:
    return character != character.title()


def _is_caseless_abbreviation(word: str) -> bool:
    """Whether a full stop after a word of a script without capitals ends no sentence.

    Thai ends none with it. Elsewhere a word of one letter is an initial.
    """
    if _THAI.match(word[-1]) or _is_dotted(word):
        return True
    return len(word) == 1 and word.isalpha() and not _SYLLABLE.match(word)


def _is_dotted(word: str) -> bool:
    """Whether letters in it stand for words: `z.B`, `T.ex`, `أ.ف.ب`; not `Node.js`, `10.30`."""
    return "." in word and any(len(part) == 1 and part.isalpha() for part in word.split("."))


def _is_short_number(word: str) -> bool:
    """Whether it may count what follows."""
    return word.isdigit() and len(word) <= 2


def _is_initial(word: str) -> bool:
    return len(word) == 1 and word.isupper()
