"""What may name a job, and what of a file's name a job id can hold (pure).

A job id is a part of S3 keys, log lines, folders and addresses, and a person reads it: it holds
letters and digits of any script, and `.`, `_` and `-`. No spaces and no other punctuation,
which shells and addresses take for something else, and nothing that can't be seen.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from worker.uris import MAX_JOB_ID, MAX_KEY_BYTES

__all__ = ["JOB_ID_PATTERN", "JOB_ID_RULE", "id_part", "is_job_id", "within"]

_PUNCTUATION = "._-"

JOB_ID_PATTERN = r"^[^\u0000-,/:-@\[-^`{-\u00a9]{1,128}$"
"""The rule for a JSON schema: of ASCII exactly what is allowed, and all that lies beyond.

A regular expression that every dialect reads alike can't say which of those are letters, nor
count bytes.
"""

JOB_ID_RULE = (
    f"use 1 to {MAX_JOB_ID} bytes of letters and digits of any script (in Unicode's composed form,"
    " NFC), . _ - and not . or .. alone"
)
"""What `is_job_id` asks, for people."""


def is_job_id(text: str) -> bool:
    """Whether `text` may name a job; see `JOB_ID_RULE`.

    Two ids that look the same would be two results: so letters with accents have one form.
    """
    return (
        0 < len(text) <= MAX_JOB_ID
        and all(_may_stand(character) for character in text)
        and len(text.encode()) <= MAX_JOB_ID
        and unicodedata.is_normalized("NFC", text)
        and text not in (".", "..")
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
    for character in unicodedata.normalize("NFC", name[:MAX_KEY_BYTES]):
        if character in keep or _may_follow(character, part[-1:]):
            part.append(character)
            in_gap = False
        elif not in_gap:
            part.append("-")
            in_gap = True
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
    return text


_PART_BYTES = MAX_JOB_ID - len("-0123456789abcdef")
"""An id that is made is a part for people, a hyphen and 16 digits at most."""


def _may_follow(character: str, before: Sequence[str]) -> bool:
    """Whether it is a letter or digit, or a mark with one to stand on."""
    if unicodedata.category(character)[0] == "M":
        return any(map(_is_letter_or_digit, before))
    return _is_letter_or_digit(character)


def _may_stand(character: str) -> bool:
    return character in _PUNCTUATION or _is_letter_or_digit(character)


def _is_letter_or_digit(character: str) -> bool:
    """Whether it is a letter, a mark on one, or a number; of ASCII: A-Z a-z 0-9."""
    return unicodedata.category(character)[0] in "LMN"
