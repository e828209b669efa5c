"""CAM++ as an embedding model of pyannote's pipeline: how somebody sounds, in 192 numbers.

Importing this module imports torch and pyannote, which takes seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import torch
import torchaudio.compliance.kaldi as kaldi
from pyannote.audio import Model
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["CamPlusPlus", "in_calls"]

DIMENSION = 192
MELS = 80

LEAST_FRAMES = 25
"""Of 10 ms; fewer get no embedding. Of 198 stretches of one of seven speakers (the conversation
dev8_198) the nearest centroid was the speaker's for 44 % of those of 0.1 s, for 82 % of 0.25 s, for
96 % of 0.5 s and for 99 % of 1 s."""

MOST_FRAMES = 300
"""Of what a speaker says in a chunk, the middle 3 s are enough: with more the model takes a quarter
longer and tells speakers apart no better (see the README of this folder)."""

LENGTHS = 100
"""Frames are repeated up to a multiple of this, the stretch over which the model averages: three
shapes in all."""

CARD_ROWS = 8
"""Of each call on a card. On a CPU it is one, because more are no faster there. Libraries on both
plan anew for each shape, and keep the plan: with as many rows in a call as there happened to be,
four minutes of speech took 0.35 GB more on a CPU, and two hours 1.2 GB."""

_LOUDEST = 0.5
"""A frame is a speaker's if its weight is above this: weights are 0 or 1."""


class CamPlusPlus(Model):
    """CAM++ with the interface that pyannote's WeSpeaker models have.

    The model looks at all frames that it gets, so other speakers' frames are cut out before it
    rather than left out of its pooling.

    Args:
        network: the model itself: features [rows, frames, 80] to embeddings [rows, 192].
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__(sample_rate=16000, num_channels=1)
        self.network = network
        self._fbank = partial(kaldi.fbank, num_mel_bins=MELS, sample_frequency=16000, dither=0.0)

    @property
    def dimension(self) -> int:
        """Numbers of an embedding."""
        return DIMENSION

    def forward(  # type: ignore[override]  # as pyannote's own embedding models do
        self, waveforms: Tensor, weights: Tensor | None = None
    ) -> Tensor:
        """An embedding of each row.

        Args:
            waveforms: [rows, 1, samples] at 16 kHz.
            weights: [rows, frames] or [rows, speakers, frames], of any number of frames: 1 where
                the speaker speaks, 0 elsewhere. None: everywhere.

        Returns:
            [rows, 192] or [rows, speakers, 192]; NaN for whoever speaks for less than 0.25 s.

        Raises:
            ValueError: there are no weights, and the rows are shorter than 0.25 s.
        """
        frames = self.forward_frames(waveforms)
        if weights is None and frames.shape[1] < LEAST_FRAMES:
            raise ValueError(f"{frames.shape[1]} frames are too few for an embedding")
        return self.forward_embedding(frames, weights)

    def forward_frames(self, waveforms: Tensor) -> Tensor:
        """Log-mel features of each row: [rows, frames of 10 ms, 80]."""
        frames: Tensor = torch.vmap(self._fbank)(waveforms)
        return frames

    def forward_embedding(self, frames: Tensor, weights: Tensor | None = None) -> Tensor:
        """Embeddings from features; see `forward`.

        Args:
            frames: what `forward_frames` gave.
            weights: as for `forward`.
        """
        rows, length, _ = frames.shape
        if weights is None:
            weights = frames.new_ones(rows, length)
        *shape, given = weights.shape
        masks = functional.interpolate(weights.reshape(-1, 1, given), size=length)
        speakers = masks.shape[0] // max(1, rows)
        cut: dict[int, list[tuple[int, Tensor]]] = {}
        for at, mask in enumerate(masks[:, 0] > _LOUDEST):
            said = frames[at // speakers][mask]
            if len(said) >= LEAST_FRAMES:
                fitted = _fitted(said)
                cut.setdefault(len(fitted), []).append((at, fitted))
        embeddings = frames.new_full((len(masks), DIMENSION), torch.nan)
        together = 1 if frames.device.type == "cpu" else CARD_ROWS
        for of_one_length in cut.values():
            for places, some in in_calls(of_one_length, together):
                embeddings[places] = self.network(some)[: len(places)]
        return embeddings.reshape(*shape, DIMENSION)


def in_calls(
    of_one_length: Sequence[tuple[int, Tensor]], together: int
) -> Iterator[tuple[list[int], Tensor]]:
    """What speakers say, frames of one length, as rows of calls of one shape.

    Args:
        of_one_length: place and frames of each.
        together: rows of a call; the last is filled with rows that it has already.

    Yields:
        Places, and [together, frames, 80], of which the rows beyond the places are to be ignored.
    """
    for first in range(0, len(of_one_length), together):
        places, rows = zip(*of_one_length[first : first + together], strict=True)
        yield list(places), torch.stack((rows * together)[:together])


def _fitted(said: Tensor) -> Tensor:
    """Of a speaker's frames the middle ones, without their mean, in one of three lengths."""
    first = max(0, (len(said) - MOST_FRAMES) // 2)
    middle = said[first : first + MOST_FRAMES]
    middle = middle - middle.mean(0, keepdim=True)
    length = -(-len(middle) // LENGTHS) * LENGTHS
    return middle.repeat(-(-length // len(middle)), 1)[:length]
