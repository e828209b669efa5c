"""A bad network: an HTTP proxy in front of one server that spoils a share of the calls.

What it may do to a call, drawn from a seeded generator:

- `DELAY`: wait, then answer;
- `RESET`: break the connection (RST) before the server sees the request;
- `RESET_AFTER`: the same after the server has done its work: the answer is lost;
- `TRUNCATE`: send the answer's head and half of its body, then close;
- `ERROR`: answer 500 or 503 without asking the server.

Point `AWS_ENDPOINT_URL` (or the one of a service) at `FlakyProxy.endpoint`.
"""

from __future__ import annotations

import http.client
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Sequence
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from tests.fakes.loopback import LoopbackServer

# Per connection; the rest goes through as it came.
_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "expect"}


class Mischief(Enum):
    """What may happen to a call."""

    DELAY = "delay"
    RESET = "reset"
    RESET_AFTER = "reset_after"
    TRUNCATE = "truncate"
    ERROR = "error"


class FlakyProxy(LoopbackServer):
    """The proxy. Use it as a context manager.

    Args:
        upstream: http://host:port of the server.
        share: of the calls that are spoiled, 0 to 1; may be changed at any time.
        seed: of the draw. Threads race for the next draw, so only the sequence is fixed.
        kinds: what may happen, all equally likely.
        delay_seconds: the longest delay.
    """

    def __init__(
        self,
        upstream: str,
        *,
        share: float = 0.2,
        seed: int = 0,
        kinds: Sequence[Mischief] = tuple(Mischief),
        delay_seconds: float = 0.5,
    ) -> None:
        where = urlsplit(upstream)
        self.host, self.port = where.hostname or "127.0.0.1", where.port or 80
        self.share = share
        self.kinds = tuple(kinds)
        self.delay_seconds = delay_seconds
        self.spoiled: Counter[Mischief] = Counter()
        self.calls = 0
        self.answered_bytes = 0
        """Bytes of bodies sent to clients."""
        self._rng = random.Random(seed)
        self._lock = threading.Lock()
        self._queued: list[Mischief | None] = []
        super().__init__(_handler(self), _Server)

    @property
    def endpoint(self) -> str:
        """Where clients go instead of to the server."""
        return self.url

    def spoil_next(self, *kinds: Mischief | None) -> None:
        """Have the next calls go wrong in these ways (None: not at all), whatever the share."""
        with self._lock:
            self._queued += kinds

    def draw(self) -> tuple[Mischief | None, float, int]:
        """What happens to the next call: the kind, a delay in seconds, an error status."""
        with self._lock:
            self.calls += 1
            kind = None
            if self._queued:
                kind = self._queued.pop(0)
            elif self._rng.random() < self.share:
                kind = self._rng.choice(self.kinds)
            if kind is not None:
                self.spoiled[kind] += 1
            delay = self._rng.uniform(0, self.delay_seconds)
            return kind, delay, self._rng.choice((500, 503))

    def count_answer(self, size: int) -> None:
        """Note a body of `size` bytes on its way to a client."""
        with self._lock:
            self.answered_bytes += size


class _Server(ThreadingHTTPServer):
    """Closes connections without shutting them down first: a shutdown sends FIN, not RST."""

    daemon_threads = True

    def shutdown_request(self, request: socket.socket | tuple[bytes, socket.socket]) -> None:
        self.close_request(request)


def _handler(proxy: FlakyProxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def _pass_on(self) -> None:
            body = self._body()
            kind, delay, status = proxy.draw()
            if kind is Mischief.DELAY:
                time.sleep(delay)
            if kind is Mischief.RESET:
                self._reset()
            elif kind is Mischief.ERROR:
                self._error(status)
            else:
                self._forward(body, kind)

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))
            body = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
            return body

        def _forward(self, body: bytes, kind: Mischief | None) -> None:
            connection = http.client.HTTPConnection(proxy.host, proxy.port, timeout=60)
            try:
                connection.putrequest(
                    self.command, self.path, skip_host=True, skip_accept_encoding=True
                )
                for name, value in self.headers.items():
                    if name.lower() not in _HOP_BY_HOP | {"content-length"}:
                        connection.putheader(name, value)
                connection.putheader("Content-Length", str(len(body)))
                connection.endheaders(body)
                response = connection.getresponse()
                self._answer(response, response.read(), kind)
            except (OSError, http.client.HTTPException):
                # The server went away, or the client did (it may have been killed).
                self.close_connection = True
            finally:
                connection.close()

        def _answer(
            self, response: http.client.HTTPResponse, body: bytes, kind: Mischief | None
        ) -> None:
            if kind is Mischief.RESET_AFTER:
                self._reset()
                return
            self.send_response_only(response.status, response.reason)
            has_length = False
            for name, value in response.getheaders():
                if name.lower() not in _HOP_BY_HOP:
                    self.send_header(name, value)
                    has_length |= name.lower() == "content-length"
            if not has_length and response.status >= 200 and response.status != 204:
                self.send_header("Content-Length", str(len(body)))
            if kind is Mischief.TRUNCATE and not body:
                # Nothing to halve but the head itself.
                self.wfile.write(b"HTTP/1.1 ")
                self.close_connection = True
                return
            self.end_headers()
            if kind is Mischief.TRUNCATE:
                body = body[: len(body) // 2]
                self.close_connection = True
            proxy.count_answer(len(body))
            self.wfile.write(body)

        def _error(self, status: int) -> None:
            if self.headers.get("X-Amz-Target"):
                text, kind = '{"__type": "ServiceUnavailable"}', "application/x-amz-json-1.0"
            else:
                code = "InternalError" if status == 500 else "SlowDown"
                text, kind = f"<Error><Code>{code}</Code></Error>", "application/xml"
            body = b"" if self.command == "HEAD" else text.encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(body)

        def _reset(self) -> None:
            # Lingering for 0 s makes close() send RST instead of FIN.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _pass_on  # noqa: N815  # http.server's

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # inherited name
            pass

    return Handler
