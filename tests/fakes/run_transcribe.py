"""The real command line as a real process, with the fake engine in place of a model.

Run as `python -m tests.fakes.run_transcribe transcribe FILE...` in the repository's root, with
keyword arguments of FakeEngine as JSON in the variable FAKE_ENGINE.
"""

from __future__ import annotations

import json
import os
import sys
import types
from pathlib import Path

from tests.fakes.engine import FakeEngine
from worker.__main__ import main
from worker.speech.model import models


def replace_engine() -> None:
    """Whoever imports the engine from now on has the fake one, without the imports of the real."""
    module = types.ModuleType("worker.speech.engine.engine")
    vars(module)["build"] = lambda config: FakeEngine(**json.loads(os.environ["FAKE_ENGINE"]))
    sys.modules[module.__name__] = module
    vars(models)["resolve"] = lambda name, model_dir, **_: Path(name)


if __name__ == "__main__":
    replace_engine()
    main()
