"""What the child does with its process and its models, without a process and without models."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from types import ModuleType
from typing import NoReturn

import pytest

from worker.errors import ErrorCode, MachineError
from worker.speech.children.framing import error_frame, read_frame, write_frame
from worker.speech.speakers import child
from worker.speech.speakers.attempts import CPU, Finder, Load
from worker.speech.speakers.choice import Chosen
from worker.speech.speakers.frames import SpeakersConfig, SpeakersTask, config_frame, task_frame

CHOSEN = Chosen("packaged", "packaged", Path("-"))


@pytest.mark.parametrize(("device", "steps"), [(CPU, ["loaded", "niced"]), ("cuda", ["loaded"])])
def test_the_models_are_loaded_before_others_come_first(
    monkeypatch: pytest.MonkeyPatch, device: str, steps: list[str]
) -> None:
    done: list[str] = []

    class Anything:
        """Stands for torch, for what it gives, and for the diarizer."""

        total_memory = 1

        def __init__(self, *_: object, **__: object) -> None:
            """Whatever it is."""

        def __getattr__(self, _: str) -> type[Anything]:
            return Anything

    def load_pipeline(*_: object) -> None:
        done.append("loaded")

    stand_ins: dict[str, dict[str, object]] = {
        "torch": {"cuda": Anything()},
        "worker.speech.speakers.diarizer": {"Diarizer": Anything},
        "worker.speech.speakers.loading": {"load_pipeline": load_pipeline},
    }
    for name, parts in stand_ins.items():
        module = ModuleType(name)
        module.__dict__.update(parts)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(child, "let_others_first", lambda _: done.append("niced"))
    child._loader(SpeakersConfig(CHOSEN, device))(device)
    assert done == steps


class Failing(Finder):
    def find(self, *_: object, **__: object) -> NoReturn:
        raise RuntimeError("CUDA error: misaligned address")


def loader(_: SpeakersConfig) -> Load:
    def load(device: str) -> Finder:
        if device == CPU:
            raise MachineError("a file is gone")
        return Failing()

    return load


def test_models_that_are_gone_when_a_file_leaves_the_card_are_told(tmp_path: Path) -> None:
    samples = tmp_path / "samples"
    samples.write_bytes(bytes(10))
    requests, replies = io.BytesIO(), io.BytesIO()
    write_frame(requests, *config_frame(SpeakersConfig(CHOSEN, "cuda")))
    write_frame(requests, *task_frame(SpeakersTask(str(samples))))
    requests.seek(0)
    child.serve(requests, replies, loader)
    replies.seek(0)
    told = [read_frame(replies.read) for _ in range(4)]
    expected = error_frame(ErrorCode.DIARIZATION_NOT_AVAILABLE, "a file is gone")
    assert told[2:] == [expected, None]
