"""Hosts of models on loopback: a hub as its client expects it, and hosts that are of no use.

`HubServer` answers what `huggingface_hub` asks in order to fetch a repository. `BlackHole` accepts
every connection and never answers. `HttpServer` answers everything alike, as a proxy or the login
page of a network does. Each counts what it was asked.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.fakes.loopback import LoopbackServer

REVISION = "0123456789abcdef0123456789abcdef01234567"

NOBODY = 65534
"""The user who owns nothing."""

REFUSED = "http://127.0.0.1:9"
"""A port on which nothing listens (discard)."""

UNRESOLVED = "https://hub.invalid"
"""A name that is reserved for having no address (RFC 2606)."""


class BlackHole:
    """Accepts connections and never says a word. Use it as a context manager.

    Attributes:
        url: where it is.
    """

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self._held: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join()
        for connection in self._held:
            connection.close()

    @property
    def questions(self) -> int:
        """Connections so far."""
        return len(self._held)

    def _accept(self) -> None:
        while True:
            try:
                self._held.append(self._server.accept()[0])
            except OSError:
                return


class HttpServer(LoopbackServer):
    """Answers every request alike. Use it as a context manager.

    Args:
        status: of every answer.
        headers: of every answer.

    Attributes:
        requests: (method, path, Range header) of each request so far.
    """

    def __init__(self, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        self.requests: list[tuple[str, str, str]] = []
        self.status = status
        self.headers = dict(headers or {})
        super().__init__(self._handler())

    def answer(self, path: str, start: int) -> tuple[int, dict[str, str], bytes]:
        """(status, headers, body) for a request of a path, from a byte on."""
        del path, start
        return self.status, self.headers, b""

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                wanted = self.headers.get("Range", "")
                outer.requests.append((self.command, self.path, wanted))
                start = int(wanted.removeprefix("bytes=").rstrip("-") or 0)
                status, headers, body = outer.answer(self.path, start)
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

            do_HEAD = do_GET  # noqa: N815  # http.server's name

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Says nothing."""

        return Handler


class HubServer(HttpServer):
    """A hub with the same files in whatever repository is asked for.

    Args:
        files: their content, by name.

    Attributes:
        gated: whether it gives its files to accounts that accepted conditions, which none has.
    """

    def __init__(self, files: Mapping[str, bytes]) -> None:
        super().__init__()
        self.files = dict(files)
        self.gated = False

    def answer(self, path: str, start: int) -> tuple[int, dict[str, str], bytes]:
        hub = {"X-Repo-Commit": REVISION}
        if path.startswith("/api/models/"):
            listing = {"id": "a/b", "sha": REVISION, "siblings": [
                {"rfilename": name, "size": len(content)} for name, content in self.files.items()
            ]}  # fmt: skip
            return 200, hub, json.dumps(listing).encode()
        if self.gated:
            return 403, {**hub, "X-Error-Code": "GatedRepo"}, b""
        _, of_repository, name = path.partition("/resolve/")
        # What isn't in a repository, a plain file, is known by the end of its path.
        found = name.partition("/")[2] if of_repository else path.rpartition("/")[2]
        content = self.files.get(found)
        if content is None:
            return 404, {**hub, "X-Error-Code": "EntryNotFound"}, b""
        etag = {"ETag": f'"{etag_of(content)}"'}
        if start:
            span = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
            return 206, {**hub, **etag, **span}, content[start:]
        return 200, {**hub, **etag}, content


def etag_of(content: bytes) -> str:
    """The name of a file's blob in the hub's cache."""
    return hashlib.sha256(content).hexdigest()


def use_hub(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the hub's client ask this URL, as `HF_ENDPOINT` does in a new process."""
    from huggingface_hub import constants, file_download

    monkeypatch.setattr(constants, "ENDPOINT", url)
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(file_download, "HUGGINGFACE_CO_URL_TEMPLATE", template)


def use_caches(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have models looked for below this folder alone: the hub's cache, torch's and the worker's."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder / "hub"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(folder / "token"))
    monkeypatch.setenv("TORCH_HOME", str(folder / "torch"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))


def cached(
    place: Path, repository: str, files: Mapping[str, bytes], revision: str = "main"
) -> Path:
    """A repository in the hub's cache, as its client leaves it; the folder of its files.

    Args:
        place: the cache.
        repository: `owner/name`.
        files: their content, by name.
        revision: `main`, or a commit that no branch names.
    """
    root = place / f"models--{repository.replace('/', '--')}"
    commit = REVISION if revision == "main" else revision
    snapshot = root / "snapshots" / commit
    for folder in (snapshot, root / "blobs", root / "refs"):
        folder.mkdir(parents=True, exist_ok=True)
    if revision == "main":
        (root / "refs" / "main").write_text(commit)
    for name, content in files.items():
        blob = root / "blobs" / etag_of(content)
        blob.write_bytes(content)
        link = snapshot / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
    return snapshot


@contextmanager
def public_folder() -> Iterator[Path]:
    """A folder that every user may enter, unlike pytest's."""
    with tempfile.TemporaryDirectory(prefix="models-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Within, nothing below the folder can be written, even if the tests run as root."""
    paths = [folder, *folder.rglob("*")]
    modes = {path: path.stat().st_mode for path in paths if not path.is_symlink()}
    for path, mode in modes.items():
        path.chmod(mode & ~0o222 | (0o555 if path.is_dir() else 0o444))
    root = os.geteuid() == 0
    if root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        for path, mode in modes.items():
            path.chmod(mode)
