"""What this machine can do: its device, its switches, its report."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from worker.speech.model.choices import Device
from worker.speech.model.device import (
    describe_machine,
    find_device,
    supported_compute_types,
    torch_is_tuned,
    tune_torch,
    versions,
)

T4 = Device("cuda", 0, "Tesla T4", (7, 5))
CPU = Device("cpu", 0, "a processor")


def test_on_a_cpu_there_is_no_tf32_to_switch() -> None:
    assert tune_torch(CPU) == ("TF32: not on a CPU", "cuDNN benchmark: not on a CPU")
    assert torch_is_tuned(CPU)


@pytest.fixture
def switches_off() -> Iterator[None]:
    """The switches of torch, which exist without a card too; put back after the test."""
    import torch

    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = (cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32)
    cudnn.benchmark = cudnn.allow_tf32 = matmul.allow_tf32 = False
    yield
    cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32 = before


@pytest.mark.usefixtures("switches_off")
def test_a_t4_is_tuned_without_tf32_and_an_ampere_with_it() -> None:
    import torch

    assert not torch_is_tuned(T4)
    assert tune_torch(T4) == ("TF32: not on this card", "cuDNN benchmark: on")
    assert torch_is_tuned(T4)
    ampere = Device("cuda", 0, "A10G", (8, 6))
    assert not torch_is_tuned(ampere)
    assert tune_torch(ampere) == ("TF32: on", "cuDNN benchmark: on")
    assert torch_is_tuned(ampere)
    # What pyannote does with every call.
    torch.backends.cuda.matmul.allow_tf32 = False
    assert not torch_is_tuned(ampere)


def test_this_machine() -> None:
    device, note = find_device("cpu")
    assert (device.kind, note) == ("cpu", None)
    assert "float32" in supported_compute_types(device)
    report = describe_machine()
    assert "MiB available" in report["memory"]
    assert "float32" in report["cpu compute types"]
    assert report["extra whisperx"] == "installed"


def test_a_machine_without_the_extra_says_what_it_goes_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("worker.speech.model.device.whisperx_installed", lambda: False)
    monkeypatch.setattr("worker.speech.model.device.cuda_cards", lambda: 2)
    report = describe_machine()
    assert report["CUDA devices"] == "2"
    assert report["extra whisperx"].startswith("not installed: ")
    assert report["extra whisperx"].endswith("(pip install 'transcription-worker[whisperx]')")
    assert find_device("auto")[0].kind == "cpu"


def test_versions_of_what_is_and_isn_t_there() -> None:
    assert versions(["ctranslate2", "no-such-package"])["no-such-package"] == "not installed"
