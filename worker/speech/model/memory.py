"""How many windows fit a batch: the arithmetic of device memory (pure).

A batch is sized from the model's dimensions and from what is free after it was loaded, so that it
fits at the first try; the constants were measured on a card (`worker/bench/gpu_test/README.md`).
Where the arithmetic is wrong all the same, memory runs out, the batch is halved and the lower size
is remembered (`engine.limits`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from worker.errors import MachineError
from worker.speech.model.choices import Device
from worker.speech.model.decoding import BEST_OF
from worker.speech.model.weights import Dimensions
from worker.speech.windows import FULL_POSITIONS

__all__ = [
    "ALIGN_BYTES",
    "CPU_WINDOWS",
    "RESERVE_BYTES",
    "SPEAKER_BYTES",
    "SPEAKER_CONTEXT_BYTES",
    "TYPICAL_TOKENS",
    "Budget",
    "WindowCost",
    "activation_bytes",
    "budget",
    "is_out_of_memory",
    "is_stale",
    "reserved_bytes",
    "window_cost",
]

TYPICAL_TOKENS = 176
"""Tokens of a window of 30 s that the decoder's self-attention cache is sized for; 224 is the most
there can be."""

STEP_COPIES = 1.6
"""Times that the self-attention cache is there at the peak of a step, which appends to a copy of it
and gathers that for the beams. Measured on an H200 with large-v3, int8_float16, 64 windows of 30 s:
376 MiB a window with 100 tokens, 471 with 176, 514 with 224."""

STEP_BYTES = 8 << 20
"""What a step takes for a window beside its caches: logits and their log-softmax for each beam."""

ENCODER_WIDTHS = 16
"""Values for each position that a layer of the encoder has at its peak, in widths of the model,
attention scores apart. On an H200: 146 MiB a window of 30 s of large-v3 in all, 58 of base."""

RESERVE_BYTES = 600 << 20
"""Kept free on a card: CUDA's own allocations, cuBLAS workspaces, fragmentation."""

ALIGN_BYTES = 1_000 << 20
"""Kept free on a card for an alignment model and its activations: wav2vec2 base has 360 MiB, and
60 s of audio took 1130 more on an H200; it gets 30 s at a time. Models of many languages are three
times as large, and two are kept: what they take beyond this is taken off each batch once they are
loaded (`device.beyond_reserve`)."""

SPEAKER_BYTES = 1_536 << 20
"""Kept free on a card for the process that tells speakers apart, which takes no more (see
`speakers.child`). Reckoned, not measured: its CUDA context; 35 MiB of weights; and for a call of 8
chunks of 10 s some 80 MiB for each of the few values of a layer that live at a time, with cuDNN's
workspace."""

SPEAKER_CONTEXT_BYTES = 512 << 20
"""Of those, what CUDA takes in a process before torch has allocated anything."""

CPU_WINDOWS = 8
"""Windows of 30 s in a batch on a CPU; more gain nothing (see `worker/speech/model/README.md`)."""

_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}

_NO_BOUND = 1 << 16
"""Windows in a batch that only memory and positions bound."""

_MOST_SCORES = 2**32 - 1
"""Attention scores of a call's encoder: CTranslate2's softmax counts them in 32 bits on a card
(`src/cuda/helpers.h`, `index_t`). On an H200, 128 windows of 30 s, 1.3 times as many, were encoded
wrongly without an error; 64 rightly."""

_MOST_COLUMNS = 2**31 - 1
"""Values of the matrix that CTranslate2's convolution on a card unfolds its input to, which it
counts in 31 bits: 3 x width for each position."""

_MEMORY_WORDS = ("out of memory", "alloc_failed", "not_initialized", "memory allocation")
"""What CUDA, torch and cuBLAS (which can't even be set up without memory) say, in lower case."""

_STALE_WORDS = ("parallel_for failed", "invalid device ordinal")
"""What the next call says after memory ran out, in lower case; see `is_stale`."""


@dataclass(frozen=True, slots=True)
class WindowCost:
    """Bytes of device memory that one window takes in a batch, whichever is more of two stages.

    Attributes:
        fixed: in the decoder, whatever the length.
        per_position: in the decoder, for each encoder position.
        per_position_sampled: in the decoder, for each position, on top where texts are sampled.
        per_token: in the decoder, for each token of the prompt, which every beam keeps in a cache
            of its own; those of the text are in `per_position`.
        encoder_per_position: in the encoder, for each position.
        encoder_per_position_squared: in the encoder, for each pair of positions.
        heads: of the encoder's attention; 0: nothing is known of them.
        width: of the encoder's output; 0: nothing is known of it.
    """

    fixed: int = 0
    per_position: int = 1
    per_position_sampled: int = 0
    per_token: int = 0
    encoder_per_position: int = 0
    encoder_per_position_squared: int = 0
    heads: int = 0
    width: int = 0

    def bytes(self, positions: int, prompt: int = 0, *, sampled: bool = False) -> int:
        """For a window padded to this many positions (`FULL_POSITIONS` is 30 s).

        Args:
            positions: of the encoder.
            prompt: tokens before the text.
            sampled: whether texts are sampled (a temperature over 0).
        """
        per_position = self.per_position + (self.per_position_sampled if sampled else 0)
        decoder = self.fixed + per_position * positions + self.per_token * prompt
        squared = self.encoder_per_position_squared * positions * positions
        return max(decoder, self.encoder_per_position * positions + squared)

    def bytes_written(self, positions: int, tokens: int, *, sampled: bool = False) -> int:
        """For a window of which so many tokens were written, in place of as many as are typical.

        Args:
            positions: of the encoder.
            tokens: of the text.
            sampled: whether texts are sampled.
        """
        more = tokens - TYPICAL_TOKENS * positions // FULL_POSITIONS
        return self.bytes(positions, more, sampled=sampled)

    def most_indexed(self, positions: int) -> int:
        """Windows in a call whose values a card's kernels can still count."""
        most = _NO_BOUND
        if self.heads:
            most = min(most, _MOST_SCORES // (self.heads * positions * positions))
        if self.width:
            most = min(most, _MOST_COLUMNS // (3 * self.width * positions))
        return most


@dataclass(frozen=True, slots=True)
class Budget:
    """What one batch may hold.

    Attributes:
        windows: upper bound on windows, whatever their length.
        bytes: device memory for the batch, or None where memory sets no bound.
        positions: encoder positions in all windows together, or None where they set no bound.
        cost: what a window takes of `bytes`.
    """

    windows: int
    bytes: int | None
    positions: int | None
    cost: WindowCost
    device: Literal["cpu", "cuda"] = "cuda"

    def capacity(
        self, positions: int, prompt: int = 0, *, sampled: bool = False, taken: int = 0
    ) -> int:
        """How many windows of this many positions share a batch; at least one.

        Args:
            positions: of the encoder, in each window.
            prompt: tokens before the text, in each window.
            sampled: whether texts are sampled.
            taken: bytes of `bytes` that something else has by now.
        """
        fit = self.windows
        if self.bytes is not None:
            one = self.cost.bytes(positions, prompt, sampled=sampled)
            fit = min(fit, max(0, self.bytes - taken) // one)
        if self.positions is not None:
            fit = min(fit, self.positions // positions)
        if self.device == "cuda":
            fit = min(fit, self.cost.most_indexed(positions))
        return max(1, fit)

    def few(self, prompt: int) -> int:
        """How many windows of 30 s with a long prompt are enough for a batch.

        On a card, as many as fit. On a CPU a quarter of them: with 223 tokens before the text one
        window takes 1.36 s of a core alone, 1.28 s beside another and 1.27 s beside three (base
        int8), while without a prompt it takes 1.14 s alone and 0.96 s beside three.
        """
        most = self.capacity(FULL_POSITIONS, prompt)
        return most if self.device == "cuda" else max(1, most // 4)


def window_cost(dimensions: Dimensions, *, beam_size: int, compute_type: str) -> WindowCost:
    """What a window takes while it is encoded, and while it is decoded.

    In the encoder, whose memory is free again before the decoder's peak: the attention scores of
    one layer (heads x positions^2) and `ENCODER_WIDTHS`. In the decoder: keys and values of
    cross-attention (decoder layers x 2 x positions x width), the encoder's output (positions x
    width), `STEP_BYTES`, and the self-attention cache (decoder layers x 2 x width x beam x tokens,
    `STEP_COPIES` of it; as many tokens as such a window has of `TYPICAL_TOKENS`, and as its prompt
    has). int8 types shrink weights only: what is computed stays float16 on a card, float32 on a
    CPU.

    Where texts are sampled, each of the `BEST_OF` has keys and values of cross-attention of its own
    (ctranslate2, `src/decoding.cc`, `GreedySearch`; beams share them).

    Args:
        dimensions: of the model.
        beam_size: width of the beam search.
        compute_type: one of CTranslate2's.
    """
    size = activation_bytes(compute_type)
    cross = dimensions.decoder_layers * 2 * dimensions.width * size
    token = round(cross * beam_size * STEP_COPIES)
    return WindowCost(
        fixed=STEP_BYTES,
        per_position=cross + dimensions.width * size + token * TYPICAL_TOKENS // FULL_POSITIONS,
        per_position_sampled=cross * (BEST_OF - 1),
        per_token=token,
        encoder_per_position=ENCODER_WIDTHS * dimensions.width * size,
        encoder_per_position_squared=dimensions.heads * size,
        heads=dimensions.heads,
        width=dimensions.width,
    )


def activation_bytes(compute_type: str) -> int:
    """Bytes of a computed value: int8 types compute in the type behind the underscore."""
    return _BYTES.get(compute_type.removeprefix("int8_"), 4)


def budget(
    dimensions: Dimensions,
    *,
    batch_size: int,
    batch_size_given: bool,
    beam_size: int,
    compute_type: str,
    device: Device,
    free_bytes: int,
    reserved: int,
    cores: int,
    lanes: int = 1,
) -> Budget:
    """How much one batch may hold on a device.

    Args:
        dimensions: of the loaded model.
        batch_size: the setting; an upper bound.
        batch_size_given: explicit: most windows in a batch. Otherwise (a default): most 30-s
            equivalents, so that short windows pack denser.
        beam_size: the setting.
        compute_type: the chosen one.
        device: where the model is loaded.
        free_bytes: free memory after the model was loaded.
        reserved: bytes of a card to be kept free for other models; see `reserved_bytes`.
        cores: on a CPU, the threads that decode.
        lanes: batches that are decoded at once, and share what there is.

    Raises:
        MachineError: not even one window of 30 s fits the card.
    """
    cost = window_cost(dimensions, beam_size=beam_size, compute_type=compute_type)
    most = batch_size if batch_size_given else _NO_BOUND
    if device.kind == "cpu":
        windows = max(CPU_WINDOWS, cores)
        if not batch_size_given:
            windows = max(1, windows // lanes)
        # A quarter of what is free: a CPU's memory is shared with everything else.
        return Budget(
            most, free_bytes // 4 // lanes, FULL_POSITIONS * min(batch_size, windows), cost, "cpu"
        )
    usable = free_bytes - RESERVE_BYTES - reserved
    one = cost.bytes(FULL_POSITIONS)
    if usable // lanes < one:
        raise MachineError(
            f"{device} has {free_bytes >> 20} MiB free after loading the model, and one window "
            f"takes {one >> 20} MiB beside {(free_bytes - usable) >> 20} MiB kept "
            "free: use compute_type = int8_float16, model = turbo or medium, a smaller "
            "beam_size, or end other processes on the card"
        )
    return Budget(most, usable // lanes, FULL_POSITIONS * batch_size, cost)


def reserved_bytes(*, align: bool, speakers: bool) -> int:
    """Bytes of a card that are kept free for other models than Whisper.

    Args:
        align: whether alignment models may share the card.
        speakers: whether models that tell speakers apart may.
    """
    return (ALIGN_BYTES if align else 0) + (SPEAKER_BYTES if speakers else 0)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out.

    Libraries on a card have no common class for it and say it in words (`CUDA failed with error
    out of memory`, `CUBLAS_STATUS_ALLOC_FAILED`); the host's allocator raises MemoryError.
    """
    return isinstance(error, MemoryError) or _says(error, _MEMORY_WORDS)


def is_stale(error: BaseException) -> bool:
    """Whether an error may be the echo of one before it, so that the same call may work now.

    CTranslate2 leaves CUDA's last error standing when memory runs out, and the next call's kernels
    find it: `parallel_for failed: cudaErrorInvalidDevice: invalid device ordinal`. The call after
    that works. Seen on an H200 with CTranslate2 4.8.5.
    """
    return _says(error, _STALE_WORDS)


def _says(error: BaseException, words: tuple[str, ...]) -> bool:
    text = str(error).lower()
    return any(word in text for word in words)
