"""Weights that suppress tokens by themselves say what the list of tokens says."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.fakes.tiny_model import TINY, base_model
from worker.speech.model import suppressed
from worker.speech.model.choices import Device
from worker.speech.model.decoding import Request
from worker.speech.model.selftest import known_speech
from worker.speech.model.suppressed import BY_LIST, Prepared, add_bias, prepare, prepare_for
from worker.speech.model.weights import read_dimensions
from worker.speech.model.whisper import Whisper
from worker.speech.prepare.features import FrontEnd

CPU = Device("cpu", 0, "a processor")


@pytest.fixture(scope="module")
def base() -> Path:
    """Joined in the real cache, before another takes its place."""
    return base_model()


@pytest.fixture(autouse=True)
def cache(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    del base
    place = tmp_path / "cache"
    monkeypatch.setattr(suppressed, "cache_directory", lambda: place)
    return place


@pytest.mark.parametrize("compute_type", ["int8", "float32"])
def test_texts_and_their_measures_are_the_same(base: Path, compute_type: str) -> None:
    speech = known_speech()
    if speech is None:
        pytest.skip("needs the recording in pyannote's package")
    features = FrontEnd(80)(speech.samples)
    requests = [
        Request(features[:, :length], length / 100, "en", "transcribe") for length in (1100, 800)
    ]
    biased = prepare(base)
    assert biased.directory != base
    assert len(biased.tokens) == 6
    texts = []
    for found in (Prepared(base), biased):
        model = Whisper(found.directory, CPU, compute_type, 2, suppressed=found.tokens)
        texts.append(model.decode(requests, positions=600, beam_size=5, temperature=0.0))
    for by_list, by_bias in zip(*texts, strict=True):
        assert by_list.tokens == by_bias.tokens
        assert by_list.avg_logprob == pytest.approx(by_bias.avg_logprob, abs=1e-5)
        assert by_list.no_speech == pytest.approx(by_bias.no_speech, abs=1e-5)


def test_what_would_be_written_is_not(tiny_model: Path, tmp_path: Path) -> None:
    def first(found: Prepared) -> list[int]:
        model = Whisper(found.directory, CPU, "float32", 2, suppressed=found.tokens).model
        features = np.random.default_rng(0).normal(size=(1, 128, 100)).astype(np.float32)
        import ctranslate2

        encoded = model.encode(ctranslate2.StorageView.from_array(features))
        prompt = [[50258, 50259, 50359, 50363]]
        (result,) = model.generate(
            encoded, prompt, beam_size=1, max_length=14, suppress_tokens=list(found.tokens)
        )
        return list(result.sequences_ids[0])

    written = set(first(Prepared(tiny_model)))
    copy = tmp_path / "copy"
    shutil.copytree(tiny_model, copy)
    config = json.loads((copy / "config.json").read_text())
    config["suppress_ids"] = [*written, 50362]
    (copy / "config.json").write_text(json.dumps(config))
    found = prepare(copy)
    assert found.tokens == (50362,)
    assert not written & set(first(found))


def test_a_copy_is_made_once_and_has_the_same_dimensions(
    base: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = prepare(base)
    assert read_dimensions(found.directory) == read_dimensions(base)
    monkeypatch.setattr(suppressed, "add_bias", None)  # would fail if it were made again
    assert prepare(base) == found
    assert [path.name for path in cache.iterdir()] == [found.directory.name]


def test_a_card_gets_the_copy_and_a_processor_the_weights_as_they_are(
    base: Path, cache: Path
) -> None:
    assert prepare_for(CPU, base) == Prepared(base, BY_LIST)
    assert not cache.exists()
    copy = prepare_for(Device("cuda", 0, "a card"), base)
    assert copy == prepare(base)
    assert copy.directory.parent == cache


def test_without_a_list_or_without_room_weights_stay_as_they_are(
    tiny_model: Path, base: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert prepare(tiny_model) == Prepared(tiny_model, BY_LIST)
    monkeypatch.setattr(suppressed, "ROOM", 1 << 60)
    assert prepare(base) == Prepared(base, BY_LIST)
    assert list(cache.iterdir()) == []


def test_a_cache_that_can_not_be_written_is_no_error(
    base: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(suppressed, "cache_directory", lambda: tmp_path / "file" / "below")
    assert prepare(base) == Prepared(base, BY_LIST)


def test_a_file_of_another_layout_or_with_a_bias_is_refused(
    tiny_model: Path, tmp_path: Path
) -> None:
    once, twice = tmp_path / "once", tmp_path / "twice"
    add_bias(tiny_model / "model.bin", once, [1], TINY.vocabulary)
    with pytest.raises(ValueError, match="has a decoder/projection/bias already"):
        add_bias(once, twice, [1], TINY.vocabulary)
    for data, why in ((b"\x07\0\0\0", "binary version 6"), (b"\x06\0", "no CTranslate2 model")):
        once.write_bytes(data)
        with pytest.raises(ValueError, match=why):
            add_bias(once, twice, [1], TINY.vocabulary)
