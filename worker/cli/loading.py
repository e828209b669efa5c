"""The engine of a command that a person watches: started and stopped while signals are looked for.

Loading and stopping happen on threads of their own, because native code that runs on the main
thread keeps Python from noticing a signal.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING

from worker.cli.console import Screen
from worker.cli.interrupts import Interrupts
from worker.cli.progress import size
from worker.threads import SupervisedThread

if TYPE_CHECKING:
    from worker.speech.api import Transcriber
    from worker.speech.config import EngineConfig
    from worker.speech.fetch.download import Download

__all__ = ["load", "stop"]

STOP_SECONDS = 3.0
"""How long an interrupted engine may take to end; a batch on its way can't be called back."""

_POLL_SECONDS = 0.2


def load(config: EngineConfig, shown: Screen, interrupts: Interrupts) -> Transcriber | None:
    """The engine, started; None if a signal came meanwhile.

    Raises:
        SettingsError, MachineError: see `Transcriber.start`.
    """
    started: Future[Transcriber] = Future()
    downloads: list[Download] = []

    def start() -> None:
        try:
            from worker.speech.engine.engine import build
            from worker.speech.model.models import resolve

            resolve(config.model, config.model_dir, on_download=downloads.append)
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


def _show_loading(shown: Screen, model: str, downloads: Sequence[Download]) -> None:
    for download in downloads:
        whole = download.size
        shown.stage(f"Downloading {model}" + (f" ({size(whole)})" if whole else ""))
        fetched = download.fetched()
        part = min(1.0, fetched / whole) if whole else None
        shown.update(part, f"{size(fetched)} here")
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
