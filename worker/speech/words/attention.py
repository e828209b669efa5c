"""Word times from the decoder's cross-attention: any language, no other model.

CTranslate2 aligns a window's tokens with its encoder output (dynamic time warping over the
attention of the model's alignment heads); it gives silence to the word after it, which the
window's log-mel puts right. How tokens become words is faster-whisper's:
its tokenizer splits them and its `merge_punctuations` joins punctuation to its word; what is
left unparted by spaces (hyphens, semicolons) is joined here. A translation is split as the English
that it is, whatever language was spoken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from worker.results.spacing import is_spaced
from worker.results.transcript import Word
from worker.speech.windows import MEL_FRAMES_PER_SECOND, POSITIONS_PER_SECOND
from worker.speech.words.fit import fit_words
from worker.speech.words.pauses import find_pauses, leave_pauses

if TYPE_CHECKING:
    import ctranslate2
    from faster_whisper.tokenizer import Tokenizer

__all__ = ["SECONDS_PER_FRAME", "Alignment", "align", "words_from_alignment"]

SECONDS_PER_FRAME = 1.0 / POSITIONS_PER_SECOND
"""Of the encoder's output: two mel frames of 10 ms."""

_SCORE_DECIMALS = 3

# faster_whisper.transcribe's defaults.
_PREPENDED = "\"'“¿([{-"
_APPENDED = "\"'.。,，!！?？:：”)]}、"  # noqa: RUF001


@dataclass(frozen=True, slots=True)
class Alignment:
    """What the device found of a window's words. The rest needs no device (`words`).

    Attributes:
        result: CTranslate2's; None of a window without text.
        tokens: text tokens, no special ones.
        frames: mel frames (10 ms) of sound, padding apart.
        tokenizer: of the window's language and task.
        peaks: see `align`.
    """

    result: ctranslate2.models.WhisperAlignmentResult | None
    tokens: Sequence[int]
    frames: int
    tokenizer: Tokenizer
    peaks: npt.NDArray[np.float32] | None

    def words(self) -> list[Word]:
        """The words, in seconds from the window's start, inside it and in order."""
        if self.result is None:
            return []
        seconds = self.frames / MEL_FRAMES_PER_SECOND
        words = words_from_alignment(
            self.result.alignments,
            self.result.text_token_probs,
            self.tokens,
            self.tokenizer,
            seconds=seconds,
        )
        if self.peaks is not None:
            words = leave_pauses(words, find_pauses(self.peaks[: self.frames]), seconds)
        return fit_words(words, 0.0, seconds)


def align(
    model: ctranslate2.models.Whisper,
    encoder_output: ctranslate2.StorageView,
    tokens_batch: Sequence[Sequence[int]],
    num_frames: int | Sequence[int],
    tokenizer: Tokenizer,
    peaks: Sequence[npt.NDArray[np.float32]] | None = None,
) -> list[Alignment]:
    """Align windows that share a language and a task, in one call.

    Args:
        model: the model that decoded them.
        encoder_output: float [windows, positions, width], as `model.encode` gave it.
        tokens_batch: the tokens that each window was decoded to; special ones are ignored.
        num_frames: mel frames (10 ms) of sound in each window, padding apart; one number for
            all, or one for each.
        tokenizer: writes the language's and the task's start sequence.
        peaks: the loudest band of each mel frame, float32 [frames], for each window; given
            it, words leave the pauses that attention lets them reach into (see `pauses`).

    Raises:
        RuntimeError: the device failed; out of memory says so in its text.
    """
    texts = [[token for token in tokens if token < tokenizer.eot] for tokens in tokens_batch]
    frames = [num_frames] * len(texts) if isinstance(num_frames, int) else list(num_frames)
    results: Sequence[Any] = [None] * len(texts)
    if any(texts):
        results = model.align(encoder_output, tokenizer.sot_sequence, texts, frames)
    return [
        Alignment(result, tokens, count, tokenizer, None if peaks is None else peaks[index])
        for index, (result, tokens, count) in enumerate(zip(results, texts, frames, strict=True))
    ]


def words_from_alignment(
    alignments: Sequence[tuple[int, int]],
    probabilities: Sequence[float],
    tokens: Sequence[int],
    tokenizer: Tokenizer,
    *,
    seconds: float,
) -> list[Word]:
    """Turn the alignment of one window into words.

    Args:
        alignments: (token, frame of `SECONDS_PER_FRAME`) pairs of the warping path.
        probabilities: of each token, [tokens].
        tokens: text tokens, no special ones.
        tokenizer: of the window's language and task.
        seconds: length of the window.

    Returns:
        The words with surrounding space and punctuation as faster-whisper splits them, times
        in seconds from the window's start.
    """
    from faster_whisper.transcribe import merge_punctuations

    if not tokens:
        return []
    spaced = _is_spaced(tokenizer)
    # Its own `split_to_word_tokens` goes by the language spoken, also where the text is English.
    split = tokenizer.split_tokens_on_spaces if spaced else tokenizer.split_tokens_on_unicode
    texts, groups = split([*tokens, tokenizer.eot])
    path = np.asarray(alignments, dtype=np.int64).reshape(-1, 2)
    edges = np.concatenate(([0], np.cumsum([len(group) for group in groups[:-1]])))
    # The first frame of each token on the path; the last edge is the end's token.
    onsets = path[np.searchsorted(path[:, 0], edges), 1] * SECONDS_PER_FRAME
    parts = [
        {
            "word": text,
            "tokens": group,
            "start": float(onsets[index]),
            "end": float(onsets[index + 1]),
            "score": float(np.mean(probabilities[edges[index] : edges[index + 1]])),
        }
        for index, (text, group) in enumerate(zip(texts[:-1], groups[:-1], strict=True))
    ]
    merge_punctuations(parts, _PREPENDED, _APPENDED)
    if spaced:
        parts = _split_at_spaces_only(parts)
    words = [
        Word(
            word=text,
            start=part["start"],
            end=part["end"],
            score=round(part["score"], _SCORE_DECIMALS),
        )
        for part in parts
        if (text := part["word"].strip())
    ]
    return fit_words(words, 0.0, seconds)


def _is_spaced(tokenizer: Tokenizer) -> bool:
    """Whether the texts that follow the tokenizer's start sequence have spaces."""
    translates = tokenizer.task is not None and tokenizer.task == tokenizer.translate
    return is_spaced(tokenizer.language_code, "translate" if translates else "transcribe")


def _split_at_spaces_only(parts: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Join what no space parts: the tokenizer splits at every hyphen and semicolon.

    Punctuation adds nothing to a word's time, as in `merge_punctuations`.
    """
    joined: list[dict[str, Any]] = []
    for part in parts:
        if not joined or not part["word"] or part["word"][0].isspace():
            joined.append(part)
            continue
        before = joined[-1]
        spoken = [p for p in (before, part) if any(map(str.isalnum, p["word"]))] or [before]
        joined[-1] = {
            "word": before["word"] + part["word"],
            "start": spoken[0]["start"],
            "end": spoken[-1]["end"],
            "score": float(np.mean([p["score"] for p in spoken])),
        }
    return joined
