"""The container's health check: asks the worker whether it does its jobs.

The worker serves `/health` on loopback where `metrics_port` is set (Dockerfile.gpu sets it):
200 while work gets done or there is none, 503 with the reason otherwise. Exit 0 or 1, one line
for `docker inspect`. Only the standard library: it runs twice a minute.
"""

from __future__ import annotations

import os
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping

TIMEOUT_SECONDS = 5.0


def ask(environ: Mapping[str, str]) -> tuple[bool, str]:
    """Ask once: whether the worker is well, and what it (or the failure) said."""
    port = environ.get("WORKER_METRICS_PORT", "")
    if not port.isdigit():
        return False, "WORKER_METRICS_PORT is not set: nothing can be asked"
    # No proxies: one from the environment must not answer for the worker.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{port}/health", timeout=TIMEOUT_SECONDS) as answer:
            return True, answer.read(200).decode(errors="replace").strip()
    except urllib.error.HTTPError as error:
        return False, error.read(200).decode(errors="replace").strip() or f"HTTP {error.code}"
    except OSError as error:
        return False, f"no answer on port {port}: {error}"


if __name__ == "__main__":
    well, said = ask(os.environ)
    sys.stdout.write(f"{said}\n")
    sys.exit(0 if well else 1)
