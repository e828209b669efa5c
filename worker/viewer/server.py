"""The page on loopback: `http://127.0.0.1:PORT/TOKEN/`, with its recording and its corrections.

Other programs and other pages in the same browser can reach a loopback port too. So: the address
has a random part that only the person has; requests must name a loopback host (a name of a foreign
site that points here is refused: DNS rebinding); corrections are taken from the page itself alone
(Origin); no answer may be read, framed or kept by anyone else. No folder is served: there are four
addresses.
"""

from __future__ import annotations

import hmac
import json
import re
import secrets
import sys
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO, Any

from pydantic import ValidationError

from worker.errors import MachineError, SettingsError
from worker.logs import get_logger
from worker.redact import summary
from worker.results.corrections import Corrections
from worker.threads import SupervisedThread
from worker.viewer.ranges import UnsatisfiableRangeError, byte_range
from worker.viewer.recording import Recording
from worker.viewer.saving import Edits, StaleError

__all__ = ["ViewServer"]

log = get_logger(__name__)

LOOPBACK = "127.0.0.1"
_LOOPBACK_HOST = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:[0-9]+)?", re.IGNORECASE | re.ASCII)
"""Any port: one that ssh forwards has another number on the other side."""

MAX_BODY_BYTES = 8 * 1024**2
"""Of corrections: every word of two hours has less than one megabyte."""

_CLIENT_SECONDS = 10
"""A client that says nothing holds a thread no longer than this."""
_MEDIA_SECONDS = 600
"""A browser takes a recording as it plays it, and takes nothing while its buffer is full."""
_POLL_SECONDS = 0.1
"""How soon a stop is noticed."""
_STOP_SECONDS = 5.0
_CHUNK_BYTES = 256 * 1024

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class ViewServer:
    """HTTP on 127.0.0.1 for one transcript.

    Args:
        port: to listen on; 0: any free one.
        page: the document.
        recording: None where there is none.
        edits: takes the corrections.

    Raises:
        SettingsError: the port can't be had.
    """

    def __init__(self, port: int, *, page: str, recording: Recording | None, edits: Edits) -> None:
        self._token = secrets.token_urlsafe(24)
        site = _Site(self._token, page.encode(), recording, edits)
        try:
            self._server = _Server(port, site)
        except OSError as error:
            raise SettingsError(
                f"--port {port} can't be used on {LOOPBACK}: {error.strerror}; choose a free port,"
                " or leave it out"
            ) from None
        self._thread = SupervisedThread(
            "view", lambda: self._server.serve_forever(poll_interval=_POLL_SECONDS)
        )

    @property
    def url(self) -> str:
        """The page's address."""
        return f"http://{LOOPBACK}:{self._server.server_address[1]}/{self._token}/"

    def start(self) -> None:
        """Start serving."""
        self._thread.start()

    def wait(self) -> None:
        """Block until the server has ended, which by itself it does only if it died."""
        self._thread.join()
        if self._thread.failure is not None:
            raise self._thread.failure

    def stop(self) -> None:
        """End. Safe if it never started."""
        if self._thread.alive:
            self._server.shutdown()
            self._thread.join(_STOP_SECONDS)
        self._server.server_close()


@dataclass(frozen=True, slots=True)
class _Site:
    """What is served. See `ViewServer`."""

    token: str
    page: bytes
    recording: Recording | None
    edits: Edits


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, port: int, site: _Site) -> None:
        super().__init__((LOOPBACK, port), _Handler)
        self.site = site

    def handle_error(self, request: Any, client_address: Any) -> None:
        """What a request raised: one line, no traceback; its connection is closed.

        Browsers break connections off all the time, to seek elsewhere: that is no error.
        """
        error = sys.exception()
        if error is not None and not isinstance(error, (ConnectionError, TimeoutError)):
            log.warning("view.failed", message="A request failed", error=summary(error))


class _Handler(BaseHTTPRequestHandler):
    """One request, of those that the docstring of this module allows."""

    server: _Server
    timeout = _CLIENT_SECONDS
    protocol_version = "HTTP/1.1"
    server_version = "transcription-worker"
    sys_version = ""

    def do_GET(self) -> None:
        name = self._asked()
        if name is not None:
            self._get(name)

    def do_HEAD(self) -> None:
        self.do_GET()  # the body is left out where it would be written

    def do_POST(self) -> None:
        # What was not read of a refused body must not be taken for the next request.
        self.close_connection = True
        name = self._asked()
        if name == "corrections":
            self._save()
        elif name is not None:
            self._refuse(404, "no such page")

    def _asked(self) -> str | None:
        """The part of the address behind the token; None: refused, and answered."""
        site = self.server.site
        if not _LOOPBACK_HOST.fullmatch(self.headers.get("Host", "")):
            self._refuse(403, "this viewer answers to 127.0.0.1 and localhost alone")
            return None
        given, _, name = self.path.partition("?")[0].removeprefix("/").partition("/")
        if not hmac.compare_digest(given.encode(), site.token.encode()):
            self._refuse(403, "take the whole address that the command printed")
            return None
        return name

    def _get(self, name: str) -> None:
        if name == "":
            self._send(200, "text/html; charset=utf-8", self.server.site.page)
        elif name == "corrections":
            body = self.server.site.edits.saved.model_dump_json(exclude_none=True)
            self._send(200, "application/json", body.encode())
        else:
            self._get_recording(name)

    def _get_recording(self, name: str) -> None:
        recording = self.server.site.recording
        try:
            path = recording.file(name) if recording is not None else None
        except MachineError as error:
            log.warning("view.recording", message=f"The recording can't be played: {error}")
            self._refuse(404, str(error))
            return
        if recording is None or path is None:
            self._refuse(404, "no such page")
            return
        self._send_file(path, dict(recording.sources)[name])

    def _send_file(self, path: Path, kind: str) -> None:
        try:
            file = path.open("rb")
        except OSError as error:
            log.warning("view.recording", message=f"{path} can't be read: {error.strerror}")
            self._refuse(404, "the recording can't be read any more")
            return
        with file:
            size = file.seek(0, 2)
            try:
                part = byte_range(self.headers.get("Range"), size)
            except UnsatisfiableRangeError:
                self._head(416, "text/plain", 0, {"Content-Range": f"bytes */{size}"})
                return
            first, end = part or (0, size)
            more = {"Accept-Ranges": "bytes"}
            if part is not None:
                more["Content-Range"] = f"bytes {first}-{end - 1}/{size}"
            self._head(200 if part is None else 206, kind, end - first, more)
            self.connection.settimeout(_MEDIA_SECONDS)
            self._copy(file, first, end)
            self.connection.settimeout(_CLIENT_SECONDS)

    def _copy(self, file: IO[bytes], first: int, end: int) -> None:
        file.seek(first)
        left = 0 if self.command == "HEAD" else end - first
        while left and (chunk := file.read(min(left, _CHUNK_BYTES))):
            self.wfile.write(chunk)
            left -= len(chunk)
        if left:  # it was cut short meanwhile: what was announced can't be sent
            self.close_connection = True

    def _save(self) -> None:
        if self.headers.get("Origin") != f"http://{self.headers['Host']}":
            self._say(403, error="corrections are taken from the page itself alone")
            return
        if self.headers.get_content_type() != "application/json":
            self._say(415, error="corrections are JSON")
            return
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()):
            self._say(411, error="corrections must say their length")
            return
        if int(length) > MAX_BODY_BYTES:
            self._say(413, error=f"corrections have at most {MAX_BODY_BYTES} bytes")
            return
        try:
            corrections = Corrections.model_validate_json(self.rfile.read(int(length)))
            saved = self.server.site.edits.save(corrections)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            place = ".".join(map(str, first["loc"]))
            self._say(400, error=f"{place or 'the corrections'}: {first['msg']}")
        except StaleError as error:
            self._say(409, error=str(error))
        except ValueError as error:
            self._say(400, error=str(error))
        except OSError as error:
            self._say(500, error=f"{error.filename or 'a file'}: {error.strerror}")
        else:
            self._say(200, saved=saved.message, version=saved.version)

    def _say(self, status: int, **values: str | int) -> None:
        self._send(status, "application/json", json.dumps(values).encode())

    def _refuse(self, status: int, why: str) -> None:
        self._send(status, "text/plain; charset=utf-8", f"{why}\n".encode())

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self._head(status, kind, len(body), {})
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the base class refuses: other methods, and what is no request."""
        self.close_connection = True
        self._refuse(code, message or explain or HTTPStatus(code).phrase)

    def _head(self, status: int, kind: str, length: int, more: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**_HEADERS, **more}.items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name
        """Requests are not worth a log line."""
