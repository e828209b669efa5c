"""What measuring tools outside the repository use: that it is there, and does what it says."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from tests.fakes.speech import talk
from tests.fakes.tiny_model import base_model
from worker.bench import kit


@pytest.fixture(scope="module")
def base() -> Path:
    """The packaged base model's directory; skips where it isn't installed."""
    return base_model()


@pytest.fixture(scope="module")
def loaded(base: Path) -> kit.Loaded:
    """The base model on the CPU, tested on known speech as it was loaded."""
    return kit.load(
        kit.EngineConfig(
            model=str(base), device="cpu", compute_type="auto", num_workers=1, word_times="none"
        )
    )


def test_every_name_is_there_and_stands_in_the_table() -> None:
    table = kit.__doc__ or ""
    for name in kit.__all__:
        assert hasattr(kit, name)
        assert f"`{name}`" in table
    assert len(set(kit.__all__)) == len(kit.__all__)


def test_the_packaged_weights_are_the_base_models(base: Path) -> None:
    directory = kit.packaged_weights()
    assert directory == base == kit.resolve("base")
    dimensions = kit.read_dimensions(directory)
    assert (dimensions.encoder_layers, dimensions.decoder_layers) == (6, 6)
    assert (dimensions.width, dimensions.mels) == (512, 80)


def test_a_window_costs_what_its_tokens_cost(base: Path) -> None:
    dimensions = kit.read_dimensions(base)
    cost = kit.window_cost(dimensions, beam_size=5, compute_type="int8")
    usual = kit.window_bytes(
        dimensions,
        positions=kit.FULL_POSITIONS,
        tokens=kit.TYPICAL_TOKENS,
        beam_size=5,
        compute_type="int8",
    )
    # The arithmetic takes whole bytes a position.
    assert usual == pytest.approx(cost.bytes(kit.FULL_POSITIONS), abs=kit.FULL_POSITIONS)
    more, fewer = (
        kit.window_bytes(
            dimensions, positions=kit.FULL_POSITIONS, tokens=tokens, beam_size=5,
            compute_type="int8",
        )
        for tokens in (600, 500)
    )  # fmt: skip
    assert more - fewer == 100 * cost.per_token
    # Few tokens take less than the encoder before them.
    assert fewer > usual


def test_a_budget_on_this_cpu(base: Path) -> None:
    device, note = kit.find_device("cpu")
    assert (device.kind, note) == ("cpu", None)
    budget = kit.budget(
        kit.read_dimensions(base),
        batch_size=64,
        batch_size_given=False,
        beam_size=5,
        compute_type="int8",
        device=device,
        free_bytes=kit.free_memory(device),
        reserved=0,
        cores=2,
    )
    assert 1 <= budget.capacity(kit.FULL_POSITIONS) <= budget.capacity(400)


def test_a_loaded_model_decodes_what_it_is_given(loaded: kit.Loaded) -> None:
    assert (loaded.device.kind, loaded.config.num_workers) == ("cpu", 1)
    model, speech = loaded.model, kit.known_speech()
    assert isinstance(model, kit.Whisper)
    assert speech is not None
    features = kit.FrontEnd(model.mels)(speech.samples[: 10 * kit.SAMPLE_RATE])
    request = kit.Request(features, 10.0, "en", "transcribe")
    (decoded,) = model.decode([request], positions=600, beam_size=1, temperature=0.0)
    assert decoded.text
    assert len(model.prompt(request, "en")) == model.start_length()
    padded = kit.pad(features, 1_200)
    assert padded.shape == (model.mels, 1_200)
    np.testing.assert_array_equal(padded[:, : features.shape[1]], features)


@pytest.mark.parametrize("workers", [1, 3])
def test_the_callers_number_of_children_prepares(base: Path, tmp_path: Path, workers: int) -> None:
    plan = kit.Plan(model=str(base), compute_type="auto", num_workers=workers, beam_size=1)
    contestant = kit.make(kit.Spec("optimized", plan, "cpu"))
    assert isinstance(contestant, kit.Ours)
    contestant.start()
    try:
        assert isinstance(contestant.engine, kit.Engine)
        (text,) = contestant.transcribe([talk(tmp_path / "a.wav", seconds=4.0)], lambda: None)
        assert text
        deadline = time.monotonic() + 60.0
        while len(contestant.engine.children()) < workers and time.monotonic() < deadline:
            time.sleep(0.02)
        assert len(contestant.engine.children()) == workers
    finally:
        contestant.stop()


def test_word_errors_of_several_clips() -> None:
    assert kit.word_errors(["one two three", "four"], ["One, two three.", "four"]) == 0.0
    assert kit.word_errors(["one two three", "four"], ["one two", "five"]) == pytest.approx(50.0)
    with pytest.raises(ValueError, match="shorter"):
        kit.word_errors(["one"], [])
