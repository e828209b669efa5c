"""Loading is shown: what is fetched, how large it is, how much is here; errors come through."""

from __future__ import annotations

import io
import itertools
import sys
import threading
import types
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from tests.fakes.engine import FakeEngine
from worker.cli import loading
from worker.cli.console import LINE_SECONDS, Screen
from worker.cli.interrupts import Interrupts
from worker.errors import MachineError
from worker.speech.config import EngineConfig
from worker.speech.fetch.download import Download
from worker.speech.model import models


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    fake = FakeEngine()
    module = types.ModuleType("worker.speech.engine.engine")
    vars(module)["build"] = lambda config: fake
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return fake


def test_a_model_on_its_way_from_the_hub(
    tmp_path: Path, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = io.StringIO()
    half_shown = threading.Event()

    def resolve(name: str, folder: Path | None, *, on_download: Callable[[Download], None]) -> None:
        with (tmp_path / "weights.incomplete").open("wb") as file:
            file.truncate(1_550_000_000)  # a hole: it takes no room
        on_download(Download("org/large", 3_100_000_000, tmp_path))
        assert half_shown.wait(30)

    class Now:
        """Half a minute passes whenever somebody asks."""

        def __init__(self) -> None:
            self.seconds = itertools.count(0, LINE_SECONDS)

        def __call__(self) -> float:
            if "here" in written.getvalue():
                half_shown.set()
            return float(next(self.seconds))

    monkeypatch.setattr(models, "resolve", resolve)
    screen = Screen(Console(file=written), None, now=Now())
    found = loading.load(EngineConfig(model="large"), screen, Interrupts())
    try:
        assert found is engine
        assert engine.started
    finally:
        loading.stop(engine, Interrupts())
    lines = list(dict.fromkeys(written.getvalue().splitlines()))
    assert [line for line in lines if not line.startswith("Loading")] == [
        "Downloading large (3.1 GB) ...",
        "Downloading large (3.1 GB): 1.6 GB here",
    ]


def test_a_download_that_stalls_is_said_to(tmp_path: Path) -> None:
    now = 0.0
    (tmp_path / "weights.incomplete").write_bytes(b"x" * 50)
    followed = loading._Followed(Download("org/large", 100, tmp_path), lambda: now)
    assert followed.look() == (0.5, "0.0 MB here")
    now = 45.0
    assert followed.look() == (0.5, "0.0 MB here, nothing has arrived for 0:45")
    (tmp_path / "weights.incomplete").write_bytes(b"x" * 60)
    assert followed.look() == (0.6, "0.0 MB here")


def test_what_is_wrong_with_the_machine_comes_through(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def resolve(name: str, folder: Path | None, **_: object) -> None:
        raise MachineError("no such model here")

    monkeypatch.setattr(models, "resolve", resolve)
    screen = Screen(Console(file=io.StringIO()), None)
    with pytest.raises(MachineError, match="no such model here"):
        loading.load(EngineConfig(), screen, Interrupts())
    assert not engine.started
