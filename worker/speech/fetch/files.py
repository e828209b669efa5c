"""Single files from a plain web server."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

from worker.speech.fetch import judging

if TYPE_CHECKING:
    from http.client import HTTPResponse

__all__ = ["ask", "download"]

_SILENCE_SECONDS = 30.0
"""A download fails after so long without a byte."""

_PARTIAL_CONTENT = 206
_RANGE_NOT_SATISFIABLE = 416


def ask(url: str, seconds: float) -> str:
    """Asks a server whether it has a file; why it is of no use, or nothing (see `hosts.reach`)."""
    request = urllib.request.Request(url, method="HEAD")  # noqa: S310  # see `download`
    try:
        with _open(request, seconds) as response:
            status, headers = response.status, [*response.headers.items()]
    except urllib.error.HTTPError as error:
        status, headers = error.code, [*error.headers.items()]
    return judging.judge_plain(status, {name.lower(): value for name, value in headers})


def download(url: str, target: Path) -> None:
    """Fetch a file whole or not at all; what an earlier attempt left is gone on with.

    Processes that want the same file fetch it one after another: the later ones find it there.

    Args:
        url: http or https, never a user's, and always of the same bytes.
        target: the file to write; its directory is made.

    Raises:
        OSError: the network failed, or sent fewer bytes than it promised.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    with part.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if target.exists():
            part.unlink(missing_ok=True)
            return
        had = file.seek(0, os.SEEK_END)  # only now: whoever held the lock may have added to it
        request = urllib.request.Request(url)  # noqa: S310
        if had:
            request.add_header("Range", f"bytes={had}-")
        try:
            with _open(request, _SILENCE_SECONDS) as response:
                if response.status != _PARTIAL_CONTENT:
                    file.truncate(had := 0)
                elif _first_byte(response.headers.get("Content-Range", "")) != had:
                    file.truncate(0)
                    raise OSError(f"{url} was sent from another byte than {had}; try again")
                shutil.copyfileobj(response, file)
                promised = response.headers.get("Content-Length")
        except urllib.error.HTTPError as error:
            if error.code != _RANGE_NOT_SATISFIABLE:
                raise
            file.truncate(0)
            raise OSError(f"{url} is shorter than what was left of it; try again") from error
        if promised is not None and file.tell() != had + int(promised):
            raise OSError(f"{url} ended after {file.tell()} of {had + int(promised)} bytes")
        part.replace(target)


def _open(request: urllib.request.Request, seconds: float) -> HTTPResponse:
    # Not `urlopen`, which keeps to the proxies that were named when it was first called.
    response: HTTPResponse = urllib.request.build_opener().open(request, timeout=seconds)
    return response


def _first_byte(content_range: str) -> int | None:
    """Where a part begins, by its header (RFC 9110, 14.4); None where that doesn't say."""
    found = re.match(r"bytes (\d+)-", content_range)
    return int(found[1]) if found else None
