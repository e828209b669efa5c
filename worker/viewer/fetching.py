"""What lies in S3, fetched to look at: with the worker's own clients and its own downloads."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from worker.errors import ErrorCode, JobError, SettingsError
from worker.jobs.inputs import KINDS, InputUri, is_input, parse_input
from worker.redact import preview
from worker.results.names import TRANSCRIPT
from worker.viewer.finding import MAX_TRANSCRIPT_BYTES

if TYPE_CHECKING:
    from worker.aws.clients import Clients

__all__ = ["Fetcher", "is_remote"]

MAX_RECORDING_BYTES = 64 * 1024**3
"""More than any job's: the disk's room is the bound, and a full disk is told."""

_PROBLEMS = {
    ErrorCode.INPUT_NOT_FOUND: "is not there",
    ErrorCode.INPUT_CHANGED: "was overwritten since it was transcribed",
    ErrorCode.INPUT_TOO_LARGE: "has more than {max_bytes} bytes",
    ErrorCode.EMPTY_FILE: "has no bytes",
}
"""What the reader says of these advises senders of jobs, and here is no job."""


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
        fix = "name a transcript (.json), or the folder of a job's results with a slash at its end"
        self._fetch(uri, dest, etag=None, max_bytes=MAX_TRANSCRIPT_BYTES, fix=fix)
        return dest

    def recording(self, text: str, *, etag: str | None = None) -> Path:
        """A recording, in the state that the ETag names if there is one.

        Raises:
            SettingsError, JobError, TransientError: see `transcript`.
        """
        uri = _parsed(text)
        # The ending tells what to call its type; the rest of the name is a stranger's.
        dest = self._folder / f"recording{Path(uri.name).suffix[:16]}"
        fix = "name a recording with --recording"
        self._fetch(uri, dest, etag=etag, max_bytes=MAX_RECORDING_BYTES, fix=fix)
        return dest

    def _fetch(
        self, uri: InputUri, dest: Path, *, etag: str | None, max_bytes: int, fix: str
    ) -> None:
        reader = KINDS[uri.scheme].make_reader(self._clients)
        try:
            reader.fetch(uri, dest, etag=etag, max_bytes=max_bytes)
        except JobError as error:
            problem = _PROBLEMS.get(error.code)
            if problem is None:
                raise
            message = f"{preview(str(uri), 300)} {problem.format(max_bytes=max_bytes)}: {fix}"
            raise JobError(error.code, message) from None


def _parsed(text: str) -> InputUri:
    try:
        return parse_input(text)
    except ValueError as error:
        raise SettingsError(str(error)) from None
