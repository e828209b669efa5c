"""What a command says on stderr while it works: one live line on a terminal, or a line at times."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import rich.progress as bars
from rich.console import Console
from rich.table import Column
from rich.text import Text

from worker.cli.progress import Progress, clock, fraction, words
from worker.redact import printable

__all__ = ["Screen", "screen"]

LINE_SECONDS = 30.0
"""How often a line says how far things are where no terminal shows it."""

_WIPED = b"\r\x1b[2K\x1b[?25h"
"""What has a terminal wipe the line that the cursor is on, and show the cursor."""

_BAR = Column(min_width=8, ratio=1)
"""The bar takes what the words leave, so that a line fits 80 columns."""


class _Words(bars.ProgressColumn):
    """What is told beside the bar; as long as there is nothing to tell, the time that it takes."""

    def render(self, task: bars.Task) -> Text:
        return Text(task.fields["words"] or clock(task.elapsed or 0.0))


class Screen:
    """The screen of one command. To be used from one thread; made by `screen`.

    Args:
        console: where it writes.
        live: the live line; None where there is no terminal.
        quiet: whether it says nothing at all.
        now: monotonic seconds.
    """

    def __init__(
        self,
        console: Console,
        live: bars.Progress | None,
        *,
        quiet: bool = False,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console = console
        self._live = live
        self._quiet = quiet
        self._now = now
        self._task: bars.TaskID | None = None
        self._stage = ""
        self._began = self._said = now()

    def say(self, text: str) -> None:
        """A line that stays."""
        if not self._quiet:
            self.report(text)

    def report(self, text: str) -> None:
        """A line that stays, also where it is quiet: what went wrong."""
        self._console.print(printable(text), markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """End the live line, and show the cursor again; lines may still be said."""
        if self._live is not None:
            self._live.stop()

    def abandon(self) -> None:
        """Wipe the live line and show the cursor, for a process that ends at once.

        Callable from a signal's handler: it takes none of the locks that the interrupted thread,
        or the one that draws the line, may hold.
        """
        if self._live is not None:
            with suppress(OSError):
                os.write(2, _WIPED)  # the descriptor of stderr
        self._live = None

    def stage(self, name: str) -> None:
        """What is done from now on, such as `Loading the model base`; its clock starts at zero.

        The name of the stage that is on already changes nothing.
        """
        if name == self._stage:
            return
        self._stage = name
        self._began = self._said = self._now()
        if self._live is None:
            self.say(f"{name} ...")
            return
        if self._task is not None:
            self._live.remove_task(self._task)
        self._task = self._live.add_task(name, total=None, words="")

    def show(self, progress: Progress) -> None:
        """How far the stage is. To be called often: it costs little."""
        self.update(fraction(progress), words(progress, self._now() - self._began))

    def update(self, part: float | None, told: str) -> None:
        """The same in one's own words.

        Args:
            part: that is done, 0 to 1; None where that isn't known.
            told: what is shown beside the bar.
        """
        now = self._now()
        if self._live is not None and self._task is not None:
            total = None if part is None else 1.0
            self._live.update(self._task, total=total, completed=part or 0.0, words=told)
        elif now - self._said >= LINE_SECONDS:
            self._said = now
            self.say(f"{self._stage}: {told}")


@contextmanager
def screen(*, quiet: bool = False) -> Iterator[Screen]:
    """The screen of a command, on stderr; its live line is gone at the end.

    Args:
        quiet: say nothing. What a command says by itself (errors, its last line) is its own affair.
    """
    console = Console(stderr=True)
    if quiet or not console.is_terminal or console.is_dumb_terminal:
        yield Screen(console, None, quiet=quiet)
        return
    columns = (
        bars.TextColumn("{task.description}", markup=False),
        bars.BarColumn(None, table_column=_BAR),
        _Words(),
    )
    with bars.Progress(*columns, console=console, transient=True, expand=True) as live:
        yield Screen(console, live)
