"""Where sentences end in a text of a language (pure).

`sentencex` knows the signs that end sentences in the world's scripts, and the abbreviations of
thirty languages. Three things are done about what it says. It takes what stands in quotation marks
or brackets for one piece, and one stray mark would join minutes of speech: so it doesn't get to
see them. Its lists of abbreviations were made for encyclopedias and hold words that people end
sentences with (Italian `so`, `fa`, `via`): so a word in small letters before a capital is believed
to be one only where it usually stands before a name. And what follows an end has a say.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

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

_BEFORE_NAME = re.compile(
    "dra?|drs|prof|sra?|srta|sres|sigg?|dott|avv|ing|mr|mrs|ms|mevr|dhr|mme|mlle|mgr|ste?|vs|cf"
    "|np|tzn|ks|św|inż|hab|nr|tzv|ул|им|проф|акад|пл|гр|обл|д|د|डॉ",  # noqa: RUF001  # Russian
    re.IGNORECASE,
)
"""Abbreviations in some language, ordinary words in none; a name or a number follows them."""

_FRENCH_TITLES = frozenset({"m", "mm"})
"""Monsieur, Messieurs; sentencex lacks them."""

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
        start: of what ends here, if it does: the first character after the last such place.
        stop: one past the stop.
        end: one past the quotation marks and brackets that are closed there.
        next: the first letter or digit after that.
    """

    text: str
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
        """Whether that word is all that would end here."""
        return self.stop - self.start < _LOOK_BACK and len(self.before.split()) == 1

    @property
    def is_glued(self) -> bool:
        """Whether no white space follows."""
        return not self.text[self.end].isspace()

    @property
    def begins_small(self) -> bool:
        """Whether what would end here begins with a small letter."""
        first = _FOLLOWER.search(self.text, self.start, self.stop)
        return first is not None and first.group()[-1].islower()


def _ends(text: str, language: str) -> Iterator[int]:
    """Where sentences end before the last one: one past the last character of each."""
    seen = _seen(text)
    told = set(_told(seen, language))
    start = 0
    follower: re.Match[str] | None = None
    for stop in sorted(told.union(match.end() for match in _STOP.finditer(seen))):
        if stop <= start:
            continue
        end = _closed(text, stop)
        if follower is None or follower.start() < end:
            follower = _FOLLOWER.search(text, end)
        if follower is None:
            return
        place = _Place(text, start, stop, end, follower.end() - 1)
        if stop in told:
            start = _after_space(text, end)
            if not _goes_on(place, language):
                yield end
        elif _is_overlooked(place, language):
            start = _after_space(text, end)
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
    end = stop
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


def _goes_on(place: _Place, language: str) -> bool:
    """Whether a sentence goes on where sentencex ends it."""
    next_ = place.text[place.next]
    if place.is_glued and not _needs_no_space(place):
        return True
    if next_.islower() and not place.begins_small:
        return True  # UAX #29, SB8; unless all of it is in small letters
    before, word = place.before, place.word
    if not before.endswith("."):
        return False
    if place.is_one_word and (word.isdigit() or "." in word or (len(word) == 1 and word.isupper())):
        return True  # `J. Dupont`, `3. Bölüm`, `T.ex. Sverige`
    if language == "fr" and word.casefold() in _FRENCH_TITLES:
        return True
    if language in _NOUNS_HAVE_CAPITALS and _ORDINAL.search(before):
        return True
    return _BEFORE_NAME.fullmatch(word) is not None


def _needs_no_space(place: _Place) -> bool:
    """Whether a sentence may end where no white space follows.

    A full stop within `3.5` or `Node.js` ends none. Scripts whose letters have no case often
    write no spaces. Japanese puts a particle after a quotation that goes on: `「はい。」と言った`.
    """
    next_ = place.text[place.next]
    if place.end > place.stop and unicodedata.name(next_, "").startswith("HIRAGANA"):
        return False
    return not place.text[place.stop - 1].isascii() or unicodedata.category(next_) == "Lo"


def _is_overlooked(place: _Place, language: str) -> bool:
    """Whether a sentence ends where sentencex doesn't end it."""
    if not place.text[place.next].isupper():
        return False
    before, word = place.before, place.word
    if before.endswith(("…", "..")):
        return not (language == "en" and _ENGLISH_I.match(place.text, place.next))
    if word.casefold() == "no" or (language == "en" and word == "I" and not place.is_one_word):
        return True  # in its lists for `No. 5` and for initials
    if language in _NOUNS_HAVE_CAPITALS or len(word) < 2 or not word.isalpha():
        return False
    return word.islower() and not _BEFORE_NAME.fullmatch(word)
