"""Text that is safe to show: no secrets, no customer's words, bounded length (pure).

Three ways in which text that should stay private gets into a message or a log line:

- Credentials: the user part of a URL (`http://key:secret@host/`), the query of a presigned one
  (`?X-Amz-Signature=...`), access keys, signed headers. `redact` takes them out of any text.
- What a user sent, quoted in an answer: `preview` and `quoted` keep it short and printable.
  `printable` alone is for names of files, which are a person's own and shown whole.
- The message of an exception that nobody foresaw may quote anything, a transcript's text among
  it (pydantic's do). `summary` and `location` name its type and its place instead.
"""

from __future__ import annotations

import re
import traceback
from pathlib import PurePath

from worker.errors import WorkerError

__all__ = ["HIDDEN", "location", "preview", "printable", "quoted", "redact", "summary"]

HIDDEN = "***"
"""What stands in a secret's place."""

_FRAMES = 8

_USER_PART = re.compile(r"(?P<scheme>\b[a-z][a-z0-9+.-]*://)[^\s/?#@]+@", re.IGNORECASE)
_QUERY_VALUE = re.compile(
    r"(?P<name>[?&;](?:X-Amz-[A-Za-z-]+|AWSAccessKeyId|Signature|[A-Za-z_-]*(?:token|secret|password"
    r"|key))=)[^\s&;#\"']+",
    re.IGNORECASE,
)
_ACCESS_KEY = re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b")
_HEADER = re.compile(
    r"(?P<name>\b(?:Authorization|X-Amz-Security-Token)['\"]?\s*[:=]\s*).+", re.IGNORECASE
)
_WHOLE_USER_PART = re.compile(r"(?<=://)[^/@]*@")
"""Wider than `_USER_PART`: what a user sent need not be a URL that anybody else would accept."""


def redact(text: str) -> str:
    """`text` without credentials in URLs, presigned queries, access keys or signed headers."""
    if "://" in text:
        text = _USER_PART.sub(rf"\g<scheme>{HIDDEN}@", text)
    if "=" in text or ":" in text:
        text = _QUERY_VALUE.sub(rf"\g<name>{HIDDEN}", text)
        text = _HEADER.sub(rf"\g<name>{HIDDEN}", text)
    return _ACCESS_KEY.sub(HIDDEN, text)


def printable(text: str, *, keep: str = "") -> str:
    """`text` with line breaks, a terminal's controls and bytes that are no text written out.

    The name of a file may hold any of them: shown as they are, they would forge a line, or have the
    terminal do something.

    Args:
        text: any.
        keep: characters that stay as they are, such as the line breaks of a message of several
            lines.
    """
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text
    )


def preview(text: str, limit: int = 60) -> str:
    """The beginning of what a user sent, printable and without secrets.

    Whatever follows a question mark is left out, because it may be the query of a presigned
    URL, and so are the user and password of a URL.

    Args:
        text: as it was sent.
        limit: characters kept at most.
    """
    head, query, _ = text[: 8 * limit].partition("?")
    head = _WHOLE_USER_PART.sub("...@", head)
    if query:
        head = head[:limit] + "?..."
    elif len(head) > limit or len(text) > 8 * limit:
        head = head[:limit] + "..."
    return printable(head)


def quoted(text: str, limit: int = 60) -> str:
    """The `preview` of `text`, in quotes."""
    return f"'{preview(text, limit)}'"


def summary(error: BaseException) -> str:
    """One line about an error, for logs and documents.

    The message of one of the worker's own errors; of any other the type and the place only, since
    its message may quote anything.
    """
    if isinstance(error, WorkerError):
        return str(error)
    return f"{type(error).__name__} at {location(error)}"


def location(error: BaseException) -> str:
    """The innermost frames as `file.py:line in function`, outermost first."""
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    places = [f"{PurePath(f.filename).name}:{f.lineno} in {f.name}" for f in frames]
    return " > ".join(places) or "an unknown place"
