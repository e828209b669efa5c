"""The screen: a live line on a terminal, now and then a line elsewhere, nothing if quiet."""

from __future__ import annotations

import io
import re
import threading

import pytest
import rich.progress as bars
from rich.console import Console

from worker.cli import console
from worker.cli.console import LINE_SECONDS, Screen
from worker.cli.progress import Progress


class Elsewhere:
    """A screen without a terminal, and its clock."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.now = 100.0
        self.written = io.StringIO()
        self.screen = Screen(Console(file=self.written), None, quiet=quiet, now=lambda: self.now)

    def run(self, seconds: int) -> list[str]:
        self.screen.stage("Loading the model base")
        self.screen.stage("Transcribing")
        for second in range(seconds):
            self.screen.show(Progress(0, 1, seconds=4.0 * second, of_seconds=600.0))
            self.screen.stage("Transcribing")
            self.now += 1
        self.screen.say("a [bold] name")
        return self.written.getvalue().splitlines()


def test_without_a_terminal_a_line_says_at_times_how_far_it_is() -> None:
    assert Elsewhere().run(round(2 * LINE_SECONDS) + 5) == [
        "Loading the model base ...",
        "Transcribing ...",
        "Transcribing: 2:00 of 10:00, 4.0x, 2:00 left",
        "Transcribing: 4:00 of 10:00, 4.0x, 1:30 left",
        "a [bold] name",
    ]


def test_what_is_short_says_nothing_between() -> None:
    assert len(Elsewhere().run(round(LINE_SECONDS) - 1)) == 3


def test_quiet_is_silent_but_for_what_went_wrong() -> None:
    elsewhere = Elsewhere(quiet=True)
    assert elsewhere.run(100) == []
    elsewhere.screen.report("one.wav: it [broke]")
    assert elsewhere.written.getvalue() == "one.wav: it [broke]\n"


def test_on_a_terminal_one_line_of_80_columns_that_is_gone_at_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written = io.StringIO()
    terminal = Console(file=written, force_terminal=True, width=80, _environ={})
    monkeypatch.setattr(console, "Console", lambda **_: terminal)
    with console.screen() as screen:
        screen.stage("Loading the model base")
        assert screen._live is not None
        screen._live.refresh()
        screen.stage("Transcribing")
        for part in range(3):
            # The longest there is: hours of audio in hundreds of files.
            screen.show(
                Progress(10 * part, 300, seconds=3600.0 * part, of_seconds=36_000.0, estimated=True)
            )
            screen._live.refresh()
        screen.report("one.wav: it broke")
    text = written.getvalue()
    lines = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line) for line in re.split(r"[\r\n]", text)]
    shown = [line for line in lines if line.startswith("Transcribing")]
    assert any("2:00:00 of about 10:00:00, 20 of 300 files" in line for line in shown)
    assert max(map(len, shown)) <= 80
    assert "one.wav: it broke" in lines, "on a line of its own"
    assert any(re.fullmatch("Loading the model base .* 0:00", line) for line in lines)
    assert not any("..." in line for line in lines)
    assert text.endswith("\x1b[?25h\r\x1b[1A\x1b[2K"), "cursor shown, line wiped"


class Stuck(io.StringIO):
    """A terminal that takes nothing: who writes to it waits."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = threading.Event()
        self.freed = threading.Event()

    def write(self, text: str) -> int:
        self.reached.set()
        self.freed.wait()
        return super().write(text)


def test_a_screen_is_abandoned_while_another_thread_draws_it(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The second Ctrl-C may come at any moment, and must not wait for a lock."""
    stuck = Stuck()
    terminal = Console(file=stuck, force_terminal=True, width=80, _environ={})
    live = bars.Progress(console=terminal, auto_refresh=False)
    screen = Screen(terminal, live)
    drawing = threading.Thread(target=live.start)
    drawing.start()
    assert stuck.reached.wait(10)
    ending = threading.Thread(target=screen.abandon)
    ending.start()
    ending.join(5)
    ended = not ending.is_alive()
    stuck.freed.set()
    drawing.join()
    ending.join()
    live.stop()
    assert ended
    assert capfd.readouterr().err == "\r\x1b[2K\x1b[?25h"
