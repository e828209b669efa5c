r"""Sends jobs to the worker's queue: the same as `transcription-worker submit`.

The queue is named, or is WORKER_QUEUE_URL's:

    .venv/bin/python scripts/submit-job.py --queue-url URL --prefix s3://bucket/audio/ --stable-ids
    find . -name '*.wav' | .venv/bin/python scripts/submit-job.py --queue-url URL \
        --from-file - --upload-to s3://bucket/in/ --dry-run

Its options are those of the command.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NoReturn

from worker.__main__ import run
from worker.cli.submit import submit


def main(arguments: Sequence[str]) -> NoReturn:
    """Run the command `submit` with these arguments, and exit as it does."""
    run(submit, arguments, program="submit-job.py")


if __name__ == "__main__":
    main(sys.argv[1:])
