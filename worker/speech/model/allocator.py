"""The C library's memory allocator, set for the buffers of an engine on a CPU.

Every encoder layer takes a buffer for its attention scores, 72 MB for a window of 30 s, and
frees it. glibc by default gets each such block from the kernel, which hands it over in zeroed
pages of 4 KB, and returns it at once: that takes as long as the computing (see
`worker/speech/model/README.md`). `TUNABLES` keep memory once taken, in one heap, in huge pages.
glibc reads them when a process starts, so a process that should have them has to start anew.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

__all__ = ["TUNABLES", "VARIABLE", "restart_for_cpu", "tuned"]

VARIABLE = "GLIBC_TUNABLES"

TUNABLES = {
    # Huge pages where the kernel's policy is `madvise` (since glibc 2.35; older ones ignore it).
    "glibc.malloc.hugetlb": "1",
    # No block, however large, is a mapping of its own, which would be unmapped when freed.
    "glibc.malloc.mmap_max": "0",
    # Arenas of other threads are bounded at 64 MB and would leave such blocks to mappings again.
    "glibc.malloc.arena_max": "1",
    # The heap shrinks only if this much is free at its end.
    "glibc.malloc.trim_threshold": str(4 << 30),
}
"""Their meaning: the GNU C library's manual, "Memory Allocation Tunables"."""

CARD = Path("/dev/nvidiactl")
"""Exists where an NVIDIA driver is; asking CUDA itself would take seconds of imports."""


def tuned(value: str) -> str:
    """The variable with those of our settings that it lacks (pure).

    Args:
        value: as it is, maybe empty; what it sets already stays as it is.
    """
    present = [part for part in value.split(":") if part]
    names = {part.partition("=")[0] for part in present}
    missing = [f"{name}={setting}" for name, setting in TUNABLES.items() if name not in names]
    return ":".join([*present, *missing])


def restart_for_cpu(device: str) -> None:
    """Starts this process anew with `TUNABLES`, if its engine will run on a CPU.

    Keeps process id, arguments and environment; returns if there is nothing to change. Call it
    before anything is opened or started.

    Args:
        device: the setting: auto, cuda or cpu.
    """
    if device == "cuda" or (device == "auto" and CARD.exists()) or not is_glibc():
        return
    before = os.environ.get(VARIABLE, "")
    value = tuned(before)
    if value != before:
        os.execve(sys.executable, sys.orig_argv, os.environ | {VARIABLE: value})  # noqa: S606


def is_glibc() -> bool:
    """Whether this process runs on glibc, which alone knows these tunables."""
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc")
    except ValueError:  # the name is unknown to other C libraries
        return False
