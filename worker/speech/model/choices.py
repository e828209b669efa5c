"""Where and how a model is to run: the choice of device, compute type and lanes (pure).

What the machine has is asked in `device`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from worker.errors import MachineError, SettingsError
from worker.speech.model.extras import FIX, needs_whisperx

__all__ = [
    "ComputeType",
    "Device",
    "children",
    "children_for",
    "choose_compute_type",
    "choose_device",
    "lanes",
    "threads",
]

PREFERENCES = {
    "cuda": {
        "int8_float16": ("int8_float16", "float16", "float32"),
        "float16": ("float16", "float32"),
        "int8": ("int8", "int8_float32", "float32"),
        "auto": ("int8_float16", "float16", "float32"),
    },
    "cpu": {
        # A CPU computes no float16; int8 is what asks for the same weights there.
        "int8_float16": ("int8", "float32"),
        "float16": ("float32",),
        "auto": ("int8", "float32"),
    },
}
"""Compute types in the order they are tried, by device and by what was asked for."""

FLOAT16_CAPABILITY = (9, 0)
"""Compute capability from which on `auto` prefers float16 to int8_float16: with large-v3 on an H200
it decoded 6 % more windows of 30 s a second, 10 to 20 % more of 6 s, and memory is plenty there."""

CHILDREN = 2
"""Child processes that prepare files. One prepares 500 s of audio in a second, more than a T4
decodes in ten; the other is for the file that is paused, slow or damaged."""

CARD_CHILDREN = 8
"""The same beside a fast card, of the processor's cores at most half: with turbo, an H200 decoded
440 s of audio a second with two and 562 with eight."""

CPU_LANES = 2
"""Calls at once on a CPU, each on its share of the cores: threads of one call wait for one another
at every layer, those of two calls never (see `worker/speech/model/README.md`)."""


@dataclass(frozen=True, slots=True)
class Device:
    """Where the model runs.

    Attributes:
        kind: cuda or cpu.
        index: which card.
        name: the card's name, or the processor's.
        capability: CUDA compute capability; (0, 0) on a CPU.
    """

    kind: str
    index: int
    name: str
    capability: tuple[int, int] = (0, 0)

    @property
    def is_card(self) -> bool:
        """Whether it is a graphics card."""
        return self.kind == "cuda"

    def __str__(self) -> str:
        return f"cuda:{self.index}" if self.is_card else "cpu"


@dataclass(frozen=True, slots=True)
class ComputeType:
    """The type chosen; `note` is a sentence for the log where it is not what was asked for."""

    name: str
    note: str | None


def choose_device(wanted: str, cards: int, *, libraries: bool = True) -> tuple[str, str | None]:
    """(cuda or cpu, a note for the log where `auto` found no card).

    Args:
        wanted: the setting.
        cards: how many can be used.
        libraries: whether what a card needs is installed.

    Raises:
        MachineError: `cuda` was asked for and there is no card.
        SettingsError: `cuda` was asked for, and what it needs isn't installed.
    """
    if wanted == "cuda" and not libraries:
        raise SettingsError(needs_whisperx("device", "cuda", "cpu"))
    if wanted == "cuda" and not cards:
        raise MachineError(
            "device = 'cuda' but no CUDA device can be used: check nvidia-smi and the driver "
            "(525 or newer; 570 for cards of compute capability 9.0 and more), or set "
            "device = 'cpu'"
        )
    if wanted == "auto":
        if cards and libraries:
            return "cuda", None
        if cards:
            return "cpu", f"device = auto chose the CPU: a card needs the extra whisperx ({FIX})"
        return "cpu", "device = auto chose the CPU: no CUDA device can be used"
    return wanted, None


def choose_compute_type(
    wanted: str, device: str, supported: Collection[str], capability: tuple[int, int] = (0, 0)
) -> ComputeType:
    """The first type, in order of preference, that the device supports.

    Args:
        wanted: the setting.
        device: cuda or cpu.
        supported: what CTranslate2 can compute there.
        capability: the card's compute capability.

    Raises:
        SettingsError: the type, and all that may stand in for it, are unsupported.
    """
    if wanted == "auto" and capability >= FLOAT16_CAPABILITY:
        order = PREFERENCES[device]["float16"]
    else:
        order = PREFERENCES[device].get(wanted, (wanted,))
    for candidate in order:
        if candidate in supported:
            if candidate == wanted or wanted == "auto":
                return ComputeType(candidate, None)
            return ComputeType(
                candidate,
                f"Quantization fallback: {wanted} -> {candidate} "
                f"(this {'card' if device == 'cuda' else 'CPU'} has no {wanted})",
            )
    raise SettingsError(
        f"compute_type = {wanted!r} can't be had on {device}; supported here: "
        + ", ".join(sorted(supported))
    )


def lanes(device: Device, cores: int) -> int:
    """How many calls run on the device at once: on a card one, which fills it."""
    return 1 if device.is_card else min(CPU_LANES, cores)


def threads(device: Device, cores: int, lanes: int) -> int:
    """How many threads of the processor each call may use.

    On a card one: CTranslate2 keeps the books of a beam search on the host, and shares even small
    copies out among all its threads, at every step. Where something else has one of the cores (a
    child that prepares a file), each step waits until that thread gets its turn: on an H200 beside
    16 cores, six windows took 1.1 s while a file was prepared, and 0.2 s after that.

    Args:
        device: where the model runs.
        cores: that may be used.
        lanes: calls at once.
    """
    return 1 if device.is_card else max(1, cores // lanes)


def children(device: Device, cores: int) -> int:
    """How many child processes prepare files, where nobody has said.

    Args:
        device: where the model runs.
        cores: that may be used.
    """
    return max(CHILDREN, min(CARD_CHILDREN, cores // 2)) if device.is_card else CHILDREN


def children_for(files: int) -> int:
    """`num_workers` where it is known how many files will come: another child would have none.

    Args:
        files: how many.

    Returns:
        1 to `CHILDREN` - 1; 0, as `children` says, for more files.
    """
    return max(1, files) if files < CHILDREN else 0
