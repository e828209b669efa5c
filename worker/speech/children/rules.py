"""What holds in every child process: a small environment, limits, no afterlife.

Decoders and models crash, hang and swallow memory, and what they read comes from strangers.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

__all__ = [
    "KEPT_VARIABLES",
    "allowed",
    "begin",
    "child_environment",
    "die_with_parent",
    "let_others_first",
    "limit_memory",
]

KEPT_VARIABLES = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
"""Environment variables that a child gets: none that could hold a credential."""


def child_environment(
    keep: Sequence[str] = (), more: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The environment that a child is started with; its modules are found where its parent's are.

    One thread, unless `more` says otherwise: a child works beside decoding, and cores aren't
    oversubscribed. Each more would also map memory of its own.

    Args:
        keep: variables to take over, if they are set, beside `KEPT_VARIABLES`.
        more: variables to set.
    """
    kept = (*KEPT_VARIABLES, *keep)
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"} | dict(more or {})
    # Absolute: a child may be started in another directory.
    environment["PYTHONPATH"] = os.pathsep.join(str(Path(path).resolve()) for path in sys.path)
    return environment


def begin() -> tuple[BinaryIO, BinaryIO]:
    """What a child of pipes does first; the pipes to read requests from and write replies to."""
    # An interrupt in a terminal reaches the whole group; only the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent()
    # Libraries print; the replies' descriptor is therefore not number 1.
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return sys.stdin.buffer, replies


def die_with_parent() -> None:
    """Asks the kernel to end this process with the thread that started it (Linux).

    However that ends: a parent that is killed can't end its children.
    """
    import ctypes

    pr_set_pdeathsig = 1
    libc = ctypes.CDLL(None, use_errno=True)
    if hasattr(libc, "prctl"):
        libc.prctl(pr_set_pdeathsig, signal.SIGKILL, 0, 0, 0)


def let_others_first(niceness: int) -> None:
    """Leaves cores to others, with each thread that there is by now.

    Args:
        niceness: of the threads, up to 19; no less than it is.
    """
    # On Linux a thread has a niceness of its own, which those that it starts begin with.
    tasks = Path("/proc/self/task")
    threads = [int(task.name) for task in tasks.iterdir()] if tasks.is_dir() else [0]
    for thread in threads:
        with contextlib.suppress(ProcessLookupError):  # it has ended since
            os.setpriority(os.PRIO_PROCESS, thread, niceness)


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
