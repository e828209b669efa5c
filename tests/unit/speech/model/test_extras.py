"""Without the extra `whisperx`: words from attention; the rest is refused, with the fix."""

from __future__ import annotations

from itertools import product

import pytest

from worker.errors import SettingsError
from worker.speech.config import EngineConfig
from worker.speech.model.extras import FIX, without_whisperx


def test_words_get_their_times_from_attention_and_only_who_asked_is_told() -> None:
    config, note = without_whisperx(EngineConfig())
    assert (config.word_times, note) == ("attention", None)
    config, note = without_whisperx(EngineConfig(word_times_given=True))
    assert config.word_times == "attention"
    assert note is not None
    assert "word_times = 'aligned' needs the extra whisperx" in note
    assert FIX in note


@pytest.mark.parametrize(
    "config",
    [
        EngineConfig(word_times="none", word_times_given=True),
        EngineConfig(word_times="attention", word_times_given=True, device="cpu", beam_size=1),
    ],
)
def test_what_needs_nothing_of_it_stays_as_it_is(config: EngineConfig) -> None:
    assert without_whisperx(config) == (config, None)


@pytest.mark.parametrize(
    ("device", "transcriber", "vad"),
    [
        wanted
        for wanted in product(("auto", "cuda"), ("optimized", "standard"), ("silero", "pyannote"))
        if wanted != ("auto", "optimized", "silero")
    ],
)
def test_every_setting_that_can_t_be_had_is_named_with_its_value_and_the_fix(
    device: str, transcriber: str, vad: str
) -> None:
    config = EngineConfig(device=device, transcriber=transcriber, vad=vad)  # type: ignore[arg-type]
    with pytest.raises(SettingsError) as caught:
        without_whisperx(config)
    said = str(caught.value).split("\n")
    named = [
        f"{name} = {value!r} needs"
        for name, value in (("device", device), ("transcriber", transcriber), ("vad", vad))
        if value in ("cuda", "standard", "pyannote")
    ]
    assert [line.split(" the extra")[0] for line in said] == named
    assert all(FIX in line and "or set " in line for line in said)
