"""The AWS command line as a process that runs many calls, one after another.

Run as `python -m tests.fakes.aws_cli` in the repository's root. A call is a line of JSON on stdin,
with `arguments`, `environ` and `folder`; its answer is one on stdout, with `code`, `output` and
`errors`. To start it anew for each call takes most of a second; and it can't be a test's process,
where it would put its own botocore in place of boto3's.
"""

from __future__ import annotations

import io
import json
import os
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from functools import cache
from typing import Any

from awscli.clidriver import CLIDriver, create_clidriver

OWN = "AWS_DATA_PATH"
"""Where the AWS command line finds its own data: set when it is imported."""


@cache
def driver(variables: frozenset[tuple[str, str]]) -> CLIDriver:
    """The command line, which reads AWS's models once for all calls with the same variables."""
    return create_clidriver()


def answer(call: dict[str, Any]) -> dict[str, Any]:
    out, err = io.StringIO(), io.StringIO()
    data = os.environ[OWN]
    os.environ.clear()
    os.environ.update(call["environ"], **{OWN: data})
    with chdir(call["folder"]), redirect_stdout(out), redirect_stderr(err):
        try:
            variables = {pair for pair in call["environ"].items() if pair[0].startswith("AWS_")}
            code = driver(frozenset(variables)).main(call["arguments"])
        except SystemExit as end:  # argparse's, of a wrong option
            code = end.code
    return {"code": code, "output": out.getvalue(), "errors": err.getvalue()}


if __name__ == "__main__":
    for line in sys.stdin:
        sys.stdout.write(json.dumps(answer(json.loads(line))) + "\n")
        sys.stdout.flush()
