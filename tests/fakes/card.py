"""A card without a card: what a call takes of its time and memory, as arithmetic.

Seconds follow from the windows of a call, their encoder positions, the rows of the beam search, the
steps and the temperature, with constants fitted to large-v3 in int8_float16 on an H200
(`worker/bench/gpu_test/README.md`). Other cards have less memory and are slower in what grows with
the batch. A call that takes more memory than there is fails, and the next one fails with that
error's echo. Word times may be made to fail.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from worker.jobs.languages import LANGUAGE_CODES
from worker.results.transcript import Word
from worker.speech.api import Options
from worker.speech.model import memory
from worker.speech.model.choices import Device
from worker.speech.model.decoding import BEST_OF, Decoded, Listed, Request
from worker.speech.model.log_mel import stack
from worker.speech.model.memory import ALIGN_BYTES, Budget
from worker.speech.model.weights import Dimensions
from worker.speech.prepare.features import features_of, pad
from worker.speech.prepare.sound import Sound
from worker.speech.windows import FULL_POSITIONS

LARGE = Dimensions(32, 32, 1280, 20, 128, 51_866)
COMPUTE_TYPE = "int8_float16"
BEAM = 5

ENCODE_FIXED, ENCODE_WINDOW, ENCODE_PAIRS = 0.003, 0.016, 0.011
"""Seconds of a call's encoder; of each window of 30 s in it; and of its attention, which grows with
the square of the window (H200: 0.030 for 1 window, 1.738 for 64, 0.468 for 128 of 6 s)."""

STEP_FIXED, STEP_ROW, STEP_CROSS = 0.0095, 0.000_013, 0.000_035
"""Seconds of a decoder step; of each row in it; and of its cross-attention over 30 s (H200: 0.976 s
for 100 steps of 5 rows, 2.503 for 320 rows, and 0.448 for 20 steps of 640 rows over 6 s)."""

ALIGN_WINDOW = 0.009
"""Seconds that the words of a window of 30 s take (H200: 0.581 for 64)."""

TOKENS_PER_SECOND = 4.0
"""Of speech: 100 tokens in a window of 25 s."""

WEIGHTS = 1_700 << 20
"""Bytes of the loaded model, and of what CUDA takes for itself."""


@dataclass(frozen=True, slots=True)
class Card:
    """A kind of card.

    Attributes:
        name: of it.
        memory: bytes.
        rate: seconds of audio that a full batch of full windows makes in a second.
        cores: of the processor beside it.
    """

    name: str
    memory: int
    rate: float
    cores: int

    def budget(self) -> Budget:
        """What the engine would put into a batch on it, by its own arithmetic."""
        return memory.budget(
            LARGE,
            batch_size=64,
            batch_size_given=False,
            beam_size=BEAM,
            compute_type=COMPUTE_TYPE,
            device=Device("cuda", 0, self.name),
            free_bytes=self.memory - WEIGHTS,
            reserved=ALIGN_BYTES,
            cores=self.cores,
        )

    @property
    def slower(self) -> float:
        """How often as long as on an H200 it takes for what grows with the batch."""
        windows, seconds = self.budget().capacity(FULL_POSITIONS), 25.0
        steps = round(TOKENS_PER_SECOND * seconds)
        fixed, grows = call_seconds(windows, FULL_POSITIONS, steps, BEAM)
        return (windows * seconds / self.rate - fixed) / grows


T4 = Card("T4", 15 << 30, 40.0, 4)
L4 = Card("L4", 22 << 30, 100.0, 8)
H100 = Card("H100", 80 << 30, 600.0, 16)


def call_seconds(
    windows: int, positions: int, steps: int, beams: int, words: int = 0
) -> tuple[float, float]:
    """Seconds of a call on an H200: the host's, which any call takes, and the card's.

    Args:
        windows: in the call.
        positions: encoder positions of each.
        steps: of the decoder: the longest text.
        beams: rows of each window.
        words: windows whose words are asked for.
    """
    share = positions / FULL_POSITIONS
    row = STEP_ROW + STEP_CROSS * share
    encode = ENCODE_WINDOW * share + ENCODE_PAIRS * share**2
    grows = windows * (encode + steps * beams * row) + words * ALIGN_WINDOW * share
    return ENCODE_FIXED + steps * STEP_FIXED, grows


class SimulatedCard:
    """A model on such a card; see the module. It stands for `whisper.Whisper`.

    Texts follow from the window alone: words of made-up letters at the pace of speech. A share of
    them is unlikely, so that second attempts come as they do.

    Args:
        card: which.
        spend: called with the seconds that a call takes; waits, or moves a clock.
        doubted: share of the windows whose first text is doubted.
        words_fail: whether word times can't be found.
        free: bytes that are free beside the model; those of the card if None.
        takes_samples: whether windows come as samples; else as features.
    """

    mels = 128
    multilingual = True
    languages = frozenset(LANGUAGE_CODES)

    def __init__(
        self,
        card: Card,
        spend: Callable[[float], None],
        *,
        doubted: float = 0.03,
        words_fail: bool = False,
        free: int | None = None,
        takes_samples: bool = True,
    ) -> None:
        self.prepared_mels = 0 if takes_samples else self.mels
        self.encoder_calls = 0
        self.encoded_windows = 0
        self._slower = card.slower
        self._spend = spend
        self._doubted = doubted
        self._words_fail = words_fail
        self._free = card.memory - WEIGHTS if free is None else free
        self._cost = memory.window_cost(LARGE, beam_size=BEAM, compute_type=COMPUTE_TYPE)
        self._echo = False

    def check(self, options: Options) -> None:
        """Everything can be asked."""

    def context(self, options: Options) -> tuple[int, ...]:
        """No job has a prompt of its own."""
        del options
        return ()

    def listed(self, vocabulary: Sequence[str]) -> Listed:
        """Four letters are a token."""
        counts = (max(2, len(phrase) // 4) for phrase in vocabulary)
        return Listed(begins=1, blank=2, phrases=tuple((3,) * count for count in counts))

    def start_length(self) -> int:
        """As large-v3's."""
        return 4

    def decode(
        self, requests: Sequence[Request], *, positions: int, beam_size: int, temperature: float
    ) -> list[Decoded]:
        """See `loaded.Model`."""
        # Where nothing of the job's own begins a prompt, one token does.
        lengths = {
            (len(each.context) or bool(each.carried)) + len(each.carried) for each in requests
        }
        if len(lengths) > 1:
            raise AssertionError("the start tokens are not all at the same position")
        self._put_together([request.sound for request in requests], 2 * positions)
        found = [self._text(request, temperature) for request in requests]
        steps = max(len(window.tokens) for window in found)
        if self._echo:
            self._echo = False
            raise RuntimeError(
                "parallel_for failed: cudaErrorInvalidDevice: invalid device ordinal"
            )
        one = self._cost.bytes_written(positions, steps, sampled=temperature > 0)
        if len(requests) * one > self._free:
            self._echo = True
            raise RuntimeError("CUDA failed with error out of memory")
        self.encoder_calls += 1
        self.encoded_windows += len(requests)
        beams = BEST_OF if temperature > 0 else beam_size
        words = sum(
            request.want_words and not (request.unless and request.unless(window.text))
            for request, window in zip(requests, found, strict=True)
        )
        fixed, grows = call_seconds(len(requests), positions, steps, beams, words)
        self._spend(fixed + self._slower * grows)
        return found

    def _put_together(self, sounds: Sequence[Sound], frames: int) -> None:
        """What the host does of a batch, as `whisper.Whisper` does it; copying is the card's."""
        if self.prepared_mels:
            np.stack([pad(features_of(sound), frames) for sound in sounds])
        else:
            stack(cast("Sequence[NDArray[np.int16]]", sounds), frames)

    def _text(self, request: Request, temperature: float) -> Decoded:
        seed = crc32(repr((request.seconds, request.sound.tobytes())).encode())
        chance = random.Random(seed)
        unlikely = chance.random() < self._doubted and temperature < 0.4
        count = max(1, round(2.6 * request.seconds))
        spoken = [
            "".join(chance.choices("abdefgiklmnoprstuw", k=chance.randint(2, 7)))
            for _ in range(count)
        ]
        step = request.seconds / count
        words = tuple(
            Word(word=word, start=index * step, end=(index + 1) * step, score=0.5)
            for index, word in enumerate(spoken)
        )
        wanted = request.want_words
        return Decoded(
            text=" ".join(spoken),
            tokens=tuple(
                chance.choices(range(50_000), k=max(1, round(TOKENS_PER_SECOND * request.seconds)))
            ),
            avg_logprob=-1.5 if unlikely else -0.2,
            no_speech=0.0,
            language=request.language or "en",
            languages=() if request.language else (("en", 0.9), ("de", 0.05)),
            words=words if wanted and not self._words_fail else (),
            words_failed=wanted and self._words_fail,
        )
