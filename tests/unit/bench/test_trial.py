from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from worker.bench.contestants import Contestant, OnFile
from worker.bench.loads import Load
from worker.bench.plan import Plan, Spec, Started
from worker.bench.trial import measure

LOAD = Load("clips", (Path("a"), Path("b")), 2.0, None)


class Auditing(Contestant):
    """Decodes a window of each file at once, and the same again when nobody waits for it."""

    def start(self) -> Started:
        result = SimpleNamespace(sequences_ids=[[1]])
        model = SimpleNamespace(
            encode=lambda features, **_: features,
            generate=lambda _, prompts, **__: [result] * len(prompts),
        )
        self.wrap(model)
        self.owed = 0
        return Started("int8", 1, "nothing")

    def transcribe(self, paths: Sequence[Path], on_file: OnFile) -> list[str]:
        for _ in paths:
            self._decode()
            self.owed += 1
            on_file()
        return ["text"] * len(paths)

    def settle(self) -> None:
        for _ in range(self.owed):
            self._decode()
        self.owed = 0

    def _decode(self) -> None:
        encoded = self.probe.encode(np.zeros((1, 80, 10), dtype=np.float32))
        self.probe.generate(encoded, [[1]])


def test_what_is_still_owed_from_before_is_no_part_of_a_measurement() -> None:
    one = Auditing(Spec("optimized", Plan(), "cpu"))
    one.start()
    one.transcribe([Path("warm-up")], lambda: None)
    done: list[int] = []
    found = measure(one, LOAD, 1, lambda _load, files, _of: done.append(files))
    assert done == [1, 2]
    assert found.texts == ("text", "text")
    # Two files and their audits; the warm-up's came before.
    assert found.windows == 4
    assert found.slots == 4
    assert found.floor is None
