"""Embeddings of the speakers of a chunk, at the cost of one pass for all of them.

pyannote runs the whole embedding model once for each of the three speakers that a chunk may have,
silent ones included, although only the last step, pooling over frames, depends on who speaks. Here
frames are computed once a chunk and pooled for those who speak: the same numbers in a third of the
time.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

__all__ = ["PerChunk"]


class PerChunk:
    """Embeds those who speak in each chunk.

    Args:
        embedding: a pipeline's `_embedding`. Frames are shared if its model has `forward_frames`
            and `forward_embedding`, as pyannote's WeSpeaker models have; other models are run once
            for each who speaks.
    """

    def __init__(self, embedding: Any) -> None:
        self._embedding = embedding
        model = getattr(embedding, "model_", None)
        self._model = model if hasattr(model, "forward_frames") else None

    @property
    def dimension(self) -> int:
        """Numbers of an embedding."""
        return int(self._embedding.dimension)

    def __call__(self, waveforms: torch.Tensor, masks: NDArray[np.float32]) -> NDArray[np.float32]:
        """The embeddings of chunks.

        Args:
            waveforms: [chunks, 1, samples] at 16 kHz.
            masks: [chunks, speakers, frames]: 1 where a speaker is to be heard, 0 elsewhere.

        Returns:
            [chunks, speakers, dimension]; NaN for whoever doesn't speak, or too little.

        Raises:
            RuntimeError: the model failed, or memory ran out.
        """
        speaks = masks.any(axis=2)
        found = np.full((*speaks.shape, self.dimension), np.nan, np.float32)
        if self._model is None:
            chunks, speakers = np.nonzero(speaks)
            if len(chunks):
                weights = torch.from_numpy(masks[chunks, speakers])
                found[chunks, speakers] = self._embedding(waveforms[chunks], masks=weights)
            return found
        device = self._embedding.device
        with torch.inference_mode():
            frames = self._model.forward_frames(waveforms.to(device))
            weights = torch.from_numpy(masks).to(device)
            all_found = self._model.forward_embedding(frames, weights=weights)
        found[speaks] = all_found.cpu().numpy()[speaks]
        return found
