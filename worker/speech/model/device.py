"""What this machine can do: its device, compute types, TF32 and cuDNN switches, free memory.

Small functions that ask the hardware, and import torch or CTranslate2 only when called. What is
chosen from their answers is decided in `choices`, how much memory a batch may take in `memory`.
torch's switches (TF32, cuDNN benchmark) reach torch's models (alignment, pyannote), not
CTranslate2.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from worker.speech.model.choices import (
    ComputeType,
    Device,
    choose_compute_type,
    choose_device,
)
from worker.speech.model.extras import FIX
from worker.speech.packages import whisperx_installed

WITHOUT = (
    "not installed: a model runs on the CPU, words get their times from attention, transcriber is "
    f"optimized, vad is silero ({FIX})"
)
"""What is said of a machine without the extra `whisperx`."""

TF32_CAPABILITY = (8, 0)
"""TF32 came with Ampere; a T4 (7, 5) has none."""


def find_device(wanted: str, index: int = 0) -> tuple[Device, str | None]:
    """Asks the machine.

    Raises:
        MachineError, SettingsError: see `choices.choose_device`.
    """
    cards = 0 if wanted == "cpu" else cuda_cards()
    kind, note = choose_device(wanted, cards, libraries=whisperx_installed())
    if kind == "cpu":
        return Device("cpu", 0, _processor()), note
    import torch

    properties = torch.cuda.get_device_properties(index)
    return Device(kind, index, properties.name, (properties.major, properties.minor)), note


def cuda_cards() -> int:
    """CUDA devices that CTranslate2 sees; 0 where there is no driver.

    To count them it needs the driver alone. To use them it needs CUDA's libraries, which torch
    brings: it looks for them when a model is loaded, by when `find_device` has imported torch.
    """
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


def compute_type(wanted: str, device: Device) -> ComputeType:
    """The compute type for a device; see `choices.choose_compute_type`.

    Raises:
        SettingsError: it can't be had there, nor what may stand in for it.
    """
    return choose_compute_type(
        wanted, device.kind, supported_compute_types(device), device.capability
    )


def free_memory(device: Device) -> int:
    """Bytes free on the card, or available on the host for a CPU."""
    if device.is_card:
        import torch

        free, _total = torch.cuda.mem_get_info(device.index)
        return int(free)
    return _available_host_memory()


def beyond_reserve(device: Device, reserved: int) -> int:
    """Bytes of a card that torch has taken beyond what is kept free for it; 0 on a CPU.

    Alignment models take it, which come when a job wants them and may be larger than was reckoned;
    a batch's features, which are computed in torch; speech detection by pyannote.

    Args:
        device: where the model is.
        reserved: bytes that are kept free for alignment.
    """
    # What has not imported torch yet has taken nothing through it.
    torch = sys.modules.get("torch")
    if not device.is_card or torch is None:
        return 0
    return max(0, int(torch.cuda.memory_reserved(device.index)) - reserved)


def memory_in_use(device: Device) -> tuple[int, int]:
    """(bytes used, bytes in all) of a card, by whatever process."""
    import torch

    free, total = torch.cuda.mem_get_info(device.index)
    return int(total - free), int(total)


def tune_torch(device: Device) -> tuple[str, ...]:
    """Switches cuDNN benchmark and TF32 on where the card has them; says what was done.

    Called at start and again after anything that may switch them off (pyannote does).
    """
    if not device.is_card:
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
    if not device.is_card:
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
    installed = whisperx_installed()
    report["extra whisperx"] = "installed" if installed else WITHOUT
    cards = cuda_cards()
    report["CUDA devices"] = str(cards)
    for index in range(cards if installed else 0):
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
