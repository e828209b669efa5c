"""Choices of device and compute type, that say when they fell back."""

from __future__ import annotations

import pytest

from worker.errors import MachineError, SettingsError
from worker.speech.model.choices import (
    CHILDREN,
    Device,
    children,
    children_for,
    choose_compute_type,
    choose_device,
    lanes,
    threads,
)

T4 = Device("cuda", 0, "Tesla T4", (7, 5))
CPU = Device("cpu", 0, "a processor")
T4_TYPES = frozenset({"float32", "float16", "int8", "int8_float16", "int8_float32"})
PASCAL_TYPES = frozenset({"float32", "int8", "int8_float32"})
CPU_TYPES = frozenset({"float32", "int8", "int8_float32", "int16"})


def test_only_a_cpu_of_several_cores_has_several_lanes() -> None:
    assert (lanes(CPU, 1), lanes(CPU, 2), lanes(CPU, 16)) == (1, 2, 2)
    assert lanes(T4, 16) == 1


def test_a_call_on_a_card_waits_for_no_other_thread_of_the_processor() -> None:
    assert threads(T4, 16, 1) == 1
    assert (threads(CPU, 16, 2), threads(CPU, 3, 2), threads(CPU, 1, 2)) == (8, 1, 1)


@pytest.mark.parametrize(
    ("wanted", "device", "supported", "chosen", "note"),
    [
        ("int8_float16", "cuda", T4_TYPES, "int8_float16", None),
        (
            "int8_float16", "cuda", T4_TYPES - {"int8_float16"}, "float16",
            "Quantization fallback: int8_float16 -> float16 (this card has no int8_float16)",
        ),
        (
            "int8_float16", "cuda", PASCAL_TYPES, "float32",
            "Quantization fallback: int8_float16 -> float32 (this card has no int8_float16)",
        ),
        (
            "float16", "cuda", PASCAL_TYPES, "float32",
            "Quantization fallback: float16 -> float32 (this card has no float16)",
        ),
        ("float32", "cuda", T4_TYPES, "float32", None),
        ("auto", "cuda", T4_TYPES, "int8_float16", None),
        ("auto", "cuda", PASCAL_TYPES, "float32", None),
        ("auto", "cpu", CPU_TYPES, "int8", None),
        (
            "int8_float16", "cpu", CPU_TYPES, "int8",
            "Quantization fallback: int8_float16 -> int8 (this CPU has no int8_float16)",
        ),
        ("int8", "cpu", CPU_TYPES, "int8", None),
        ("int8_float32", "cpu", CPU_TYPES, "int8_float32", None),
    ],
)  # fmt: skip
def test_compute_type(
    wanted: str, device: str, supported: frozenset[str], chosen: str, note: str | None
) -> None:
    found = choose_compute_type(wanted, device, supported)
    assert (found.name, found.note) == (chosen, note)


@pytest.mark.parametrize(
    ("wanted", "capability", "supported", "chosen"),
    [
        ("auto", (7, 5), T4_TYPES, "int8_float16"),
        ("auto", (8, 9), T4_TYPES, "int8_float16"),
        ("auto", (9, 0), T4_TYPES, "float16"),
        ("auto", (12, 0), T4_TYPES - {"float16"}, "float32"),
        ("int8_float16", (9, 0), T4_TYPES, "int8_float16"),
    ],
)
def test_auto_goes_by_what_is_faster_on_the_card(
    wanted: str, capability: tuple[int, int], supported: frozenset[str], chosen: str
) -> None:
    assert choose_compute_type(wanted, "cuda", supported, capability).name == chosen


@pytest.mark.parametrize(("wanted", "device"), [("bfloat16", "cpu"), ("nonsense", "cuda")])
def test_a_compute_type_that_nothing_stands_in_for(wanted: str, device: str) -> None:
    with pytest.raises(SettingsError, match=f"compute_type = '{wanted}'.*supported here: float32"):
        choose_compute_type(wanted, device, {"float32", "int8"})


def test_device() -> None:
    assert choose_device("cuda", 1) == ("cuda", None)
    assert choose_device("cpu", 4) == ("cpu", None)
    assert choose_device("cpu", 0) == ("cpu", None)
    assert choose_device("auto", 2) == ("cuda", None)
    kind, note = choose_device("auto", 2, libraries=False)
    assert kind == "cpu"
    assert note is not None
    assert "pip install 'transcription-worker[whisperx]'" in note
    with pytest.raises(SettingsError, match="device = 'cuda' needs the extra whisperx"):
        choose_device("cuda", 2, libraries=False)
    kind, note = choose_device("auto", 0)
    assert kind == "cpu"
    assert note is not None
    assert "no CUDA device" in note
    with pytest.raises(MachineError, match="device = 'cuda' but no CUDA device"):
        choose_device("cuda", 0)


def test_a_device_is_named_as_torch_names_it() -> None:
    assert str(T4) == "cuda:0"
    assert str(Device("cuda", 3, "x")) == "cuda:3"
    assert str(CPU) == "cpu"


def test_children_are_two_and_beside_a_card_up_to_eight() -> None:
    assert [children(T4, cores) for cores in (1, 4, 8, 16, 96)] == [2, 2, 4, 8, 8]
    assert [children(CPU, cores) for cores in (1, 4, 96)] == [2, 2, 2]


def test_no_child_is_without_a_file() -> None:
    assert [children_for(files) for files in (0, 1, CHILDREN, 100)] == [1, 1, 0, 0]
