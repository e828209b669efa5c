"""Whether a host that models come from can be reached: one bounded question for all who ask.

The libraries that fetch models try each file again for a minute or more, whether or not anything
answers, and a name may stay unresolved for as long. So a host gets one question before they
start, on a thread of its own, and the answer holds for `retry.MODELS_SECONDS`.
"""

from __future__ import annotations

import math
import threading
import time
import urllib.request
from collections.abc import Callable
from urllib.parse import urlsplit

from worker.retry import MODELS_SECONDS
from worker.speech.fetch.judging import explain
from worker.threads import SupervisedThread

__all__ = ["WAIT_SECONDS", "NotFetched", "NotFetchedNow", "name_of", "reach"]

WAIT_SECONDS = 2.0
"""How long a host may take to answer where a result may be waiting."""

_SOCKET_SECONDS = 30.0
"""When a question ends that got no answer. Nobody waits for it by then; a late answer still
counts."""


class NotFetched(OSError):
    """Files can't be had from the network; says why in a clause, to follow an `and`."""


class NotFetchedNow(NotFetched):
    """The network or the host failed, which may pass."""


class _Host:
    """What is known of one host."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._asked_at = -math.inf
        self._asking = False
        self._answer: str | None = None

    def trouble(self, question: Callable[[], str], seconds: float) -> str:
        """Why it can't be reached; empty if it can.

        Args:
            question: asks it, and returns such an answer or raises what went wrong.
            seconds: how long the answer may take, counted from when the host was asked.
        """
        with self._changed:
            now = time.monotonic()
            if not self._asking and now - self._asked_at >= MODELS_SECONDS:
                self._asked_at, self._asking, self._answer = now, True, None
                SupervisedThread("model-host", lambda: self._ask(question)).start()
            until = self._asked_at + seconds
            while self._answer is None and (left := until - time.monotonic()) > 0:
                self._changed.wait(left)
            return f"no answer within {seconds:g} s" if self._answer is None else self._answer

    def _ask(self, question: Callable[[], str]) -> None:
        try:
            answer = question()
        # Whatever the client raises, the host can't be used; whoever asked learns why.
        except Exception as error:  # noqa: BLE001
            answer = explain(error)
        with self._changed:
            self._answer, self._asking = answer, False
            self._changed.notify_all()


_hosts: dict[str, _Host] = {}
_lock = threading.Lock()


def reach(url: str, ask: Callable[[str, float], str], seconds: float | None = None) -> None:
    """Make sure that a URL's host can be reached.

    The first call asks it, and so does the first one after `retry.MODELS_SECONDS`; never are two
    questions to one host under way.

    Args:
        url: of a file that the host should have.
        ask: asks for it, (url, seconds for each step) -> why the host is of no use, or nothing.
        seconds: how long an answer may take; None for `WAIT_SECONDS`.

    Raises:
        NotFetchedNow: it can't be reached, or what answers is no host of models.
    """
    with _lock:
        host = _hosts.setdefault(urlsplit(url).netloc, _Host())
    patience = WAIT_SECONDS if seconds is None else seconds
    if why := host.trouble(lambda: ask(url, _SOCKET_SECONDS), patience):
        raise NotFetchedNow(f"{name_of(url)} can't be reached{_through_proxy(url)} ({why})")


def name_of(url: str) -> str:
    """The host's name, and its port if one is given; nothing secret."""
    # An address without a scheme is no URL, but still names a host to people.
    return urlsplit(url if "://" in url else f"//{url}").netloc.rpartition("@")[2]


def _through_proxy(url: str) -> str:
    """Says so where a variable sends the URL through a proxy: that may be what is wrong."""
    parts = urlsplit(url)
    proxies = urllib.request.getproxies()
    used = parts.scheme in proxies and not urllib.request.proxy_bypass(parts.netloc)
    return f" through the proxy that {parts.scheme.upper()}_PROXY names" if used else ""
