"""Can the CUDA libraries be used? Asked in a child process, since a broken one may crash it.

The child is this module: it imports torch and then CTranslate2, as the worker does, opens what
both need, computes something on the card if there is one, and prints one line of JSON.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass

from worker.errors import MachineError

__all__ = ["Libraries", "probe_in_child"]

NEEDED = ("libcudart.so.12", "libcublas.so.12", "libcublasLt.so.12", "libcudnn.so.9")
"""What CTranslate2's wheel (the first three) and torch's models need; torch's wheels bring them."""

CHILD_SECONDS = 180.0
"""torch reads gigabytes of libraries; on a cold disk that takes its time."""


@dataclass(frozen=True, slots=True)
class Libraries:
    """What the child found.

    Attributes:
        torch: its version.
        cuda: the CUDA version it was built for; empty for a build without.
        cudnn: cuDNN's version number; 0 without.
        ctranslate2: its version.
        missing: of the libraries needed, those that can't be opened.
        torch_cards: CUDA devices that torch sees.
        ctranslate2_cards: CUDA devices that CTranslate2 sees.
        problem: what went wrong when they were asked or used; empty if nothing did.
    """

    torch: str
    cuda: str
    cudnn: int
    ctranslate2: str
    missing: tuple[str, ...] = ()
    torch_cards: int = 0
    ctranslate2_cards: int = 0
    problem: str = ""


def probe_in_child() -> Libraries:
    """Runs the probe in a child process.

    Raises:
        MachineError: the child crashed, hung, or could not even import the libraries.
    """
    # The child must find this package wherever this process found it.
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    try:
        child = subprocess.run(
            [sys.executable, "-m", "worker.bench.gpu_test.libraries"],
            capture_output=True,
            text=True,
            timeout=CHILD_SECONDS,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise MachineError(f"the libraries did not load in {CHILD_SECONDS:g} s") from None
    if child.returncode:
        last = " ".join(child.stderr.split())[-300:]
        raise MachineError(f"loading the libraries ended with {child.returncode}: {last}")
    found = json.loads(child.stdout.splitlines()[-1])
    return Libraries(**found | {"missing": tuple(found["missing"])})


def _probe() -> Libraries:
    """Imports, opens, counts and computes; in the child."""
    # The order matters: torch brings the libraries that CTranslate2 looks for.
    import torch  # isort: skip
    import ctranslate2

    counted, problem = 0, ""
    try:
        counted = int(ctranslate2.get_cuda_device_count())
        if counted and (found := _compute()) != 64.0:
            problem = f"the card says {found} where 64.0 is right"
    except RuntimeError as error:
        problem = f"{type(error).__name__}: {error}"
    version: Callable[[], int | None] = torch.backends.cudnn.version
    return Libraries(
        torch=torch.__version__,
        cuda=torch.version.cuda or "",
        cudnn=version() or 0,
        ctranslate2=ctranslate2.__version__,
        missing=tuple(name for name in NEEDED if not _opens(name)),
        torch_cards=torch.cuda.device_count(),
        ctranslate2_cards=counted,
        problem=problem,
    )


def _compute() -> float:
    """An element of the product of two 64 x 64 matrices of ones, computed on the card."""
    import torch

    ones = torch.ones((64, 64), device="cuda")
    return float((ones @ ones)[0, 0].item())


def _opens(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(_probe())) + "\n")
