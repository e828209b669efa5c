"""The real daemon as a real process, with the fake engine in place of a model.

Run as `python -m tests.fakes.run_worker` in the repository's root. The worker's settings come
from the environment as always; some variables are this program's own:

    FAKE_ENGINE       keyword arguments of FakeEngine, as JSON
    FAKE_PACE         fields of worker.daemon.daemon.Pace, as JSON
    FAKE_VISIBILITY   a visibility timeout below what the settings allow: tests are in a hurry
"""

from __future__ import annotations

import json
import os
import sys

from tests.fakes.engine import FakeEngine
from worker import logs, settings
from worker.aws.clients import make_clients
from worker.daemon import compose
from worker.daemon.daemon import Pace
from worker.errors import ExitCode, WorkerError


def main() -> int:
    try:
        values = settings.load()
        if hurry := os.environ.get("FAKE_VISIBILITY"):
            values = values.model_copy(update={"visibility_timeout": int(hurry)})
        logs.configure(values.log_level, values.log_format, values.log_file)
        daemon = compose.daemon(
            values,
            make_clients(queue_url=values.queue_url, visibility_timeout=values.visibility_timeout),
            FakeEngine(**json.loads(os.environ.get("FAKE_ENGINE", "{}"))),
            pace=Pace(**json.loads(os.environ.get("FAKE_PACE", "{}"))),
        )
        return int(daemon.run())
    except WorkerError as error:
        sys.stderr.write(f"{error}\n")
        return int(getattr(error, "exit_code", ExitCode.FAILURE))


if __name__ == "__main__":
    sys.exit(main())
