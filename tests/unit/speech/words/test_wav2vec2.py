"""Forward passes: padding and batching change nothing."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

from tests.fakes.align_models import Kind, Norm, small_model, small_module
from worker.speech.words.wav2vec2 import AlignModel

# 400 is one frame; 30001 ends within a frame.
LENGTHS = [30_001, 16_000, 24_320, 400, 719, 720, 9_999]


def noise(lengths: list[int], seed: int = 0) -> list[npt.NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    # Loudness differs, as it does between segments: it is what group norm would mix.
    return [(rng.normal(size=n) * rng.uniform(0.02, 0.5)).astype(np.float32) for n in lengths]


@pytest.mark.parametrize("kind", ["torchaudio", "huggingface"])
@pytest.mark.parametrize("norm", ["group", "layer"])
def test_a_padded_batch_says_what_each_segment_says_alone(kind: Kind, norm: Norm) -> None:
    model = small_model(kind, norm)
    # The library's own module, as WhisperX calls it: one segment, no padding, no lengths.
    reference = small_module(kind, norm)
    segments = noise(LENGTHS)
    assert model.paddable

    together = model.emissions(segments, 32_000)

    for samples, emission in zip(segments, together, strict=True):
        with torch.inference_mode():
            output = reference(torch.from_numpy(samples)[None])
        logits = output[0] if kind == "torchaudio" else output.logits
        alone = torch.log_softmax(logits, dim=-1)[0].numpy()
        assert emission.shape == alone.shape
        np.testing.assert_allclose(emission, alone, atol=1e-4)
        assert emission.std() > 0.5  # they say something that could differ


@pytest.mark.parametrize("kind", ["torchaudio", "huggingface"])
@pytest.mark.parametrize("norm", ["group", "layer"])
def test_half_of_the_memory_says_nearly_the_same(kind: Kind, norm: Norm) -> None:
    segments = noise(LENGTHS)
    model = small_model(kind, norm, half=True)
    assert {weights.dtype for weights in model.module.parameters()} == {torch.float16}
    halves = model.emissions(segments, 32_000)
    for half, whole in zip(
        halves, small_model(kind, norm).emissions(segments, 32_000), strict=True
    ):
        assert half.dtype == np.float32
        np.testing.assert_allclose(half, whole, atol=0.1)


@pytest.mark.parametrize("kind", ["torchaudio", "huggingface"])
def test_without_the_length_aware_norm_padding_would_change_the_result(
    kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = small_model(kind, "group")
    segments = noise([32_000, 8_000])
    right = model.emissions(segments, 32_000)[1]
    assert model._norm is not None
    monkeypatch.setattr(model._norm, "forward", model._norm.norm.forward)
    wrong = model.emissions(segments, 32_000)[1]
    assert np.abs(right - wrong).max() > 0.05


def test_a_model_with_another_group_norm_is_not_padded() -> None:
    module = small_module("torchaudio", "layer")
    module.extra = nn.GroupNorm(4, 48)
    model = AlignModel(module, {"-": 0}, kind="torchaudio", name="odd", spaced=True)
    assert not model.paddable


def test_equal_lengths_need_no_mask() -> None:
    model = small_model()
    segments = noise([16_000, 16_000])
    together = model.emissions(segments, 16_000)
    for samples, emission in zip(segments, together, strict=True):
        np.testing.assert_allclose(emission, model.emissions([samples], 16_000)[0], atol=1e-5)


def test_blank_is_the_padding_token_where_the_dictionary_names_one() -> None:
    assert small_model().blank == 0
    assert small_model(letters=["a", "b", "<pad>", "|"]).blank == 2
    assert small_model(letters=["a", "[pad]", "|"]).blank == 1
