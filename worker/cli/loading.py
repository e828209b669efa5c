"""The engine of a command that a person watches: started and stopped while signals are looked for.

Loading and stopping happen on threads of their own, because native code that runs on the main
thread keeps Python from noticing a signal.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING

from worker.cli.console import Screen
from worker.cli.interrupts import Interrupts
from worker.cli.progress import clock, size
from worker.threads import SupervisedThread

if TYPE_CHECKING:
    from worker.speech.api import Transcriber
    from worker.speech.config import EngineConfig
    from worker.speech.fetch.download import Download

__all__ = ["load", "stop"]

STOP_SECONDS = 3.0
"""How long an interrupted engine may take to end; a batch on its way can't be called back."""

SILENT_SECONDS = 10.0
"""After so long without a byte it is said that nothing arrives."""

_POLL_SECONDS = 0.2


def load(config: EngineConfig, shown: Screen, interrupts: Interrupts) -> Transcriber | None:
    """The engine, started; None if a signal came meanwhile.

    Raises:
        SettingsError, MachineError: see `Transcriber.start`.
    """
    started: Future[Transcriber] = Future()
    downloads: list[_Followed] = []

    def start() -> None:
        try:
            from worker.speech.engine.engine import build
            from worker.speech.model.models import resolve

            def begins(download: Download) -> None:
                downloads.append(_Followed(download))

            resolve(config.model, config.model_dir, on_download=begins)
            downloads.clear()
            engine = build(config)
            engine.start()
        except BaseException as error:  # noqa: BLE001  # raised again on the main thread
            started.set_exception(error)
        else:
            started.set_result(engine)

    SupervisedThread("start", start).start()
    while not interrupts.asked:
        _show_loading(shown, config.model, downloads[:1])
        if wait([started], timeout=_POLL_SECONDS).done:
            return started.result()
    return None


class _Followed:
    """A download whose growth is watched.

    Args:
        download: that begins.
        now: monotonic seconds.
    """

    def __init__(self, download: Download, now: Callable[[], float] = time.monotonic) -> None:
        self._download = download
        self._now = now
        self._fetched = 0
        self._grew = now()
        self.size = download.size

    def look(self) -> tuple[float | None, str]:
        """The part that is here, 0 to 1 (None where the size isn't known), and words about it."""
        fetched = self._download.fetched()
        now = self._now()
        if fetched != self._fetched:
            self._fetched, self._grew = fetched, now
        told = f"{size(fetched)} here"
        if (silent := now - self._grew) >= SILENT_SECONDS:
            told += f", nothing has arrived for {clock(silent)}"
        return min(1.0, fetched / self.size) if self.size else None, told


def _show_loading(shown: Screen, model: str, downloads: Sequence[_Followed]) -> None:
    for download in downloads:
        whole = download.size
        shown.stage(f"Downloading {model}" + (f" ({size(whole)})" if whole else ""))
        shown.update(*download.look())
    if not downloads:
        shown.stage(f"Loading the model {model}")


def stop(engine: Transcriber, interrupts: Interrupts) -> None:
    """Stop the engine; after a signal, wait for that only a little."""
    began = time.monotonic()
    stopping = SupervisedThread("engine-stop", engine.stop)
    stopping.start()
    while not stopping.join(_POLL_SECONDS):
        if interrupts.asked and time.monotonic() - began > STOP_SECONDS:
            return
