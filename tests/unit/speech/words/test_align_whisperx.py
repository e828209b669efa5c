"""Beside WhisperX: the same paths, the same words, the same models, fetched and found.

Importing whisperx and transformers takes seconds, so all that needs them is in this module.
"""

from __future__ import annotations

import importlib
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torchaudio
from structlog.testing import capture_logs

from tests.fakes.align_models import (
    LETTERS,
    Kind,
    Norm,
    save_hub_model,
    save_torchaudio_model,
    small_model,
    small_module,
    torchaudio_parameters,
)
from tests.fakes.model_hosts import (
    HubServer,
    cached,
    public_folder,
    read_only,
    use_caches,
    use_hub,
)
from worker.speech.fetch.places import torch_places
from worker.speech.words import align_models
from worker.speech.words.align import Aligner, AlignItem
from worker.speech.words.align_models import (
    ModelNotHere,
    NoAlignModel,
    fetch_align_model,
    load_align_model,
)
from worker.speech.words.trellis import WILDCARD, align_tokens, token_scores
from worker.speech.words.wav2vec2 import AlignModel
from worker.speech.words.whisperx_tables import read_tables

CPU = "cpu"


@pytest.fixture(autouse=True)
def _own_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_caches(tmp_path / "caches", monkeypatch)


@pytest.fixture(scope="module")
def whisperx_alignment() -> Any:
    """`whisperx.alignment`; its logger has a handler, or it would log to stdout."""
    logger = logging.getLogger("whisperx")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    return importlib.import_module("whisperx.alignment")


def reference(
    whisperx: Any, emission: npt.NDArray[np.float32], tokens: list[int], blank: int
) -> list[tuple[int, int, float]] | None:
    """(start, end, score) of each token by WhisperX's own functions."""
    scores = torch.from_numpy(emission)
    if WILDCARD in tokens:
        others = torch.ones(scores.shape[1], dtype=torch.bool)
        others[blank] = False
        wild = scores[:, others].max(dim=1).values
        scores = torch.cat([scores, wild.unsqueeze(1)], dim=1)
        tokens = [scores.shape[1] - 1 if token == WILDCARD else token for token in tokens]
    trellis = whisperx.get_trellis(scores, tokens, blank)
    path = whisperx.backtrack(trellis, scores, tokens, blank)
    if path is None:
        return None
    merged = whisperx.merge_repeats(path, "x" * len(tokens))
    return [(segment.start, segment.end, segment.score) for segment in merged]


def log_softmax(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    return torch.log_softmax(torch.from_numpy(values.astype(np.float32)), dim=-1).numpy()


def random_case(seed: int) -> tuple[npt.NDArray[np.float32], list[int], int]:
    """An emission, a text and a blank: sharp, flat or tied, with or without wildcards."""
    rng = np.random.default_rng(seed)
    frames, classes = int(rng.integers(1, 140)), int(rng.integers(3, 50))
    # From one token to more tokens than frames.
    count = int(rng.integers(1, max(2, round(frames * 1.15)) + 1))
    emission = log_softmax(rng.normal(size=(frames, classes)) * rng.choice([0.0, 0.3, 2.0, 15.0]))
    tokens = rng.integers(0, classes, size=count)
    if seed % 2:
        tokens[rng.random(count) < rng.choice([0.1, 0.5, 1.0])] = WILDCARD
    return emission, tokens.tolist(), int(rng.integers(classes)) if seed % 3 == 0 else 0


def test_random_emissions_give_whisperx_paths(whisperx_alignment: Any) -> None:
    cases = [random_case(seed) for seed in range(240)]
    found = align_tokens([token_scores(*case) for case in cases])
    impossible = 0
    for (emission, tokens, blank), spans in zip(cases, found, strict=True):
        expected = reference(whisperx_alignment, emission, tokens, blank)
        assert (spans is None) == (expected is None)
        if spans is None or expected is None:
            impossible += 1
            continue
        starts, ends, scores = zip(*expected, strict=True)
        # One frame was to be allowed for; none is needed.
        np.testing.assert_array_equal(spans.start, starts)
        np.testing.assert_array_equal(spans.end, ends)
        np.testing.assert_allclose(spans.score, scores, atol=1e-6)
    assert 10 <= impossible <= 60


@pytest.mark.parametrize(("frames", "tokens"), [(1, 1), (5, 5), (5, 6), (5, 7), (5, 4), (40, 39)])
def test_texts_about_as_long_as_their_sound(
    whisperx_alignment: Any, frames: int, tokens: int
) -> None:
    """Where WhisperX's +inf in the first column reaches furthest."""
    for seed in range(10):
        rng = np.random.default_rng(seed)
        emission = log_softmax(rng.normal(size=(frames, 6)))
        text = rng.integers(1, 6, size=tokens).tolist()
        expected = reference(whisperx_alignment, emission, text, 0)
        (spans,) = align_tokens([token_scores(emission, text, 0)])
        assert (spans is None) == (expected is None) == (tokens > frames)
        if spans is not None and expected is not None:
            assert spans.start.tolist() == [start for start, _, _ in expected]
            assert spans.end.tolist() == [end for _, end, _ in expected]


@pytest.mark.parametrize("seed", range(5))
def test_a_models_emissions_give_whisperx_paths(whisperx_alignment: Any, seed: int) -> None:
    model = small_model(seed=seed)
    rng = np.random.default_rng(seed)
    samples = (rng.normal(size=48_000) * 0.1).astype(np.float32)
    (emission,) = model.emissions([samples], len(samples))
    tokens = rng.integers(1, len(LETTERS), size=60).tolist()
    expected = reference(whisperx_alignment, emission, tokens, model.blank)
    (spans,) = align_tokens([token_scores(emission, tokens, model.blank)])
    assert spans is not None
    assert expected is not None
    assert spans.start.tolist() == [start for start, _, _ in expected]


class OneSentence:
    """Stands in for NLTK's punkt, whose data can't be downloaded here."""

    @staticmethod
    def span_tokenize(text: str) -> list[tuple[int, int]]:
        return [(0, len(text))]


TEXTS = [
    "Printing, in the only sense with which we are at present concerned,",
    "has for 500 years been (nearly) everywhere;",
    " differs from most if not from all the arts ",
    "and crafts.",
    "“Quoted” — ünïcode €20",
]


@pytest.mark.parametrize("kind", ["torchaudio", "huggingface"])
@pytest.mark.parametrize("norm", ["group", "layer"])
def test_whole_segments_give_whisperx_words(
    whisperx_alignment: Any, monkeypatch: pytest.MonkeyPatch, kind: Kind, norm: Norm
) -> None:
    monkeypatch.setattr(whisperx_alignment, "nltk_load", lambda _: OneSentence())
    rng = np.random.default_rng(0)
    audio = (rng.normal(size=20 * 16_000) * 0.1).astype(np.float32)
    edges = [0.0, 4.5, 8.123, 12.9, 14.04, 19.5]
    segments = [
        {"start": start, "end": end, "text": text}
        for start, end, text in zip(edges[:-1], edges[1:], TEXTS, strict=True)
    ]
    dictionary = {letter: code for code, letter in enumerate(LETTERS)}
    expected = whisperx_alignment.align(
        segments,
        small_module(kind, norm),
        {"language": "en", "dictionary": dictionary, "type": kind},
        audio,
        "cpu",
    )["segments"]

    aligner = Aligner("cpu", load=lambda *_: small_model(kind, norm))
    aligner.request("en")
    while aligner.ready("en") is None:
        time.sleep(0.002)
    found = aligner.align(
        [
            AlignItem(audio[int(start * 16_000) : int(end * 16_000)], text, "en", start, end)
            for start, end, text in zip(edges[:-1], edges[1:], TEXTS, strict=True)
        ]
    )

    assert len(expected) == len(found)
    for segment, words in zip(expected, found, strict=True):
        assert [word.word for word in words] == [word["word"] for word in segment["words"]]
        for word, other in zip(words, segment["words"], strict=True):
            assert word.start == pytest.approx(other["start"], abs=0.021)
            assert word.end == pytest.approx(other["end"], abs=0.021)
            assert word.score == pytest.approx(other["score"], abs=0.02)


def test_the_tables_read_from_the_source_are_those_that_an_import_gives(
    whisperx_alignment: Any,
) -> None:
    tables = read_tables()
    assert tables.torchaudio == whisperx_alignment.DEFAULT_ALIGN_MODELS_TORCH
    assert tables.hub == whisperx_alignment.DEFAULT_ALIGN_MODELS_HF
    assert tables.without_spaces == set(whisperx_alignment.LANGUAGES_WITHOUT_SPACES)
    assert len(tables.hub) > 30


def test_torchaudios_models_are_as_the_batching_assumes(whisperx_alignment: Any) -> None:
    """Group norm in the first convolution, and no normalization across a whole batch."""
    tables = whisperx_alignment.DEFAULT_ALIGN_MODELS_TORCH
    assert set(tables) == {"en", "fr", "de", "es", "it"}
    for name in tables.values():
        bundle = getattr(torchaudio.pipelines, name)
        assert bundle._params["extractor_mode"] == "group_norm"
        assert not bundle._normalize_waveform
        assert bundle.sample_rate == 16_000
    english = getattr(torchaudio.pipelines, tables["en"])
    assert [label.lower() for label in english.get_labels()] == LETTERS


def test_torchaudios_files_are_named_and_looked_for_without_importing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = {
        name: getattr(torchaudio.pipelines, name)._path
        for name in read_tables().torchaudio.values()
    }
    assert named == align_models._TORCHAUDIO_FILES
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    for variables in (
        {},
        {"TORCH_HOME": "/srv/torch"},
        {"TORCH_HOME": "~/models"},
        {"XDG_CACHE_HOME": str(tmp_path)},
        {"XDG_CACHE_HOME": "~/caches"},
        {"XDG_CACHE_HOME": str(tmp_path), "TORCH_HOME": "/srv/torch"},
        {"XDG_CACHE_HOME": ""},
    ):
        for name in ("TORCH_HOME", "XDG_CACHE_HOME"):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        assert Path(torch.hub.get_dir(), "checkpoints") in torch_places(None)


def test_no_file_is_said_quietly(
    whisperx_alignment: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for language in ("en", "nl"):
        with pytest.raises(ModelNotHere):
            load_align_model(language, CPU, tmp_path)
    with pytest.raises(NoAlignModel, match="no alignment model for the language 'cy'"):
        load_align_model("cy", CPU, tmp_path)
    assert capfd.readouterr().out == ""


def same_emissions(model: AlignModel, module: torch.nn.Module, kind: Kind) -> None:
    samples = (np.random.default_rng(0).normal(size=16_000) * 0.1).astype(np.float32)
    with torch.inference_mode():
        output = module(torch.from_numpy(samples)[None])
    logits = output[0] if kind == "torchaudio" else output.logits
    expected = torch.log_softmax(logits, dim=-1)[0].numpy()
    np.testing.assert_allclose(model.emissions([samples], 16_000)[0], expected, atol=1e-4)


def test_torchaudios_files_are_found_where_whisperx_puts_them(
    whisperx_alignment: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    bundle = torchaudio.pipelines.WAV2VEC2_ASR_BASE_960H
    monkeypatch.setattr(bundle, "_params", torchaudio_parameters("group"))
    module = save_torchaudio_model(tmp_path / bundle._path)

    model = load_align_model("en", CPU, tmp_path)

    assert (model.kind, model.name) == ("torchaudio", "WAV2VEC2_ASR_BASE_960H")
    assert model.dictionary == {letter: code for code, letter in enumerate(LETTERS)}
    assert (model.blank, model.spaced, model.paddable) == (0, True, True)
    same_emissions(model, module, "torchaudio")
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(("language", "spaced"), [("nl", True), ("ja", False)])
def test_the_hubs_files_are_found_where_whisperx_puts_them(
    whisperx_alignment: Any,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    language: str,
    spaced: bool,
) -> None:
    name = whisperx_alignment.DEFAULT_ALIGN_MODELS_HF[language]
    repository = tmp_path / f"models--{name.replace('/', '--')}"
    snapshot = repository / "snapshots" / "0123456789abcdef0123456789abcdef01234567"
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(snapshot.name)
    module = save_hub_model(snapshot)

    model = load_align_model(language, CPU, tmp_path)

    assert (model.kind, model.name, model.spaced) == ("huggingface", name, spaced)
    assert model.dictionary["a"] == 1
    assert model.blank == 4
    assert model.paddable
    same_emissions(model, module, "huggingface")
    assert capfd.readouterr().out == ""


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a small model of each kind, and what a repository has beside them."""
    folder = tmp_path_factory.mktemp("published")
    save_hub_model(folder)
    save_torchaudio_model(folder / torchaudio.pipelines.WAV2VEC2_ASR_BASE_960H._path)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    return files | {"pytorch_model.bin": b"the same again", "README.md": b"read me"}


@pytest.fixture
def server(published: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    bundle = torchaudio.pipelines.WAV2VEC2_ASR_BASE_960H
    monkeypatch.setattr(bundle, "_params", torchaudio_parameters("group"))
    with HubServer(published) as running:
        use_hub(running.url, monkeypatch)
        monkeypatch.setattr(align_models, "_TORCHAUDIO_URL", f"{running.url}/")
        yield running


def aligned(model_dir: Path, language: str) -> None:
    """Have an aligner of its own get the language's model."""
    aligner = Aligner("cpu", model_dir=model_dir)
    aligner.request(language)
    end = time.monotonic() + 60
    while aligner.ready(language) is None and time.monotonic() < end:
        time.sleep(0.002)
    assert aligner.ready(language), aligner.why_not(language)


def test_a_model_is_fetched_once_and_then_loaded_without_a_question(
    server: HubServer, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with capture_logs():
        for language in ("nl", "en"):
            aligned(tmp_path, language)
    fetched = {path.rpartition("/")[2] for _, path, _ in server.requests}
    assert "model.safetensors" in fetched
    assert not fetched & {"pytorch_model.bin", "README.md"}
    asked = len(server.requests)
    for language in ("nl", "en"):
        aligned(tmp_path, language)
    assert len(server.requests) == asked
    assert capfd.readouterr() == ("", "")


def test_models_in_a_folder_that_can_only_be_read_are_used_and_others_go_elsewhere(
    server: HubServer, published: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = torchaudio.pipelines.WAV2VEC2_ASR_BASE_960H
    with public_folder() as folder:
        mounted = folder / "mounted"
        cached(mounted, read_tables().hub["nl"], published)
        (mounted / bundle._path).write_bytes(published[bundle._path])
        (folder / "caches" / "cache").mkdir(parents=True)
        (folder / "caches" / "cache").chmod(0o777)
        use_caches(folder / "caches", monkeypatch)
        with read_only(mounted):
            for language in ("nl", "en"):
                load_align_model(language, "cpu", mounted)
            with pytest.raises(ModelNotHere):
                load_align_model("ja", "cpu", mounted)
            assert server.requests == []
            fetch_align_model("ja", mounted, lambda: None)
            load_align_model("ja", "cpu", mounted)
        own = folder / "caches" / "cache" / "transcription-worker" / "models"
        assert [path.name for path in own.glob("models--*")] == [
            "models--jonatasgrosman--wav2vec2-large-xlsr-53-japanese"
        ]
