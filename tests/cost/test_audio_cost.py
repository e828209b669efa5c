"""What a second of audio costs the host beside a card: CPU by stage, at the rates of three cards.

The real engine with real children; the model is a simulated card that takes its time and nothing of
the processor. It says what it finds and judges nothing: see the page beside it.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.fakes.card import COMPUTE_TYPE, H100, L4, LARGE, T4, Card, SimulatedCard
from worker.results.transcript import EngineInfo
from worker.speech.api import Options
from worker.speech.config import EngineConfig
from worker.speech.engine.engine import Engine
from worker.speech.model.choices import Device
from worker.speech.model.loaded import Loaded, silence

SECONDS = 20.0
"""That the card is to be busy."""


def _engine(card: Card, *, takes_samples: bool) -> Engine:
    model = SimulatedCard(card, time.sleep, takes_samples=takes_samples)

    def load(config: EngineConfig) -> Loaded:
        budget = card.budget()
        return Loaded(
            config=config,
            model=model,
            device=Device("cuda", 0, card.name),
            dimensions=LARGE,
            compute_type=COMPUTE_TYPE,
            budget=budget,
            info=EngineInfo(
                model="simulated", device="cuda:0", compute_type=COMPUTE_TYPE,
                batch_size=budget.capacity(1500), beam_size=5, vad=config.vad,
                transcriber=config.transcriber, versions={},
            ),
            fingerprint="simulated",
            probe=silence(),
        )  # fmt: skip

    config = EngineConfig(model="simulated", word_times="none", num_workers=2)
    return Engine(config, load=load)


def _thread_seconds() -> dict[str, float]:
    """CPU of this process's threads so far, by name."""
    names = {thread.native_id: thread.name for thread in threading.enumerate()}
    found: dict[str, float] = {}
    for task in Path("/proc/self/task").iterdir():
        name = names.get(int(task.name), "others").split("-")[0]
        seconds = int((task / "schedstat").read_text().split()[0]) / 1e9
        found[name] = found.get(name, 0.0) + seconds
    return found


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("card", "takes_samples"),
    [(T4, True), (L4, True), (H100, True), (H100, False)],
    ids=lambda value: getattr(value, "name", value),
)
def test_the_cpu_of_a_second_of_audio(
    card: Card,
    takes_samples: bool,
    speech_dir: Path,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    recording = speech_dir / "narrative" / "narrative.flac"
    copies = max(2, round(card.rate * SECONDS / 741))
    paths = [Path(shutil.copy(recording, tmp_path / f"{n}.flac")) for n in range(copies)]
    engine = _engine(card, takes_samples=takes_samples)
    engine.start()
    try:
        before, began = _thread_seconds(), time.monotonic()
        files = [engine.submit(path, Options(language="en"), name=path.name) for path in paths]
        found = [file.future.result(200) for file in files]
        seconds = time.monotonic() - began
        after = _thread_seconds()
        children = sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in engine.children())
        stats = engine.stats
    finally:
        engine.stop()
    audio = sum(each.audio_seconds for each in found)
    stages = {name: sum(each.seconds[name] for each in found) for name in ("decode", "windows")}
    parts = {
        f"children {name}": children * spent / sum(stages.values())
        for name, spent in stages.items()
    } | {name: after[name] - before.get(name, 0.0) for name in ("prepare", "device", "texts")}
    shown = ", ".join(f"{name} {1000 * spent / audio:.2f}" for name, spent in parts.items())
    record_property(
        "figure",
        f"{card.name}, {'samples' if takes_samples else 'features'}: {audio / seconds:.0f} s of "
        f"audio a second, {1000 * sum(parts.values()) / audio:.2f} ms of CPU for each ({shown}); "
        f"busy {stats.busy_seconds / seconds:.2f}, fill {stats.windows / stats.batch_slots:.2f}",
    )
    assert sum(len(each.segments) for each in found) > 20 * copies
