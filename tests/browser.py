"""A headless Chromium, driven over the WebDriver protocol (W3C) by chromedriver.

The few commands that our tests need, in plain HTTP; a library for them would be one more to keep.
"""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
"""The key under which the protocol gives an element's id."""

ENTER, ESCAPE, TAB, LEFT, RIGHT = "\ue007", "\ue00c", "\ue004", "\ue012", "\ue014"
SHIFT, CONTROL = "\ue008", "\ue009"

_FLAGS = (
    "--headless",
    "--no-sandbox",  # tests may run as root, which the sandbox refuses
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--autoplay-policy=no-user-gesture-required",
    "--mute-audio",
)


class BrowserError(Exception):
    """The browser refuses a command."""


class Browser:
    """One window.

    Args:
        base: address of the session.
    """

    def __init__(self, base: str) -> None:
        self._base = base

    def open(self, url: str) -> None:
        """Load a page and wait for it."""
        self._call("POST", "url", url=url)

    def script(self, code: str, *arguments: object) -> Any:
        """Run JavaScript in the page; what it returns."""
        return self._call("POST", "execute/sync", script=code, args=arguments)

    def script_async(self, code: str, *arguments: object) -> Any:
        """Run JavaScript whose last argument is a function; what it calls that with."""
        return self._call("POST", "execute/async", script=code, args=arguments)

    def wait(self, code: str, seconds: float = 10.0) -> Any:
        """Wait until a JavaScript expression is truthy; its value."""
        return self._call(
            "POST",
            "execute/async",
            script="const [code, limit, done] = arguments;"
            "const value = new Function(`return (${code})`); const end = Date.now() + limit;"
            "const look = () => { const now = value(); if (now) done(now);"
            " else if (Date.now() > end) done(null); else setTimeout(look, 20); }; look();",
            args=[code, seconds * 1000],
        )

    def click(self, selector: str, *, times: int = 1) -> None:
        """Click the middle of the first element that a CSS selector finds, as a mouse does."""
        moves: list[dict[str, object]] = [
            {"type": "pointerMove", "origin": self._find(selector), "x": 0, "y": 0}
        ]
        for _ in range(times):
            moves += [{"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0}]
        self._perform({"type": "pointer", "id": "mouse", "actions": moves})

    def press(self, *keys: str, held: str = "") -> None:
        """Press keys one after the other, whatever has the focus, with others held down."""
        around = [{"type": "keyDown", "value": key} for key in held]
        pressed = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        after = [{"type": "keyUp", "value": key} for key in reversed(held)]
        self._perform({"type": "key", "id": "keys", "actions": [*around, *pressed, *after]})

    def type(self, text: str) -> None:
        """Type text into what has the focus."""
        self.press(*text)

    def resize(self, width: int, height: int, *, dark: bool = False) -> None:
        """Show the page as a screen of this size does, in CSS pixels."""
        self._devtools(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._devtools("Emulation.setEmulatedMedia", features=[scheme])

    def screenshot(self, path: Path) -> None:
        """A PNG of what is shown."""
        path.write_bytes(base64.b64decode(self._call("GET", "screenshot")))

    def errors(self) -> list[str]:
        """What the page's console says is wrong, since it was last asked."""
        entries = self._call("POST", "se/log", type="browser")
        return [entry["message"] for entry in entries if entry["level"] == "SEVERE"]

    def _find(self, selector: str) -> dict[str, str]:
        found: dict[str, str] = self._call("POST", "element", using="css selector", value=selector)
        self.script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", found)
        return {ELEMENT: found[ELEMENT]}

    def _perform(self, source: dict[str, object]) -> None:
        self._call("POST", "actions", actions=[source])

    def _devtools(self, command: str, **parameters: object) -> None:
        self._call("POST", "goog/cdp/execute", cmd=command, params=parameters)

    def _call(self, method: str, command: str, **parameters: object) -> Any:
        return call(method, f"{self._base}/{command}", parameters)


def call(method: str, url: str, parameters: dict[str, Any]) -> Any:
    """One command of the protocol; the value of its answer."""
    body = json.dumps(parameters).encode() if method == "POST" else None
    request = urllib.request.Request(url, body, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["value"]
    except urllib.error.HTTPError as error:
        raise BrowserError(json.load(error)["value"]["message"]) from None


@contextmanager
def started(profile: Path, flags: Sequence[str] = ()) -> Iterator[Browser]:
    """A browser with an empty profile; skips the test where there is none.

    Args:
        profile: an empty folder.
        flags: more of them.
    """
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("needs chromium and chromedriver (on Debian: chromium, chromium-driver)")
    process = subprocess.Popen(
        [driver, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        base = f"http://127.0.0.1:{_port(process)}/session"
        options = {
            "binary": chromium,
            "args": [*_FLAGS, f"--user-data-dir={profile}", *flags],
        }
        wanted = {
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL"},
            "timeouts": {"script": 60_000},
            "unhandledPromptBehavior": "ignore",
        }
        session = call("POST", base, {"capabilities": {"alwaysMatch": wanted}})["sessionId"]
        try:
            yield Browser(f"{base}/{session}")
        finally:
            call("DELETE", f"{base}/{session}", {})
    finally:
        process.terminate()
        process.wait(10)


def _port(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        if found := re.search(r"started successfully on port (\d+)", line):
            return found[1]
    raise BrowserError("chromedriver did not start")
