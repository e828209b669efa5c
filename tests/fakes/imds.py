"""A small instance metadata service, version 2: a token is required, answers can be changed.

with FakeImds() as imds:
    imds["spot/instance-action"] = '{"action": "terminate", "time": "..."}'
    os.environ["AWS_EC2_METADATA_SERVICE_ENDPOINT"] = imds.endpoint
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler

from tests.fakes.loopback import LoopbackServer

INSTANCE_ID = "i-0123456789abcdef0"


class FakeImds(LoopbackServer):
    """The server. Paths are those below /latest/meta-data/; what is not set is a 404.

    Args:
        instance_id: of the instance.
    """

    def __init__(self, instance_id: str = INSTANCE_ID) -> None:
        self._paths = {
            "instance-id": instance_id,
            "placement/region": "us-east-1",
            "placement/availability-zone": "us-east-1a",
            "autoscaling/target-lifecycle-state": "InService",
        }
        self._tokens: dict[str, float] = {}
        self._lock = threading.Lock()
        self.calls: Counter[str] = Counter()
        """Requests by path, "token" for the token."""
        self.broken = False
        """Answer everything with 500."""
        super().__init__(_handler(self))

    @property
    def endpoint(self) -> str:
        """For `AWS_EC2_METADATA_SERVICE_ENDPOINT`."""
        return self.url

    def __setitem__(self, path: str, text: str) -> None:
        with self._lock:
            self._paths[path] = text

    def __delitem__(self, path: str) -> None:
        with self._lock:
            self._paths.pop(path, None)

    def announce_termination(self, seconds: float, action: str = "terminate") -> None:
        """Set a spot notice for `seconds` from now."""
        moment = datetime.now(UTC) + timedelta(seconds=seconds)
        self["spot/instance-action"] = json.dumps(
            {"action": action, "time": moment.strftime("%Y-%m-%dT%H:%M:%SZ")}
        )

    def forget_tokens(self) -> None:
        """Make all tokens invalid."""
        with self._lock:
            self._tokens.clear()

    def answer(self, method: str, path: str, token: str, ttl: str) -> tuple[int, str]:
        """Status and text for one request."""
        with self._lock:
            if self.broken:
                return 500, ""
            if path == "/latest/api/token":
                self.calls["token"] += 1
                if method != "PUT":
                    return 405, ""
                if not ttl.isdigit() or not 1 <= int(ttl) <= 21600:
                    return 400, ""
                fresh = secrets.token_urlsafe(32)
                self._tokens[fresh] = time.monotonic() + int(ttl)
                return 200, fresh
            key = path.removeprefix("/latest/meta-data/")
            self.calls[key] += 1
            if self._tokens.get(token, 0.0) <= time.monotonic():
                return 401, ""
            text = self._paths.get(key)
            return (404, "") if text is None else (200, text)


def _handler(imds: FakeImds) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            status, text = imds.answer(
                self.command,
                self.path,
                self.headers.get("X-aws-ec2-metadata-token", ""),
                self.headers.get("X-aws-ec2-metadata-token-ttl-seconds", ""),
            )
            self.send_response(status)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        do_GET = _answer  # noqa: N815  # names that http.server wants
        do_PUT = _answer  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # inherited name
            pass

    return Handler
