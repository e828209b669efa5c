"""What lies in S3, fetched to look at: with the worker's own clients and its own downloads."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from worker.errors import SettingsError
from worker.jobs.inputs import KINDS, InputUri, is_input, parse_input
from worker.results.names import TRANSCRIPT
from worker.viewer.finding import MAX_TRANSCRIPT_BYTES

if TYPE_CHECKING:
    from worker.aws.clients import Clients

__all__ = ["Fetcher", "is_remote"]

MAX_RECORDING_BYTES = 64 * 1024**3
"""More than any job's: the disk's room is the bound, and a full disk is told."""


def is_remote(text: str) -> bool:
    """Whether the text names an input to fetch, and no local file."""
    return is_input(text)


class Fetcher:
    """Downloads inputs into a folder.

    Args:
        folder: of this run alone.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @cached_property
    def _clients(self) -> Clients:
        from worker.aws.clients import make_clients

        return make_clients()

    def transcript(self, text: str) -> Path:
        """A transcript: its URI, or that of the job's folder, which ends with a slash.

        Raises:
            SettingsError: the URI is wrong.
            JobError: it isn't there or may not be read.
            TransientError: it could not be fetched.
        """
        uri = _parsed(text + TRANSCRIPT if text.endswith("/") else text)
        dest = self._folder / TRANSCRIPT
        self._fetch(uri, dest, etag=None, max_bytes=MAX_TRANSCRIPT_BYTES)
        return dest

    def recording(self, text: str, *, etag: str | None = None) -> Path:
        """A recording, in the state that the ETag names if there is one.

        Raises:
            SettingsError, JobError, TransientError: see `transcript`.
        """
        uri = _parsed(text)
        # The ending tells what to call its type; the rest of the name is a stranger's.
        dest = self._folder / f"recording{Path(uri.name).suffix[:16]}"
        self._fetch(uri, dest, etag=etag, max_bytes=MAX_RECORDING_BYTES)
        return dest

    def _fetch(self, uri: InputUri, dest: Path, *, etag: str | None, max_bytes: int) -> None:
        reader = KINDS[uri.scheme].make_reader(self._clients)
        reader.fetch(uri, dest, etag=etag, max_bytes=max_bytes)


def _parsed(text: str) -> InputUri:
    try:
        return parse_input(text)
    except ValueError as error:
        raise SettingsError(str(error)) from None
