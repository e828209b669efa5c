"""What `checks` asks, answered by the machine that this runs on."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from worker.bench.gpu_test.checks import Driver, Kind, Outcome, Run
from worker.bench.gpu_test.libraries import Libraries, probe_in_child
from worker.bench.machine import PeakMemory, card_bytes, resident_bytes
from worker.errors import MachineError
from worker.speech.model import device as devices
from worker.speech.model.selftest import KnownSpeech, check_text, known_speech
from worker.speech.windows import FULL_POSITIONS

if TYPE_CHECKING:
    from worker.speech.config import EngineConfig
    from worker.speech.model.loaded import Loaded

__all__ = ["LoadedSession", "ThisMachine", "parse_drivers"]

QUERY = "name,driver_version,memory.total,compute_cap"
SMI_SECONDS = 30.0


class ThisMachine:
    """See `checks.Machine`."""

    def __init__(self, config: EngineConfig) -> None:
        self._config = config

    def drivers(self) -> Sequence[Driver]:
        """Asks nvidia-smi.

        Raises:
            MachineError: it isn't there, or the driver doesn't answer.
        """
        command = shutil.which("nvidia-smi")
        if command is None:
            raise MachineError("no GPU: nvidia-smi is not there, so no NVIDIA driver is installed")
        try:
            asked = subprocess.run(
                [command, f"--query-gpu={QUERY}", "--format=csv,noheader,nounits"],
                capture_output=True,
                text=True,
                timeout=SMI_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise MachineError(f"nvidia-smi did not answer in {SMI_SECONDS:g} s") from None
        if asked.returncode:
            said = " ".join((asked.stdout + asked.stderr).split())
            raise MachineError(f"no GPU: nvidia-smi ended with {asked.returncode}: {said}")
        return parse_drivers(asked.stdout)

    def libraries(self) -> Libraries:
        """See `libraries.probe_in_child`."""
        return probe_in_child()

    def compute_type(self, kind: Kind) -> str:
        """See `checks.Machine`.

        Raises:
            MachineError: there is no such device.
            SettingsError: the compute type can't be had there.
        """
        device, _ = devices.find_device(kind)
        supported = devices.supported_compute_types(device)
        chosen = devices.compute_type(self._config.compute_type, device)
        return f"{chosen.note or chosen.name}; supported: {', '.join(sorted(supported))}"

    def load(self, kind: Kind) -> LoadedSession:
        """Loads and tests the model. Raises MachineError or SettingsError."""
        from worker.speech.model.loaded import load

        # Without a self-test, nothing is known of the language that the model knows.
        speech = known_speech() if self._config.self_test else None
        return LoadedSession(load(replace(self._config, device=kind)), speech)


class LoadedSession:
    """See `checks.Session`.

    Args:
        loaded: the model.
        speech: that its batches are made of; None where there is none, and texts go unchecked.
    """

    def __init__(self, loaded: Loaded, speech: KnownSpeech | None) -> None:
        self._loaded = loaded
        self._speech = speech
        self.tuned: Sequence[str] = devices.tune_torch(loaded.device)
        self.window_bytes = loaded.budget.cost.bytes(FULL_POSITIONS)
        self.capacity = loaded.budget.capacity(FULL_POSITIONS)
        self.window_seconds = loaded.probe.seconds

    @property
    def description(self) -> str:
        """See `checks.Session`."""
        info = self._loaded.info
        return f"{info.model} on {self._loaded.device} ({self._loaded.device.name}), " + (
            f"{info.compute_type}, beam {info.beam_size}"
        )

    @property
    def self_test(self) -> tuple[Outcome, str]:
        """See `checks.Session`."""
        if self._speech is None:
            on = self._loaded.config.self_test
            why = "no known speech is here" if on else "self_test is off"
            return Outcome.SKIPPED, f"{why}: texts are not checked"
        return Outcome.PASSED, "known speech was recognised"

    def run(self, windows: int) -> Run:
        """See `checks.Session`."""
        loaded = self._loaded
        card = loaded.device.is_card
        index = loaded.device.index
        with PeakMemory((lambda: card_bytes(index)) if card else resident_bytes) as memory:
            began = time.perf_counter()
            decoded = loaded.model.decode(
                [loaded.probe] * windows,
                positions=FULL_POSITIONS,
                beam_size=loaded.config.beam_size,
                temperature=0.0,
            )
            seconds = time.perf_counter() - began
        # What is measured now took as many tokens as were written, not as are typical.
        written = max(len(item.tokens) for item in decoded)
        self.window_bytes = loaded.budget.cost.bytes_written(FULL_POSITIONS, written)
        return Run(windows, seconds, memory.bytes, self._problem({item.text for item in decoded}))

    def still_tuned(self) -> bool:
        """See `checks.Session`."""
        return devices.torch_is_tuned(self._loaded.device)

    def close(self) -> None:
        """Nothing to do: the process ends with the test."""

    def _problem(self, texts: set[str]) -> str:
        if self._speech is None:
            return ""
        try:
            for text in texts:
                check_text(text, self._speech, str(self._loaded.device))
        except MachineError as error:
            return str(error)
        return ""


def parse_drivers(table: str) -> list[Driver]:
    """nvidia-smi's CSV, one card a line.

    Raises:
        MachineError: it is something else.
    """
    found = []
    for line in table.splitlines():
        fields = [field.strip() for field in line.split(",")]
        if len(fields) != 4 or not fields[2].isdigit():
            raise MachineError(f"nvidia-smi says what can't be read: {line!r}")
        found.append(Driver(fields[0], fields[1], int(fields[2]), fields[3]))
    return found
