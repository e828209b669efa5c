"""Where an exception happened, without what it says (pure).

The message of an exception that we did not expect may quote anything, a transcript's text
among it (pydantic's do). So a defect is logged and recorded by its type and its place.
"""

from __future__ import annotations

import traceback
from pathlib import PurePath

from worker.errors import WorkerError

_FRAMES = 8


def told(error: BaseException) -> str:
    """One line for logs and documents: our own errors in their words, others by their place."""
    if isinstance(error, WorkerError):
        return str(error)
    return f"{type(error).__name__} at {where(error)}"


def where(error: BaseException) -> str:
    """The innermost frames as `file.py:line in function`, outermost first."""
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    places = [f"{PurePath(f.filename).name}:{f.lineno} in {f.name}" for f in frames]
    return " > ".join(places) or "an unknown place"
