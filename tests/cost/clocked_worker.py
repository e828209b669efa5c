"""The worker with the fake engine (`tests.fakes.run_worker`), with clocks around its parts.

SIGUSR1 sets the clocks back, so that the start is not in them. At its end the process writes
what they say, as JSON, to the file that `CLOCKS_FILE` names.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from tests.cost.clocks import Clocks
from tests.fakes import run_worker

FILE_VARIABLE = "CLOCKS_FILE"
REQUEST = "request "
"""How the names of the clocks around whole requests begin; the operation follows."""

PARTS = (
    ("requests: build, endpoint", "botocore.client:BaseClient._convert_to_request_dict"),
    ("requests: build, endpoint", "botocore.client:BaseClient._resolve_endpoint_ruleset"),
    ("requests: build, endpoint", "botocore.endpoint:Endpoint.prepare_request"),
    ("requests: sign", "botocore.signers:RequestSigner.sign"),
    ("requests: send, wait, headers", "botocore.httpsession:URLLib3Session.send"),
    ("requests: read the answer", "botocore.parsers:ResponseParser.parse"),
    ("requests: the rest of botocore", "botocore.client:BaseClient._make_api_call"),
    ("messages and jobs read", "worker.daemon.dispatch:parse_message"),
    ("log lines", "structlog.stdlib:BoundLogger._proxy_to_logger"),
    ("transcript made and rendered", "worker.pipeline.commit:Commit._render"),
    ("temporary files", "worker.pipeline.workdir:WorkDir.new"),
    ("temporary files", "worker.pipeline.workdir:WorkDir.remove"),
    ("names made fit to be shown", "worker.redact:preview"),
    ("heartbeat", "worker.aws.lease:Heartbeat.beat"),
    ("heartbeat", "worker.aws.lease:LeaseTable.wait"),
    ("fake engine", "tests.fakes.engine:FakeEngine.submit"),
    ("fake engine", "tests.fakes.engine:FakeEngine._next_batch"),
    ("fake engine", "tests.fakes.engine:FakeEngine._decode"),
    ("fake engine", "tests.fakes.engine:FakeEngine._finish"),
    ("steps of a job", "worker.pipeline.pipeline:Pipeline.fetch"),
    ("steps of a job", "worker.pipeline.pipeline:Pipeline.submit"),
    ("steps of a job", "worker.pipeline.pipeline:Pipeline.finish"),
)


def _operation(_client: object, name: str, *_: object) -> str:
    return REQUEST + name


def main() -> int:
    clocks = Clocks()
    for part, place in PARTS:
        clocks.clock(part, place)
    clocks.clock("", "botocore.client:BaseClient._make_api_call", named=_operation, whole=True)

    def reset(*_: Any) -> None:
        clocks.reset()

    signal.signal(signal.SIGUSR1, reset)
    try:
        return run_worker.main()
    finally:
        Path(os.environ[FILE_VARIABLE]).write_text(json.dumps(clocks.spent()), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
