"""A kind of input that the worker doesn't have: files of the machine, as `file:///path`.

Written as a new kind would be: one module, named in one line of the registry.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from worker.aws.clients import Clients
from worker.aws.objects import ObjectInfo
from worker.errors import ErrorCode, JobError
from worker.jobs.inputs import InputKind

KIND = InputKind(
    "a file URI",
    "file:///path",
    "^file:///.+",
    "tests.fakes.local_input:FileUri",
    "tests.fakes.local_input:open_inputs",
)


@dataclass(frozen=True)
class FileUri:
    """A file by its absolute path."""

    path: str

    scheme: ClassVar[str] = "file"
    bucket: ClassVar[None] = None

    @classmethod
    def parse(cls, text: str) -> Self:
        path = text.removeprefix("file://")
        if not path.startswith("/") or path.endswith("/"):
            raise ValueError(f"{text!r} names no file: write file:///path")
        return cls(path)

    @property
    def name(self) -> str:
        return Path(self.path).name

    def __str__(self) -> str:
        return f"file://{self.path}"


class FileInputs:
    """Reads them; the ETag is a hash of the content."""

    def head(self, uri: FileUri, *, version_id: str | None = None) -> ObjectInfo | None:
        try:
            content = Path(uri.path).read_bytes()
        except FileNotFoundError:
            return None
        return ObjectInfo(hashlib.sha256(content).hexdigest(), len(content), {})

    def fetch(
        self,
        uri: FileUri,
        dest: Path,
        *,
        etag: str | None = None,
        version_id: str | None = None,
        max_bytes: int,
        check: Callable[[], None],
    ) -> ObjectInfo:
        check()
        found = self.head(uri)
        if found is None:
            raise JobError(ErrorCode.INPUT_NOT_FOUND, f"there is no file {uri}")
        if found.bytes > max_bytes:
            raise JobError(ErrorCode.INPUT_TOO_LARGE, f"{uri} has {found.bytes} bytes")
        dest.write_bytes(Path(uri.path).read_bytes())
        return found


def open_inputs(clients: Clients) -> FileInputs:
    return FileInputs()
