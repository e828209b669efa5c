"""What a host of models answers is judged: whether it is of use, or what is wrong (pure)."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator, Mapping

from worker.redact import redact

__all__ = ["explain", "judge_hub", "judge_plain"]

_ANSWERS_ALL_THE_SAME = frozenset({401, 404})
"""Of a host that is there, but has no such file or wants a token: fetching says which."""

_NO_MODEL_HOST = "what answers is no host of models; the network may want a login"


def judge_hub(status: int, headers: Mapping[str, str]) -> str:
    """What a hub's answer to the question for a file means; empty if it is a hub's.

    Args:
        status: of HTTP, redirections not followed.
        headers: by lower-case name.
    """
    # Its client insists on the first, too; the second says what is wrong with the request.
    if "x-repo-commit" in headers or "x-error-code" in headers:
        return ""
    if status >= 400:
        return _judge_status(status)
    # A repository with a new name has moved on the same host; to log in one is sent to another.
    moved = status >= 300 and headers.get("location", "").startswith("/")
    return "" if moved else _NO_MODEL_HOST


def judge_plain(status: int, headers: Mapping[str, str]) -> str:
    """The same of a server of plain files, redirections followed."""
    page = headers.get("content-type", "").lower().startswith("text/html")
    return _judge_status(status) or (_NO_MODEL_HOST if page and status < 400 else "")


def _judge_status(status: int) -> str:
    if status >= 400 and status not in _ANSWERS_ALL_THE_SAME:
        return f"the answer is HTTP {status}"
    return ""


def explain(error: BaseException) -> str:
    """What a failed connection comes down to, for brackets in a sentence."""
    for cause in _causes(error):
        match cause:
            case socket.gaierror():
                return "its name can't be resolved"
            case ConnectionRefusedError():
                return "the connection is refused"
            case ssl.SSLCertVerificationError():
                return f"its certificate is not trusted: {cause.verify_message}"
            case TimeoutError():
                return "no answer"
    lines = str(error).strip().splitlines()
    said = f": {redact(lines[0])[:200]}" if lines else ""
    return f"{type(error).__name__}{said}"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and what it was raised from, the innermost last."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__
