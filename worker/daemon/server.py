"""The worker's pages on loopback: `/metrics` (Prometheus), `/status` (JSON), `/health`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from worker.errors import SettingsError
from worker.logs import get_logger
from worker.redact import summary
from worker.threads import SupervisedThread

log = get_logger(__name__)

LOOPBACK = "127.0.0.1"

_STOP_SECONDS = 5.0
_CLIENT_SECONDS = 10
"""A client that says nothing holds a thread no longer than this."""

_Page = Callable[[], tuple[int, str, bytes]]
"""Makes one page: (HTTP status, content type, body)."""


class StatusServer:
    """HTTP on 127.0.0.1, for Prometheus, for `transcription-worker top` and for health checks.

    `/health` answers 200 while the worker is well, and 503 with the reason when it is not.

    Args:
        port: to listen on; 0: any free one.
        registry: shown at `/metrics`.
        status: the document at `/status`, JSON values.
        unhealthy: asked for `/health`: why the worker is not well, None if it is.

    Raises:
        SettingsError: the port can't be had.
    """

    def __init__(
        self,
        port: int,
        *,
        registry: CollectorRegistry,
        status: Callable[[], Mapping[str, Any]],
        unhealthy: Callable[[], str | None],
    ) -> None:
        pages: dict[str, _Page] = {
            "/metrics": lambda: (200, CONTENT_TYPE_LATEST, generate_latest(registry)),
            "/status": lambda: (200, "application/json", json.dumps(dict(status())).encode()),
            "/health": lambda: _health(unhealthy()),
        }
        try:
            self._server = ThreadingHTTPServer((LOOPBACK, port), _handler(pages))
        except OSError as error:
            raise SettingsError(
                f"metrics_port = {port} can't be used on {LOOPBACK}: {error.strerror}; "
                "choose a free port, or leave it unset to serve no metrics"
            ) from None
        self._server.daemon_threads = True
        self._thread = SupervisedThread("status", self._server.serve_forever)

    @property
    def port(self) -> int:
        """The port it listens on (the one asked for, or a free one for 0)."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Start serving."""
        self._thread.start()

    def stop(self) -> None:
        """End. Safe if it never started."""
        if self._thread.alive:
            self._server.shutdown()
            self._thread.join(_STOP_SECONDS)
        self._server.server_close()


def _health(unhealthy: str | None) -> tuple[int, str, bytes]:
    if unhealthy is None:
        return 200, "text/plain", b"ok\n"
    return 503, "text/plain", f"{unhealthy}\n".encode()


def _handler(pages: Mapping[str, _Page]) -> type[BaseHTTPRequestHandler]:
    """The class that the standard library's server makes one of for each request."""

    class Handler(BaseHTTPRequestHandler):
        timeout = _CLIENT_SECONDS

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            page = pages.get(path)
            try:
                code, kind, body = page() if page else (404, "text/plain", b"no such page\n")
            except Exception as error:  # noqa: BLE001  # no traceback on stderr
                log.warning(
                    "metrics.page_failed",
                    message="A status page could not be made",
                    page=path,
                    error=summary(error),
                )
                code, kind, body = 500, "text/plain", b"failed\n"
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name
            """Scrapes are not worth a log line."""

    return Handler
