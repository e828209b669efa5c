from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import ctranslate2
import numpy as np
import pytest

from tests.fakes.tiny_model import base_model
from worker.bench.probe import Probe, fixed_length, replay
from worker.bench.random_model import ARCHITECTURES, write_random_model
from worker.errors import SettingsError
from worker.speech.model.weights import LARGE_V3, Dimensions, read_dimensions

SMALL = Dimensions(
    encoder_layers=2, decoder_layers=1, width=64, heads=4, mels=128, vocabulary=51866
)
PROMPT = [50258, 50259, 50359, 50363]
"""<|startoftranscript|><|en|><|transcribe|><|notimestamps|>"""
END = 50257


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("models") / "small"
    write_random_model(target, SMALL, base_model(), seed=3)
    return target


@pytest.fixture(scope="module")
def model(directory: Path) -> Any:
    return ctranslate2.models.Whisper(
        str(directory), device="cpu", compute_type="float32", intra_threads=1
    )


def features(windows: int, *, seed: int = 0) -> Any:
    values = np.random.default_rng(seed).standard_normal((windows, SMALL.mels, 100))
    return ctranslate2.StorageView.from_array(values.astype(np.float32))


def test_dimensions_are_those_asked_for(directory: Path) -> None:
    assert read_dimensions(directory) == SMALL
    assert ARCHITECTURES["large-v3"] is LARGE_V3


def test_ctranslate2_takes_it_for_a_whisper(model: Any) -> None:
    assert model.n_mels == 128
    assert model.is_multilingual
    encoded = model.encode(features(1))
    assert len(model.detect_language(encoded)[0]) == 99
    (aligned,) = model.align(encoded, PROMPT[:3], [[10, 11, 12]], [50])
    assert len(aligned.text_token_probs) == 3


def test_it_says_text_and_never_ends(model: Any) -> None:
    (result,) = model.generate(model.encode(features(1)), [PROMPT], beam_size=5)
    tokens = result.sequences_ids[0]
    assert len(tokens) == 224  # CTranslate2's half of 448
    assert max(tokens) < END


def test_the_same_seed_gives_the_same_weights(directory: Path, tmp_path: Path) -> None:
    write_random_model(tmp_path / "again", SMALL, base_model(), seed=3)
    write_random_model(tmp_path / "other", SMALL, base_model(), seed=4)
    weights = (directory / "model.bin").read_bytes()
    assert (tmp_path / "again" / "model.bin").read_bytes() == weights
    assert (tmp_path / "other" / "model.bin").read_bytes() != weights


def test_faster_whisper_loads_it(directory: Path) -> None:
    from faster_whisper import WhisperModel

    loaded = WhisperModel(str(directory), device="cpu", compute_type="int8", cpu_threads=1)
    assert loaded.feat_kwargs == {"feature_size": 128}
    assert loaded.hf_tokenizer.token_to_id("<|endoftext|>") == END


def test_no_tokenizer_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"no tokenizer\.json"):
        write_random_model(tmp_path / "model", SMALL, tmp_path)


def test_too_small_a_vocabulary_is_a_clear_error(tmp_path: Path) -> None:
    dimensions = Dimensions(
        encoder_layers=1, decoder_layers=1, width=8, heads=1, mels=80, vocabulary=100
    )
    with pytest.raises(SettingsError, match="more than the model's 100"):
        write_random_model(tmp_path / "model", dimensions, base_model())


@pytest.mark.parametrize("context", [0, 1, 16, 17, 60])
@pytest.mark.parametrize("tokens", [1, 20])
def test_every_window_gets_as_many_tokens_as_asked_for(
    model: Any, context: int, tokens: int
) -> None:
    probe = Probe(model, fixed_tokens=tokens)
    encoded = probe.encode(features(2))
    results = probe.generate(encoded, [[11] * context + PROMPT] * 2, beam_size=2, max_length=448)
    assert [len(result.sequences_ids[0]) for result in results] == [tokens, tokens]
    assert fixed_length(context + 4, tokens) <= 448


def test_calls_of_several_threads_keep_what_they_encoded(model: Any) -> None:
    probe = Probe(model, record=True)
    encoded = threading.Barrier(3)

    def call(windows: int) -> None:
        mine = probe.encode(features(windows, seed=windows))
        encoded.wait(10)
        probe.generate(mine, [PROMPT] * windows, beam_size=1, max_length=16)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(call, (1, 2, 3)))
    assert (probe.calls, probe.windows) == (3, 6)
    for call_made in probe.recorded:
        assert call_made.features is not None
        assert len(call_made.features) == len(call_made.prompts) == len(call_made.tokens)
    assert replay(probe.model, probe.recorded).same == 6


def test_recorded_calls_are_made_again(model: Any) -> None:
    probe = Probe(model, record=True)
    for windows in (2, 3):
        encoded = probe.encode(features(windows, seed=windows))
        probe.generate(encoded, [PROMPT] * windows, beam_size=1, max_length=16)
    # What the engine does on the side is no part of the floor.
    probe.detect_language(encoded)
    assert (probe.calls, probe.windows) == (2, 5)
    assert probe.recorded_bytes == 5 * SMALL.mels * 100 * 4
    floor = replay(probe.model, probe.recorded)
    assert (floor.calls, floor.windows, floor.same) == (2, 5, 5)
    assert floor.seconds > 0
    at_once = replay(probe.model, probe.recorded, lanes=2)
    assert (at_once.calls, at_once.windows, at_once.same) == (2, 5, 5)
    probe.reset()
    assert replay(probe.model, probe.recorded).calls == 0
    assert probe.recorded_bytes == 0


def test_recorded_features_outlive_their_encoding(model: Any) -> None:
    probe = Probe(model, record=True)
    probe.generate(probe.encode(features(1, seed=9)), [PROMPT], beam_size=1, max_length=8)
    expected = np.random.default_rng(9).standard_normal((1, SMALL.mels, 100)).astype(np.float32)
    (call,) = probe.recorded
    assert call.features is not None
    np.testing.assert_array_equal(call.features, expected)


def test_a_fixed_result_is_taken_for_silence(model: Any) -> None:
    from worker.speech.engine.quality import Attempt, doubts

    (result,) = Probe(model, fixed_tokens=5).generate(model.encode(features(1)), [PROMPT])
    attempt = Attempt(
        text="x",
        tokens=tuple(result.sequences_ids[0]),
        avg_logprob=result.scores[0],
        no_speech=result.no_speech_prob,
        seconds=0.1,
    )
    assert doubts(attempt) == ()
