"""What closes over words that are taken out of a text (pure).

- A comma, a dash or another mark that stood after the words goes with them, also after a space as
  French writes it; what ends a sentence stays, on the word before, in place of a comma there,
  unless a sentence has just ended there.
- Brackets and quotation marks around nothing else go with them; one that also holds other words
  stays on those.
- What an apostrophe or a hyphen joins to them isn't left hanging: `'s` and `l'` go too, of
  `well-known` without its first half `known` stays. So do signs right beside them that belong to
  nothing else: `$`, `#`, `%`.
- White space is closed. What was first or last in the text leaves no mark there that joined it to
  its neighbour.
"""

from __future__ import annotations

import unicodedata
from typing import NamedTuple

from worker.results.punctuation import CLOSERS, SENTENCE_ENDS
from worker.results.wording.phrases import APOSTROPHES, HYPHENS, SIGNS, is_letter

__all__ = ["Removal", "is_shown", "removal"]

_JOINERS = HYPHENS | {"/"}
_OPENERS = frozenset("\"'¿¡")
_CLOSERS = frozenset("\"'\N{RIGHT SINGLE QUOTATION MARK}")

_SPACED_MARKS = frozenset("!?:;")
"""Marks that French writes after a space; so it does inside of « and »."""

_FRENCH_SPACES = "\N{NO-BREAK SPACE}\N{NARROW NO-BREAK SPACE}"


class Removal(NamedTuple):
    """What is to be taken out, and what is to stand in its place.

    Attributes:
        first: first character that goes.
        end: one past the last.
        mark: what ends the sentence, to stand on what is before.
        space: whether white space is to follow.
    """

    first: int
    end: int
    mark: str = ""
    space: bool = False


def removal(text: str, first: int, end: int) -> Removal:
    """What goes with the words in [first, end) of a text, and what closes over them."""
    first, end = _with_signs(text, *_with_joined(text, first, end))
    stop = _past_marks(text, end, quoted=_is_quoted(text, first))
    enders, closers = _kept(text, end, stop)
    first, closers, enders = _without_pairs(text, first, closers, enders)
    before = text[:first].rstrip()
    rest = len(text) - len(text[stop:].lstrip())
    spaced = first > len(before) or rest > stop
    if not before or _opens(before, len(before) - 1):
        # Nothing that a mark could stand on; white space only after an opening mark that has it.
        space = bool(before) and first > len(before) and rest < len(text)
        return Removal(len(before), rest if before else _past_dash(text, rest), space=space)
    if _ends_sentence(before):
        enders = ""
    elif enders or rest == len(text) or _closes_after_space(text, rest):
        before = _without_weak(before)
    elif _is_lone_dash(before, len(before) - 1):
        rest = _past_dash(text, rest)
    mark = enders + closers
    return Removal(len(before), rest, mark, space=spaced and rest < len(text))


def is_shown(text: str) -> bool:
    """Whether there is more in a text than white space and punctuation."""
    return not all(character.isspace() or _is_punctuation(character) for character in text)


def _with_joined(text: str, first: int, end: int) -> tuple[int, int]:
    """[first, end) with what apostrophes join to it, and with one hyphen that joins it."""
    while text[end : end + 1] in APOSTROPHES and _is_letter_at(text, end + 1):
        end += 1
        while _is_letter_at(text, end):
            end += 1
    while first > 1 and text[first - 1] in APOSTROPHES and is_letter(text[first - 2]):
        first -= 1
        while first > 0 and is_letter(text[first - 1]):
            first -= 1
    if text[end : end + 1] in _JOINERS and _is_letter_at(text, end + 1):
        end += 1
    elif first > 1 and text[first - 1] in _JOINERS and is_letter(text[first - 2]):
        first -= 1
    return first, end


def _with_signs(text: str, first: int, end: int) -> tuple[int, int]:
    """[first, end) with signs on either side, unless these stand at another word as well."""
    before, after = first, end
    while before > 0 and _is_sign(text[before - 1]):
        before -= 1
    while after < len(text) and _is_sign(text[after]):
        after += 1
    if before > 0 and is_letter(text[before - 1]):
        before = first
    return before, end if _is_letter_at(text, after) else after


def _past_marks(text: str, end: int, *, quoted: bool) -> int:
    """Past the punctuation that belongs to what ends there."""
    while end < len(text):
        after_space = text[end].isspace() and (
            text[end + 1 : end + 2] in _SPACED_MARKS or (quoted and text.startswith("»", end + 1))
        )
        mark = end + 1 if after_space else end
        if not _is_punctuation(text[mark]) or _opens(text, mark):
            break
        if after_space and _is_letter_at(text, mark + 1):
            break  # it belongs to what follows
        end = mark + 1
    return end


def _is_quoted(text: str, first: int) -> bool:
    """Whether a French quotation mark with its space opens right before."""
    return first > 1 and text[first - 1].isspace() and text[first - 2] == "«"


def _closes_after_space(text: str, number: int) -> bool:
    return text[number] == "»" and text[number - 1].isspace()


def _kept(text: str, end: int, stop: int) -> tuple[str, str]:
    """Of the punctuation in [end, stop): what ends a sentence, and what closes."""
    enders, closers = "", ""
    for number in range(end, stop):
        if text[number] in SENTENCE_ENDS:
            enders += text[number]
        elif _closes(text[number]):
            closers += text[number]
    if set(enders) == {"."} and _is_letter_at(text, stop):
        enders = ""  # inside an address or a number, as in `example.com`
    return enders, closers


def _without_pairs(text: str, first: int, closers: str, enders: str) -> tuple[int, str, str]:
    """`first` moved over what is closed or ended right after the words; closers, enders left."""
    if closers and _is_quoted(text, first):
        first -= 1
    while first > 0 and _opens(text, first - 1):
        if text[first - 1] in "¿¡":
            if not enders:
                break
            enders = ""
        elif closers:
            closers = closers[1:]
        else:
            break
        first -= 1
    return first, closers, enders


def _ends_sentence(before: str) -> bool:
    return before.rstrip(CLOSERS + _FRENCH_SPACES)[-1:] in SENTENCE_ENDS


def _without_weak(before: str) -> str:
    """Without the comma or dash that led to what was taken out."""
    while before and (before[-1].isspace() or _is_weak(before[-1])):
        before = before[:-1]
    return before


def _is_weak(character: str) -> bool:
    return _is_punctuation(character) and character not in SENTENCE_ENDS and not _closes(character)


def _past_dash(text: str, rest: int) -> int:
    """Past a dash that stands alone there: it joined what is gone to what is left."""
    if rest < len(text) and _is_lone_dash(text, rest):
        return len(text) - len(text[rest + 1 :].lstrip())
    return rest


def _is_lone_dash(text: str, number: int) -> bool:
    alone = not text[number - 1 : number].strip() and not text[number + 1 : number + 2].strip()
    return alone and unicodedata.category(text[number]) == "Pd"


def _opens(text: str, number: int) -> bool:
    """Whether a character opens a bracket or a quotation, or a question as Spanish does."""
    character = text[number]
    if character in _OPENERS:
        return number == 0 or text[number - 1].isspace() or _opens(text, number - 1)
    return unicodedata.category(character) in ("Ps", "Pi")


def _closes(character: str) -> bool:
    return character in _CLOSERS or unicodedata.category(character) in ("Pe", "Pf")


def _is_letter_at(text: str, number: int) -> bool:
    return number < len(text) and is_letter(text[number])


def _is_sign(character: str) -> bool:
    """Whether it means something only beside a word or a number: `#`, `$`, `+`."""
    return character in SIGNS or unicodedata.category(character) in ("Sc", "Sm")


def _is_punctuation(character: str) -> bool:
    return unicodedata.category(character).startswith("P") and character not in SIGNS
