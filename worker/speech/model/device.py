"""What this machine can do: device, compute type, TF32 and cuDNN, memory -> batch size.

The arithmetic is pure and tested without a card; the functions that ask the hardware are
small and import torch or CTranslate2 only when called. torch's switches (TF32, cuDNN
benchmark) reach torch's models, alignment and pyannote, not CTranslate2.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from worker.errors import MachineError, SettingsError
from worker.speech.model.weights import Dimensions
from worker.speech.windows import FULL_POSITIONS

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
"""Compute types in the order they are tried, by device and by what was asked."""

TF32_CAPABILITY = (8, 0)
"""TF32 came with Ampere; a T4 (7, 5) has none."""

BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}

TYPICAL_TOKENS = 176
"""Tokens of a window of 30 s that the self-attention cache is sized for: with beam 5, large-v3
then takes the 390 MB a window that were measured (246 MB of it cross-attention)."""

RESERVE_BYTES = 600 << 20
"""Kept free: CUDA's own allocations, cuBLAS workspaces, fragmentation."""

ALIGN_BYTES = 700 << 20
"""Kept free for an alignment model and its activations (wav2vec2 base is 380 MB)."""

NO_BOUND = 1 << 16
"""Windows in a batch that only memory and positions bound."""

CPU_WINDOWS = 8
"""On a CPU more windows at once gain nothing (8, 16 and 64 were equal on 2 cores)."""

CPU_LANES = 2
"""Calls at once on a CPU, each on its share of the cores: 16 windows of 30 s took 13.8 s in
batches of two on both cores, 11.3 s in batches of four on one core each (2 cores, base int8,
beam 5). Threads of one call wait for one another at every layer, those of two calls never."""


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

    def __str__(self) -> str:
        return f"cuda:{self.index}" if self.kind == "cuda" else "cpu"


@dataclass(frozen=True, slots=True)
class ComputeType:
    """The type chosen, and the sentence that says so where it is not what was asked."""

    name: str
    note: str | None


@dataclass(frozen=True, slots=True)
class WindowCost:
    """Bytes of device memory that a window of some encoder positions takes in a batch."""

    per_position: int
    per_position_squared: int

    def bytes(self, positions: int) -> int:
        """For a window padded to this many positions (1500 is 30 s)."""
        return self.per_position * positions + self.per_position_squared * positions * positions


@dataclass(frozen=True, slots=True)
class Budget:
    """What one batch may hold.

    Attributes:
        windows: upper bound on windows, whatever their length.
        bytes: device memory for the batch, or None where memory does not decide.
        positions: encoder positions in all, or None where they do not decide (on a CPU they
            do: a longer batch gains nothing there).
        cost: what a window takes of `bytes`.
    """

    windows: int
    bytes: int | None
    positions: int | None
    cost: WindowCost

    def capacity(self, positions: int) -> int:
        """How many windows of this length share a batch; at least one."""
        fit = self.windows
        if self.bytes is not None:
            fit = min(fit, self.bytes // self.cost.bytes(positions))
        if self.positions is not None:
            fit = min(fit, self.positions // positions)
        return max(1, fit)

    def halved(self, failed: int, positions: int) -> Budget:
        """The budget after a batch of `failed` windows of this length ran out of memory."""
        fits = max(1, failed // 2) * self.cost.bytes(positions)
        return Budget(
            windows=self.windows,
            # The other half of a split batch may fail at a size over the one now remembered.
            bytes=fits if self.bytes is None else min(self.bytes, fits),
            positions=self.positions,
            cost=self.cost,
        )


def window_cost(dimensions: Dimensions, *, beam_size: int, compute_type: str) -> WindowCost:
    """The arithmetic of a batch's memory, per window.

    Cross-attention keys and values (decoder layers x 2 x positions x width), the encoder's
    attention scores of one layer (heads x positions^2), its output, and the self-attention
    cache (decoder layers x 2 x beam x tokens x width; as many tokens as such a window has of
    `TYPICAL_TOKENS`). int8 types shrink weights only: what is computed stays float16 on a card,
    float32 on a CPU.
    """
    size = activation_bytes(compute_type)
    cross = dimensions.decoder_layers * 2 * dimensions.width * size
    output = dimensions.width * size
    scores = dimensions.heads * size
    own = dimensions.decoder_layers * 2 * dimensions.width * size * TYPICAL_TOKENS * beam_size
    return WindowCost(
        per_position=cross + output + own // FULL_POSITIONS,
        per_position_squared=scores,
    )


def activation_bytes(compute_type: str) -> int:
    """Bytes of a computed value: int8 types compute in what stands behind the underscore."""
    return BYTES.get(compute_type.removeprefix("int8_"), 4)


def budget(
    dimensions: Dimensions,
    *,
    batch_size: int,
    batch_size_given: bool,
    beam_size: int,
    compute_type: str,
    device: Device,
    free_bytes: int,
    reserve_align: bool,
    cores: int,
    lanes: int = 1,
) -> Budget:
    """How much one batch may hold on this device.

    Args:
        dimensions: of the loaded model.
        batch_size: the setting; an upper bound.
        batch_size_given: whether it bounds windows whatever their length, or (as a default)
            the positions of that many windows of 30 s.
        beam_size: the setting.
        compute_type: the chosen one.
        device: where the model is loaded.
        free_bytes: free memory after the model was loaded.
        reserve_align: whether alignment models will share the card.
        cores: on a CPU, the threads that decode.
        lanes: batches that are decoded at once, and share what there is.

    Raises:
        MachineError: not even one window of 30 s fits.
    """
    cost = window_cost(dimensions, beam_size=beam_size, compute_type=compute_type)
    most = batch_size if batch_size_given else NO_BOUND
    if device.kind == "cpu":
        windows = max(CPU_WINDOWS, cores)
        if not batch_size_given:
            windows = max(1, windows // lanes)
        # A quarter of what is free: a CPU's memory is shared with everything else.
        return Budget(
            most, free_bytes // 4 // lanes, FULL_POSITIONS * min(batch_size, windows), cost
        )
    usable = free_bytes - RESERVE_BYTES - (ALIGN_BYTES if reserve_align else 0)
    one = cost.bytes(FULL_POSITIONS)
    if usable < one:
        raise MachineError(
            f"{device} has {free_bytes >> 20} MiB free after loading the model, and one window "
            f"takes {one >> 20} MiB beside {(free_bytes - usable) >> 20} MiB kept "
            "free: use compute_type = int8_float16, model = turbo or medium, a smaller "
            "beam_size, or end other processes on the card"
        )
    return Budget(most, usable, FULL_POSITIONS * batch_size, cost)


def choose_device(wanted: str, cards: int) -> tuple[str, str | None]:
    """(cuda or cpu, a note where the choice was ours and is not what a GPU host wants).

    Raises:
        MachineError: `cuda` was asked for and there is no card.
    """
    if wanted == "cuda" and not cards:
        raise MachineError(
            "device = 'cuda' but no CUDA device can be used: check nvidia-smi and the driver "
            "(CUDA 12.8 needs 570 or newer, or 525 with its compatibility package), or set "
            "device = 'cpu'"
        )
    if wanted == "auto":
        if cards:
            return "cuda", None
        return "cpu", "device = auto chose the CPU: no CUDA device can be used"
    return wanted, None


def choose_compute_type(wanted: str, device: str, supported: Collection[str]) -> ComputeType:
    """The first type, in order of preference, that the device supports.

    Raises:
        SettingsError: the type, and all that may stand in for it, are unsupported.
    """
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
    return 1 if device.kind == "cuda" else min(CPU_LANES, cores)


def find_device(wanted: str, index: int = 0) -> tuple[Device, str | None]:
    """Asks the machine.

    Raises:
        MachineError: see `choose_device`.
    """
    # Counting cards imports torch, which takes a second: not where it changes nothing.
    kind, note = choose_device(wanted, 0 if wanted == "cpu" else cuda_cards())
    if kind == "cpu":
        return Device("cpu", 0, _processor()), note
    import torch

    properties = torch.cuda.get_device_properties(index)
    return Device(kind, index, properties.name, (properties.major, properties.minor)), note


def cuda_cards() -> int:
    """CUDA devices that CTranslate2 can use; 0 where there is no driver."""
    # torch brings the CUDA libraries that CTranslate2's wheel needs: import it first.
    import torch  # noqa: F401  # isort: skip
    import ctranslate2

    try:
        return int(ctranslate2.get_cuda_device_count())
    except RuntimeError:
        # A driver without a card, or one too old, raises instead of answering 0.
        return 0


def supported_compute_types(device: Device) -> frozenset[str]:
    """What CTranslate2 can compute there."""
    import ctranslate2

    return frozenset(ctranslate2.get_supported_compute_types(device.kind, device.index))


def free_memory(device: Device) -> int:
    """Bytes free on the card, or available on the host for a CPU."""
    if device.kind == "cuda":
        import torch

        free, _total = torch.cuda.mem_get_info(device.index)
        return int(free)
    return _available_host_memory()


def memory_in_use(device: Device) -> tuple[int, int]:
    """(bytes used, bytes in all) of a card, by whatever process."""
    import torch

    free, total = torch.cuda.mem_get_info(device.index)
    return int(total - free), int(total)


def tune_torch(device: Device) -> tuple[str, ...]:
    """Switches cuDNN benchmark and TF32 on where the card has them; says what was done.

    Called at start and again after anything that may switch them off (pyannote does).
    """
    if device.kind != "cuda":
        return ("TF32: not on a CPU", "cuDNN benchmark: not on a CPU")
    import torch

    torch.backends.cudnn.benchmark = True
    if device.capability < TF32_CAPABILITY:
        return ("TF32: not on this card", "cuDNN benchmark: on")
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    return ("TF32: on", "cuDNN benchmark: on")


def torch_is_tuned(device: Device) -> bool:
    """Whether the switches of `tune_torch` still stand."""
    if device.kind != "cuda":
        return True
    import torch

    tf32 = torch.backends.cuda.matmul.allow_tf32 and torch.backends.cudnn.allow_tf32
    return torch.backends.cudnn.benchmark and (tf32 or device.capability < TF32_CAPABILITY)


def versions(
    packages: Iterable[str] = ("ctranslate2", "faster-whisper", "whisperx", "torch"),
) -> dict[str, str]:
    """Installed versions, for results and reports; reads metadata, imports nothing."""
    found = {}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def describe_machine() -> dict[str, str]:
    """What `check` prints: a label and a sentence for each thing that matters."""
    report = {
        "python": platform.python_version(),
        "processor": f"{_processor()}, {usable_cores()} cores usable",
        "memory": f"{_available_host_memory() >> 20} MiB available",
    }
    report |= versions()
    cards = cuda_cards()
    report["CUDA devices"] = str(cards)
    for index in range(cards):
        device, _ = find_device("cuda", index)
        report[str(device)] = (
            f"{device.name}, compute capability {device.capability[0]}.{device.capability[1]}, "
            f"{free_memory(device) >> 20} MiB free; compute types: "
            + ", ".join(sorted(supported_compute_types(device)))
        )
        report[f"{device} torch"] = "; ".join(tune_torch(device))
    cpu = Device("cpu", 0, _processor())
    report["cpu compute types"] = ", ".join(sorted(supported_compute_types(cpu)))
    return report


def usable_cores() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor() -> str:
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as info:
            for line in info:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass  # not Linux: the platform's own word will do
    return platform.processor() or platform.machine()


def _available_host_memory() -> int:
    try:
        with Path("/proc/meminfo").open(encoding="ascii") as info:
            for line in info:
                if line.startswith("MemAvailable"):
                    return int(line.split()[1]) << 10
    except OSError:
        pass  # not Linux: assume what the smallest supported instance has
    return 4 << 30
