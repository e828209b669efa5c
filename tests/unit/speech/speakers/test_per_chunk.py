from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pyannote.audio.models.embedding import WeSpeakerResNet34
from pyannote.audio.pipelines.speaker_verification import PretrainedSpeakerEmbedding

from tests.fakes.voices import packaged_pipeline, talk_of_two
from worker.speech.speakers.per_chunk import PerChunk


class NoFrames:
    """An embedding of a kind that knows no frames: pyannote wraps some of others so."""

    dimension = 2

    def __init__(self) -> None:
        self.rows: list[int] = []

    def __call__(self, waveforms: torch.Tensor, masks: torch.Tensor) -> NDArray[np.float32]:
        self.rows.append(len(waveforms))
        means = waveforms[:, 0].mean(dim=1)
        return torch.stack([means, masks.sum(dim=1)], dim=1).numpy()


def chunks(number: int, seconds: float) -> torch.Tensor:
    """Chunks of real speech, [number, 1, samples]."""
    speech = talk_of_two()[8 * 16_000 :].astype(np.float32) / 32768
    length = round(seconds * 16_000)
    rows = [speech[at * 16_000 : at * 16_000 + length] for at in range(number)]
    return torch.from_numpy(np.stack(rows)[:, None])


def masks(number: int) -> NDArray[np.float32]:
    """Three speakers a chunk of 589 frames: one of long turns, one of short, one who is silent."""
    random = np.random.default_rng(5)
    made = np.zeros((number, 3, 589), np.float32)
    made[:, 0, 100:400] = 1
    made[:, 1, 450:550] = random.random((number, 100)) < 0.7
    made[0, 1] = 0
    return made


def stock(embedding: Any, waveforms: torch.Tensor, of: NDArray[np.float32]) -> NDArray[np.float32]:
    """As pyannote does it: each speaker is a row of the batch."""
    rows = waveforms.repeat_interleave(of.shape[1], dim=0)
    found = embedding(rows, masks=torch.from_numpy(of.reshape(-1, of.shape[2])))
    return np.asarray(found).reshape(*of.shape[:2], -1)


@pytest.fixture(scope="module")
def random_wespeaker() -> Any:
    torch.manual_seed(1)
    return PretrainedSpeakerEmbedding(WeSpeakerResNet34().eval())


def test_the_packaged_model_gives_the_numbers_of_pyannotes_way() -> None:
    check(packaged_pipeline()._embedding, seconds=10.0)


def test_a_wespeaker_model_gives_the_numbers_of_pyannotes_way(random_wespeaker: Any) -> None:
    check(random_wespeaker, seconds=1.0)


def check(embedding: Any, *, seconds: float) -> None:
    waveforms, of = chunks(2, seconds), masks(2)
    ours, theirs = PerChunk(embedding)(waveforms, of), stock(embedding, waveforms, of)
    speaks = of.any(axis=2)
    assert np.isfinite(theirs[speaks]).all()
    assert np.array_equal(ours[speaks], theirs[speaks])
    assert np.isnan(ours[~speaks]).all()


def test_frames_are_computed_once_a_chunk(random_wespeaker: Any) -> None:
    seen: list[int] = []
    model = random_wespeaker.model_
    handle = model.resnet.conv1.register_forward_hook(lambda *all_: seen.append(len(all_[2])))
    PerChunk(random_wespeaker)(chunks(2, 0.5), masks(2))
    handle.remove()
    assert seen == [2]


def test_a_model_without_frames_is_run_for_those_who_speak() -> None:
    embedding, of = NoFrames(), masks(2)
    found = PerChunk(embedding)(chunks(2, 10.0), of)
    assert embedding.rows == [3]
    assert found[1, 0, 1] == of[1, 0].sum()
    assert np.isnan(found[~of.any(axis=2)]).all()
    silent = PerChunk(embedding)(chunks(2, 10.0), np.zeros_like(of))
    assert np.isnan(silent).all()
    assert embedding.rows == [3]
