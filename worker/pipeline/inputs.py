"""How the pipeline reads inputs, whatever their kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from worker.aws.objects import ObjectInfo
from worker.jobs.inputs import KINDS, InputUri

if TYPE_CHECKING:
    from worker.aws.clients import Clients

__all__ = ["InputReaders", "Inputs", "open_readers"]

Uri = TypeVar("Uri", bound=InputUri, contravariant=True)


class Inputs(Protocol[Uri]):
    """Reads inputs of one kind, or of every kind. Callable from any thread."""

    def head(self, uri: Uri, *, version_id: str | None = None) -> ObjectInfo | None:
        """Ask for an input without its content; None if there is no such input.

        Raises:
            JobError: it may not be read.
            TransientError: no usable answer now.
        """
        ...

    def fetch(
        self,
        uri: Uri,
        dest: Path,
        *,
        etag: str | None = None,
        version_id: str | None = None,
        max_bytes: int,
        check: Callable[[], None],
    ) -> ObjectInfo:
        """Copy an input to a local file.

        Args:
            uri: of the input.
            dest: created or overwritten; removed again if anything is raised.
            etag: take the input only in this state; None takes it as it is.
            version_id: take this version; None takes the newest.
            max_bytes: refuse an input with more.
            check: to be called now and then; what it raises (LeaseLost, Interrupted) ends the
                copy.

        Returns:
            What was copied. Its `etag` changes whenever the content does: windows and records of
            earlier runs hold only while it stays the same.

        Raises:
            JobError: INPUT_NOT_FOUND, INPUT_FORBIDDEN, INPUT_CHANGED, INPUT_TOO_LARGE or
                EMPTY_FILE.
            TransientError: it can't be read now, or the disk is full.
        """
        ...


class InputReaders:
    """Reads inputs of every kind, each with the reader of its scheme.

    Args:
        readers: by scheme.
    """

    def __init__(self, readers: Mapping[str, Inputs[Any]]) -> None:
        self._readers = dict(readers)

    def head(self, uri: InputUri, *, version_id: str | None = None) -> ObjectInfo | None:
        """See `Inputs.head`."""
        return self._readers[uri.scheme].head(uri, version_id=version_id)

    def fetch(
        self,
        uri: InputUri,
        dest: Path,
        *,
        etag: str | None = None,
        version_id: str | None = None,
        max_bytes: int,
        check: Callable[[], None],
    ) -> ObjectInfo:
        """See `Inputs.fetch`."""
        return self._readers[uri.scheme].fetch(
            uri, dest, etag=etag, version_id=version_id, max_bytes=max_bytes, check=check
        )


def open_readers(clients: Clients) -> InputReaders:
    """The readers of every kind in `worker.jobs.inputs.KINDS`; imports what they need."""
    return InputReaders({scheme: kind.make_reader(clients) for scheme, kind in KINDS.items()})
