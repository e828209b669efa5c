"""wav2vec2 models as emission machines: many segments of unlike length in one forward pass.

Padding must not change what a model says of a segment. Two things see to that: the encoder
masks what lies beyond a segment's length, and the one layer that mixes all of a segment's
frames before the encoder, the group norm in the first convolution of the base models (those
of en, fr, de, es and it), is replaced by one that knows the lengths. A model whose group
norm sits elsewhere is fed batches of equal lengths only. Layer-norm models work frame by
frame and need nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

__all__ = ["AlignModel"]

Samples = npt.NDArray[np.float32]


class _LengthAwareGroupNorm(nn.Module):
    """Group norm of each item over its own frames, whatever the batch is padded to.

    Each item runs through torch's own kernel, so its result is that of the item alone.
    Frames of padding are left as they are: nothing reads them.
    """

    def __init__(self, norm: nn.GroupNorm, conv: nn.Conv1d) -> None:
        super().__init__()
        self.norm = norm
        self._kernel = conv.kernel_size[0]
        self._stride = conv.stride[0]
        self.lengths: Sequence[int] | None = None
        """Samples of each item of the coming batch; None where there is no padding."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalize x, float [batch, channels, frames]."""
        if self.lengths is None:
            return cast(torch.Tensor, self.norm(x))
        for item, length in enumerate(self.lengths):
            frames = (length - self._kernel) // self._stride + 1
            x[item, :, :frames] = self.norm(x[item : item + 1, :, :frames])[0]
        return x


class AlignModel:
    """A CTC model with its dictionary. One thread at a time.

    Args:
        module: torchaudio's Wav2Vec2Model or transformers' Wav2Vec2ForCTC, on its device and of
            the type that it computes in; its first group norm is replaced, and it is set to
            evaluation.
        dictionary: class of each character, keys in lower case.
        kind: which library's module it is.
        name: of the model, for messages.
        spaced: whether its language puts spaces between words.
    """

    def __init__(
        self,
        module: nn.Module,
        dictionary: Mapping[str, int],
        *,
        kind: Literal["torchaudio", "huggingface"],
        name: str,
        spaced: bool,
    ) -> None:
        self.module = module.eval()
        self.dictionary = dict(dictionary)
        self.kind = kind
        self.name = name
        self.spaced = spaced
        # WhisperX's rule: class 0 unless the dictionary names its padding.
        self.blank = next(
            (code for char, code in dictionary.items() if char in ("[pad]", "<pad>")), 0
        )
        self._norm = _make_length_aware(module)
        on_card = self.device.type == "cuda"
        # torch's streams are untyped.
        self._stream = torch.cuda.Stream(self.device) if on_card else None  # type: ignore[no-untyped-call]
        if self._stream is not None:
            # The weights may still be on their way there.
            self._stream.wait_stream(torch.cuda.current_stream(self.device))
        self.paddable = not any(
            isinstance(part, nn.GroupNorm)
            for part in module.modules()
            if self._norm is None or part is not self._norm.norm
        )
        """Whether segments of unlike length may share a forward pass."""

    @property
    def device(self) -> torch.device:
        """Where the model's weights are."""
        return self._weight.device

    @property
    def _weight(self) -> nn.Parameter:
        return next(self.module.parameters())

    def emissions(self, batch: Sequence[Samples], padded: int) -> list[npt.NDArray[np.float32]]:
        """One forward pass.

        Args:
            batch: float32 mono at 16 kHz, each [samples], at least
                `batches.MIN_SAMPLES` long; of
                equal length and not padded where the model is not `paddable`.
            padded: length to pad every item to, in samples.

        Returns:
            Log-probabilities of each item, float32 [frames, classes].

        Raises:
            torch.OutOfMemoryError: the batch doesn't fit the device.
        """
        lengths = [len(samples) for samples in batch]
        ragged = any(length != padded for length in lengths)
        waves = np.zeros((len(batch), padded), dtype=np.float32)
        for row, samples in zip(waves, batch, strict=True):
            row[: len(samples)] = samples
        if self._norm is not None:
            self._norm.lengths = lengths if ragged else None
        with torch.inference_mode(), self._apart():
            inputs = torch.from_numpy(waves).to(self.device, self._weight.dtype)
            logits, frames = self._forward(inputs, lengths if ragged else None)
            scores = torch.log_softmax(logits.float(), dim=-1).cpu().numpy()
        if frames is None:
            return list(scores)
        return [item[:count] for item, count in zip(scores, frames, strict=True)]

    @contextmanager
    def _apart(self) -> Iterator[None]:
        """On a card: beside the decoder's kernels, and without trying out kernels for each shape.

        Segments come in over a hundred shapes. On an H200, trying kernels out took 0.3 s for each
        new one and gained nothing; on the default stream each pass waits for the decoder's.
        """
        if self._stream is None:
            yield
            return
        tf32 = torch.backends.cudnn.allow_tf32
        with (
            torch.backends.cudnn.flags(enabled=True, benchmark=False, allow_tf32=tf32),
            torch.cuda.stream(self._stream),
        ):
            yield

    def _forward(
        self, inputs: torch.Tensor, lengths: Sequence[int] | None
    ) -> tuple[torch.Tensor, list[int] | None]:
        """Logits [batch, frames, classes], and the valid frames where `lengths` were given."""
        counts = None if lengths is None else torch.tensor(lengths, device=self.device)
        if self.kind == "torchaudio":
            logits, frames = self.module(inputs, counts)
            return logits, None if frames is None else frames.tolist()
        if counts is None:
            return self.module(inputs).logits, None
        mask = torch.arange(inputs.shape[1], device=self.device)[None, :] < counts[:, None]
        logits = self.module(inputs, attention_mask=mask.long()).logits
        # nn.Module's attributes are untyped.
        frames = self.module._get_feat_extract_output_lengths(counts)  # type: ignore[operator]
        return logits, frames.tolist()


def _make_length_aware(module: nn.Module) -> _LengthAwareGroupNorm | None:
    """Replace the group norm of the first convolution, where the model has one there.

    Both libraries build that layer with the attributes `conv` and `layer_norm`.
    """
    for part in module.modules():
        conv = getattr(part, "conv", None)
        norm = getattr(part, "layer_norm", None)
        if isinstance(conv, nn.Conv1d) and conv.in_channels == 1:
            if isinstance(norm, nn.GroupNorm):
                aware = _LengthAwareGroupNorm(norm, conv)
                part.layer_norm = aware
                return aware
            return None
    return None
