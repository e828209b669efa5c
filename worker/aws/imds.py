"""The instance metadata service (IMDS): how a program on EC2 learns about its own instance.

Spot interruption notices, Auto Scaling's plans for the instance and the instance's id are read
there. Off EC2 there is no such service, which is how the worker finds out that it isn't on EC2.
Version 2 of the service only, which asks for a token first.
"""

from __future__ import annotations

import http.client
import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit

from worker.errors import TransientError
from worker.logs import get_logger

__all__ = ["Imds", "SpotNotice", "is_terminating", "parse_instance_action"]

log = get_logger(__name__)

_ENDPOINT = "http://169.254.169.254"
_ENDPOINT_IPV6 = "http://[fd00:ec2::254]"
_TOKEN_SECONDS = 21600
_NOTICE_SECONDS = 120.0
"""The warning a spot interruption gives, at most."""


class Imds:
    """A client of the instance metadata service, version 2. Callable from any thread.

    Args:
        environ: environment with AWS's own variables: `AWS_EC2_METADATA_DISABLED`,
            `AWS_EC2_METADATA_SERVICE_ENDPOINT` and `AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE`.
            None: of this process.
        timeout: seconds for connecting and for each read; short, because the service is on the
            host itself.
        clock: monotonic seconds, for the token's age.
    """

    def __init__(
        self,
        environ: Mapping[str, str] | None = None,
        *,
        timeout: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        environ = os.environ if environ is None else environ
        ipv6 = environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "").lower() == "ipv6"
        default = _ENDPOINT_IPV6 if ipv6 else _ENDPOINT
        endpoint = urlsplit(environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or default)
        self._host = endpoint.hostname or ""
        self._port = endpoint.port or 80
        self._base = endpoint.path.rstrip("/")
        self._disabled = environ.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true"
        self._timeout = timeout
        self._clock = clock
        self._lock = threading.Lock()
        self._token = ""
        self._token_until = 0.0
        self._found = False

    def available(self) -> bool:
        """Whether the service exists, that is, whether this is EC2. Takes 2 s at most.

        Once it has answered, this stays true even if it stops answering: a machine doesn't leave
        EC2.
        """
        if not self._found:
            try:
                self._fresh_token()
            except TransientError:
                return False
            self._found = True
        return True

    def get(self, path: str) -> str | None:
        """Read `/latest/meta-data/<path>`; None if there is nothing there (404).

        Raises:
            TransientError: the service does not answer, or refuses.
        """
        for attempt in range(2):
            headers = {"X-aws-ec2-metadata-token": self._fresh_token()}
            status, text = self._request("GET", f"/latest/meta-data/{path}", headers)
            if status == 200:
                return text
            if status == 404:
                return None
            if status != 401 or attempt:
                break
            with self._lock:
                self._token = ""
        raise TransientError(f"the instance metadata service answers {status} for {path}")

    def instance_id(self) -> str:
        """This instance's id. Raises TransientError."""
        found = self.get("instance-id")
        if not found:
            raise TransientError("the instance metadata service does not say the instance's id")
        return found

    def _fresh_token(self) -> str:
        with self._lock:
            if self._token and self._clock() < self._token_until:
                return self._token
            asked_at = self._clock()
            status, token = self._request(
                "PUT",
                "/latest/api/token",
                {"X-aws-ec2-metadata-token-ttl-seconds": str(_TOKEN_SECONDS)},
            )
            if status != 200 or not token:
                raise TransientError(f"the instance metadata service gives no token ({status})")
            self._token = token
            self._token_until = asked_at + _TOKEN_SECONDS * 0.9
            return token

    def _request(self, method: str, path: str, headers: Mapping[str, str]) -> tuple[int, str]:
        if self._disabled:
            raise TransientError("AWS_EC2_METADATA_DISABLED is set")
        connection = http.client.HTTPConnection(self._host, self._port, timeout=self._timeout)
        try:
            connection.request(method, self._base + path, headers=dict(headers))
            response = connection.getresponse()
            return response.status, response.read(65536).decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            raise TransientError(
                f"the instance metadata service does not answer: {error!r}"
            ) from error
        finally:
            connection.close()


@dataclass(frozen=True, slots=True)
class SpotNotice:
    """A spot interruption: EC2 is about to take this instance away.

    Attributes:
        action: what EC2 will do: terminate, stop or hibernate.
        deadline: epoch seconds when it will do so.
    """

    action: str
    deadline: float

    def seconds_left(self, now: float | None = None) -> float:
        """Seconds until the deadline, 0 if it is past. `now` in epoch seconds; None: now."""
        return max(0.0, self.deadline - (time.time() if now is None else now))


def parse_instance_action(text: str, now: float) -> SpotNotice:
    """Read the text of `spot/instance-action`.

    It looks like `{"action": "terminate", "time": "2017-09-18T08:22:00Z"}`, and exists only if
    the instance is about to end. So a text that can't be read is a notice too: two minutes are
    assumed, which is the longest warning that EC2 gives. Two minutes is also the upper bound if
    this machine's clock is wrong.

    Args:
        text: what the metadata service returned.
        now: epoch seconds.
    """
    action, deadline = "terminate", now + _NOTICE_SECONDS
    try:
        document = json.loads(text)
        action = str(document["action"])
        moment = datetime.fromisoformat(document["time"])
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        deadline = min(deadline, moment.timestamp())
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        log.warning(
            "instance.notice_unclear",
            message="The spot notice can't be read; two minutes are assumed",
            error=repr(error),
        )
    return SpotNotice(action=action, deadline=deadline)


def is_terminating(state: str) -> bool:
    """Whether an Auto Scaling lifecycle state means that the worker must stop (pure).

    The metadata service's `autoscaling/target-lifecycle-state` says Terminated; the API's states
    are Terminating, Terminating:Wait and so on. Warmed:Stopped, Warmed:Hibernated and
    Warmed:Terminated mean that the instance goes to a warm pool.
    """
    state = state.strip()
    return state.startswith("Terminat") or (
        state.startswith("Warmed:") and state != "Warmed:Running"
    )
