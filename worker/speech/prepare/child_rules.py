"""What holds in every child process that decodes media: a small environment, limits, no afterlife.

Decoders crash, hang and swallow memory, and what they read comes from strangers.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
from pathlib import Path

__all__ = ["KEPT_VARIABLES", "allowed", "child_environment", "die_with_parent", "limit_memory"]

KEPT_VARIABLES = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
"""Environment variables that a child gets: none that could hold a credential."""


def child_environment() -> dict[str, str]:
    """The environment that a child is started with; its modules are found where its parent's are.

    One thread: preparing runs beside decoding, and cores aren't oversubscribed. Each more would
    also map memory of its own.
    """
    environment = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    # Absolute: a child may be started in another directory.
    environment["PYTHONPATH"] = os.pathsep.join(str(Path(path).resolve()) for path in sys.path)
    return environment


def die_with_parent() -> None:
    """Asks the kernel to end this process with the thread that started it (Linux).

    However that ends: a parent that is killed can't end its children.
    """
    import ctypes

    pr_set_pdeathsig = 1
    libc = ctypes.CDLL(None, use_errno=True)
    if hasattr(libc, "prctl"):
        libc.prctl(pr_set_pdeathsig, signal.SIGKILL, 0, 0, 0)


def limit_memory(size: int) -> None:
    """Bounds this process's address space, and keeps it from leaving a core file.

    Args:
        size: bytes; 0 for as much as there is.
    """
    if size:
        limit = allowed(resource.RLIMIT_AS, size)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def allowed(limit: int, value: int) -> int:
    """The value, or the host's own limit where that is lower: raising it is an error.

    Args:
        limit: which, such as `resource.RLIMIT_CPU`.
        value: that is wanted, in the limit's unit.
    """
    _, hard = resource.getrlimit(limit)
    return value if hard == resource.RLIM_INFINITY else min(value, hard)
