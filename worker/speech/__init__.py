"""Sound to words, as a library. Knows nothing of AWS.

    from pathlib import Path
    from worker.speech import EngineConfig, Options, build

    engine = build(EngineConfig(model="base", device="cpu"))
    engine.start()  # loads the model and tests it on known speech
    try:
        submission = engine.submit(Path("talk.flac"), Options(language="en"), name="talk")
        for segment in submission.future.result().segments:
            print(f"{segment.start:7.2f} {segment.end:7.2f} {segment.text}")
    finally:
        engine.stop()

Submit as many files as there are: their windows share batches. Errors of a file are `JobError`s in
its future; `start` raises MachineError or SettingsError (all in `worker.errors`). Names are
imported when they are used, so importing this package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from worker.speech.api import (
        EngineStats,
        Options,
        Partial,
        Recognition,
        Submission,
        Transcriber,
        WindowText,
    )
    from worker.speech.config import EngineConfig
    from worker.speech.engine.engine import build
    from worker.speech.media.raw import RawAudio

__all__ = [
    "EngineConfig",
    "EngineStats",
    "Options",
    "Partial",
    "RawAudio",
    "Recognition",
    "Submission",
    "Transcriber",
    "WindowText",
    "build",
]

_MODULES = dict.fromkeys(__all__, "worker.speech.api") | {
    "EngineConfig": "worker.speech.config",
    "RawAudio": "worker.speech.media.raw",
    "build": "worker.speech.engine.engine",
}


def __getattr__(name: str) -> Any:
    """Imports a public name from its module the first time that it is asked for."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(_MODULES[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """The public names, imported or not."""
    return sorted({*globals(), *__all__})
