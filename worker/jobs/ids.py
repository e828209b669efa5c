"""What may name a job, and what of a file's name a job id can hold (pure).

A job id is a part of S3 keys, log lines, folders and addresses, and a person reads it: it holds
letters and digits of any script, and `.`, `_` and `-`. No spaces and no other punctuation,
which shells and addresses take for something else, and nothing that shows nothing: two ids would
look the same.
"""

from __future__ import annotations

import unicodedata

from worker.uris import MAX_JOB_ID, MAX_KEY_BYTES

__all__ = ["JOB_ID_PATTERN", "JOB_ID_RULE", "id_part", "is_job_id", "shows", "within"]

_PUNCTUATION = "._-"

_INVISIBLE = frozenset(
    map(
        chr,
        (
            0x034F,  # combining grapheme joiner
            *(0x115F, 0x1160, 0x3164, 0xFFA0),  # Hangul fillers
            *(0x17B4, 0x17B5),  # inherent vowels of Khmer
            *(0x180B, 0x180C, 0x180D, 0x180F),  # Mongolian variation selectors
            *range(0xFE00, 0xFE10),  # variation selectors
            *range(0xE0100, 0xE01F0),
        ),
    )
)
"""Letters and marks that show nothing: those of Unicode's Default_Ignorable_Code_Point (of
DerivedCoreProperties.txt, which `unicodedata` lacks) in the categories L, M and N."""

JOB_ID_PATTERN = r"^[^\u0000-,/:-@\[-^`{-\u00a9]{1,128}$"
"""The rule for a JSON schema: of ASCII exactly what is allowed, and all that lies beyond.

A regular expression that every dialect reads alike can't say which of those are letters, nor
count bytes.
"""

JOB_ID_RULE = (
    f"use 1 to {MAX_JOB_ID} bytes of letters and digits of any script (in Unicode's composed form,"
    " NFC; marks only behind one, and nothing invisible), . _ - and not . or .. alone"
)
"""What `is_job_id` asks, for people."""


def is_job_id(text: str) -> bool:
    """Whether `text` may name a job; see `JOB_ID_RULE`.

    Two ids that look the same would be two results: so letters with accents have one form.
    """
    return (
        0 < len(text) <= MAX_JOB_ID
        and all(
            character in _PUNCTUATION or _may_follow(character, text[at - 1 : at])
            for at, character in enumerate(text)
        )
        and len(text.encode()) <= MAX_JOB_ID
        and unicodedata.is_normalized("NFC", text)
        and text not in (".", "..")
    )


def shows(character: str) -> bool:
    """Whether something is seen of a character that stands alone."""
    return character.isprintable() and not (
        character.isspace() or character in _INVISIBLE or _is_mark(character)
    )


def id_part(name: str, *, keep: str) -> str:
    """A name as a part of a job id: each character that may not stand there becomes a hyphen.

    Args:
        name: any text; no more of it than a key may have is looked at, since normalising takes
            time that grows with the square of a hostile name.
        keep: which of `.`, `_` and `-` stay as they are. Characters next to one another that
            don't stay become one hyphen.
    """
    part: list[str] = []
    in_gap = False
    before = ""
    for character in unicodedata.normalize("NFC", name[:MAX_KEY_BYTES]):
        if character in keep or _may_follow(character, before):
            part.append(character)
            in_gap = False
        elif not in_gap:
            part.append("-")
            in_gap = True
        before = part[-1]
    return "".join(part)


def within(text: str, *, characters: int, end: bool = False) -> str:
    """As much of `text` as has that many characters, and leaves room for a hash in a job id.

    Args:
        text: a part of an id.
        characters: at most.
        end: whether to keep its end, and not its start.
    """
    text = text[-characters:] if end else text[:characters]
    while len(text.encode()) > _PART_BYTES:
        text = text[1:] if end else text[:-1]
    while end and text and _is_mark(text[0]):  # what it stood on is cut off
        text = text[1:]
    return text


_PART_BYTES = MAX_JOB_ID - len("-0123456789abcdef")
"""An id that is made is a part for people, a hyphen and 16 digits at most."""


def _may_follow(character: str, before: str) -> bool:
    """Whether it is a letter, a digit or a number, or a mark with one to stand on.

    Args:
        character: of ASCII, A-Z a-z 0-9 are letters and digits.
        before: the character in front of it, which may stand there; empty at the start.
    """
    if character in _INVISIBLE:
        return False
    if _is_mark(character):
        return before != "" and before not in _PUNCTUATION
    return unicodedata.category(character)[0] in "LN"


def _is_mark(character: str) -> bool:
    return unicodedata.category(character)[0] == "M"
