"""A batch of windows -> text, on the CTranslate2 model inside faster-whisper's `WhisperModel`.

faster-whisper loads the weights and has the tokenizer. Its own batched call, and that of
WhisperX's subclass, take one prompt for the whole batch and throw the encoder's output away.
`ctranslate2.models.Whisper` inside it takes one prompt per window, detects the language from the
encoder's output that is there anyway, and finds word times from it too: so this module calls that
once for windows of any jobs.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from worker.errors import ErrorCode, JobError
from worker.logs import get_logger
from worker.results.transcript import Task
from worker.speech.api import Options
from worker.speech.model.decoding import BEST_OF, Decoded, Listed, Request
from worker.speech.model.detection import PIECE_SECONDS, Ranking, among, pieces, ranking_of, spoken
from worker.speech.model.log_mel import LogMel
from worker.speech.model.memory import is_out_of_memory, is_stale
from worker.speech.model.suppressed import BY_LIST
from worker.speech.model.weights import DECODER_POSITIONS
from worker.speech.prepare.features import features_of, pad
from worker.speech.prepare.sound import Sound, frames
from worker.speech.windows import MEL_FRAMES_PER_SECOND, POSITIONS_PER_SECOND

if TYPE_CHECKING:
    from pathlib import Path

    import ctranslate2
    from faster_whisper.tokenizer import Tokenizer

    from worker.speech.model.choices import Device
    from worker.speech.words.attention import Alignment

log = get_logger(__name__)

MAX_LENGTH = DECODER_POSITIONS
"""Tokens of prompt and text together."""

PROMPT_TOKENS = MAX_LENGTH // 2 - 1
"""Most tokens of a prompt: half of the decoder, so that text has the other half."""


def most_tokens(prompt: int) -> int:
    """Tokens that CTranslate2 writes after a prompt, at most, without saying that it stopped.

    Half of the decoder, or what is left of it (ctranslate2, `WhisperReplica::generate`).

    Args:
        prompt: tokens of it, the start sequence included.
    """
    return min(MAX_LENGTH // 2, MAX_LENGTH - (prompt - 1))


class Whisper:
    """The loaded model. At most `lanes` threads call `decode` at a time.

    Args:
        directory: CTranslate2 weights.
        device: where to load them.
        compute_type: one that the device supports.
        threads_each: CPU threads of one call.
        lanes: calls at once.
        suppressed: tokens that are never written (see `suppressed`).
        log_mel: whether features are computed here, where the model is (see `log_mel`).
        for_whisperx: whether `loaded` must be WhisperX's subclass, which its own pipeline calls.
            It differs from faster-whisper's class in two methods (`generate_segment_batched`,
            `encode`) that nothing here uses, and importing it takes up to 8 s and 0.5 GB.

    Attributes:
        loaded: faster-whisper's object: the model with its tokenizer.
        model: CTranslate2's model inside it.
        mels: mel bands of a window's features.
        prepared_mels: bands that are computed before a window comes here; 0 where windows are
            to come as samples.
        multilingual: whether it knows languages other than English, and can translate.
        languages: Whisper codes of those it knows.
        encoder_calls: encoder passes so far.
        encoded_windows: windows in them.
    """

    def __init__(
        self,
        directory: Path,
        device: Device,
        compute_type: str,
        threads_each: int,
        lanes: int = 1,
        *,
        suppressed: Sequence[int] = BY_LIST,
        log_mel: bool = False,
        for_whisperx: bool = False,
    ) -> None:
        loaded = _model_class(for_whisperx=for_whisperx)(
            str(directory),
            device=device.kind,
            device_index=device.index,
            compute_type=compute_type,
            cpu_threads=threads_each,
            num_workers=lanes,
        )
        self.loaded = loaded
        self.model = cast("ctranslate2.models.Whisper", loaded.model)
        self.mels = int(self.model.n_mels)
        self._log_mel = LogMel(self.mels, str(device)) if log_mel else None
        self.prepared_mels = 0 if log_mel else self.mels
        self.multilingual = bool(self.model.is_multilingual)
        self.languages = frozenset(
            code
            for code in loaded.supported_languages
            # The library's list names some that only later models have a token for.
            if not self.multilingual or loaded.hf_tokenizer.token_to_id(f"<|{code}|>") is not None
        )
        self.encoder_calls = 0
        self.encoded_windows = 0
        self._suppressed = list(suppressed)
        self._tokenizers: dict[tuple[str, Task], Tokenizer] = {}
        self._lock = threading.Lock()

    def tokenizer(self, language: str, task: Task) -> Tokenizer:
        """The tokenizer that writes this language's and task's start sequence."""
        from faster_whisper.tokenizer import Tokenizer

        key = (language, task)
        if key not in self._tokenizers:
            self._tokenizers[key] = Tokenizer(
                self.loaded.hf_tokenizer, self.multilingual, task=task, language=language
            )
        return self._tokenizers[key]

    def check(self, options: Options) -> None:
        """Whether the model can do what a job asks.

        Raises:
            JobError: it doesn't know the language, can't translate, or the prompt is too long.
        """
        if options.language is not None and options.language not in self.languages:
            raise JobError(
                ErrorCode.LANGUAGE_NOT_SUPPORTED,
                f"language = {options.language!r} is not one the loaded model knows "
                f"({len(self.languages)} languages); leave it out to have it detected.",
            )
        if options.task == "translate" and not self.multilingual:
            raise JobError(
                ErrorCode.TASK_NOT_SUPPORTED,
                "task = 'translate' needs a multilingual model, and the loaded one is English.",
            )
        self.context(options)

    def context(self, options: Options) -> tuple[int, ...]:
        """The tokens of prompt and hotwords, as they stand before the start token.

        Raises:
            JobError: they are longer than the half of the decoder that Whisper leaves them.
        """
        if not options.prompt and not options.hotwords:
            return ()
        tokenizer = self.tokenizer("en", "transcribe")
        tokens = [tokenizer.sot_prev]
        for text in (options.hotwords, options.prompt):
            if text:
                tokens += _text_tokens(tokenizer, text)
        if len(tokens) > PROMPT_TOKENS:
            raise JobError(
                ErrorCode.PROMPT_TOO_LONG,
                f"prompt and hotwords are {len(tokens) - 1} tokens together; at most "
                f"{PROMPT_TOKENS - 1} fit beside the text, so shorten them.",
            )
        return tuple(tokens)

    def listed(self, vocabulary: Sequence[str]) -> Listed:
        """The tokens of phrases to favour, each with the comma of a list."""
        tokenizer = self.tokenizer("en", "transcribe")
        return Listed(
            begins=tokenizer.sot_prev,
            blank=tokenizer.encode(" ")[0],
            phrases=tuple(
                tuple(_text_tokens(tokenizer, f"{' '.join(text.split())},")) for text in vocabulary
            ),
        )

    def start_length(self) -> int:
        """Tokens of a start sequence: start, language and task (if multilingual), no times."""
        return 4 if self.multilingual else 2

    def prompt(self, request: Request, language: str) -> list[int]:
        """The tokens that a window's decoding begins with.

        The job's own prompt, the text before the window, the start sequence, no times.
        """
        tokenizer = self.tokenizer(language, request.task)
        own = request.context or ((tokenizer.sot_prev,) if request.carried else ())
        return [*own, *request.carried, *tokenizer.sot_sequence, tokenizer.no_timestamps]

    def decode(
        self, requests: Sequence[Request], *, positions: int, beam_size: int, temperature: float
    ) -> list[Decoded]:
        """Decodes windows whose prompts have the same length, in one encoder pass.

        Words that were asked for are found, and are still to be read (`Decoded.with_words`).

        Args:
            requests: the windows.
            positions: encoder length all of them are cut or padded to; at most 1500.
            beam_size: used at temperature 0.
            temperature: above 0, the best of five samples is taken.

        Raises:
            RuntimeError: the device failed; out of memory says so in its text.
            ValueError: prompts of different length.
        """
        encoded, peaks = self._encode([request.sound for request in requests], positions)
        languages, ranked = self._choose_languages(requests, encoded)
        looked_at = self._look_at_pieces(requests, ranked, encoded)
        prompts = [
            self.prompt(request, language)
            for request, language in zip(requests, languages, strict=True)
        ]
        sampling: dict[str, Any] = (
            {"beam_size": 1, "num_hypotheses": BEST_OF, "sampling_topk": 0,
             "sampling_temperature": temperature}
            if temperature > 0
            else {"beam_size": beam_size}
        )  # fmt: skip
        results = self.model.generate(
            encoded,
            prompts,
            max_length=MAX_LENGTH,
            return_scores=True,
            return_no_speech_prob=True,
            suppress_tokens=self._suppressed,
            **sampling,
        )
        decoded = [
            self._text(*window)
            for window in zip(requests, prompts, languages, ranked, looked_at, results, strict=True)
        ]
        return self._with_words(requests, decoded, encoded, peaks)

    def _encode(
        self, sounds: Sequence[Sound], positions: int
    ) -> tuple[ctranslate2.StorageView, NDArray[np.float32]]:
        """The encoder's output, and the loudest band of each mel frame, [windows, frames]."""
        import ctranslate2

        count = positions * MEL_FRAMES_PER_SECOND // POSITIONS_PER_SECOND
        stacked: Any
        if self._log_mel is not None and all(sound.ndim == 1 for sound in sounds):
            found = self._log_mel(cast("Sequence[NDArray[np.int16]]", sounds), count)
            # Copying waits: CTranslate2 reads the features on a stream of its own.
            peaks = found.amax(dim=1).cpu().numpy()
            stacked = found if found.is_cuda else found.numpy()
        else:
            stacked = np.stack([pad(features_of(sound, self.mels), count) for sound in sounds])
            peaks = stacked.max(axis=1)
        with self._lock:
            self.encoder_calls += 1
            self.encoded_windows += len(sounds)
        return self.model.encode(ctranslate2.StorageView.from_array(stacked)), peaks

    def _choose_languages(
        self, requests: Sequence[Request], encoded: ctranslate2.StorageView
    ) -> tuple[list[str], list[Ranking]]:
        """Each window's language, and the ranking where it had to be detected."""
        ranked: list[Ranking] = [() for _ in requests]
        wanted = [index for index, request in enumerate(requests) if request.language is None]
        if self.multilingual and wanted:
            rankings = self.model.detect_language(_rows(encoded, wanted))
            for index, detected in zip(wanted, rankings, strict=True):
                ranked[index] = among(ranking_of(detected), requests[index].languages)
        languages = [
            request.language or (ranking[0][0] if ranking else "en")
            for request, ranking in zip(requests, ranked, strict=True)
        ]
        return languages, ranked

    def _look_at_pieces(
        self,
        requests: Sequence[Request],
        ranked: Sequence[Ranking],
        encoded: ctranslate2.StorageView,
    ) -> list[tuple[Ranking, ...]]:
        """Each window's pieces' rankings, where it sounds like several languages.

        From the encoder output that is there, in one call. On a CPU, 280 pieces took 1.8 s where
        60 windows took 57 s to encode.
        """
        wanted = [
            (index, round(start * POSITIONS_PER_SECOND))
            for index, (request, ranking) in enumerate(zip(requests, ranked, strict=True))
            if len(spoken(ranking)) > 1
            for start, _ in pieces(request.seconds)
        ]
        found: list[list[Ranking]] = [[] for _ in requests]
        if wanted:
            length = round(PIECE_SECONDS * POSITIONS_PER_SECOND)
            cut = _stretches(encoded, wanted, length)
            for (index, _), detected in zip(wanted, self.model.detect_language(cut), strict=True):
                found[index].append(among(ranking_of(detected), spoken(ranked[index])))
        return [tuple(rankings) for rankings in found]

    def _text(
        self,
        request: Request,
        prompt: Sequence[int],
        language: str,
        ranking: Ranking,
        looked_at: tuple[Ranking, ...],
        result: Any,
    ) -> Decoded:
        tokenizer = self.tokenizer(language, request.task)
        tokens = result.sequences_ids[0]
        text_tokens = tuple(token for token in tokens if token < tokenizer.eot)
        return Decoded(
            text=tokenizer.decode(list(text_tokens)).strip(),
            tokens=text_tokens,
            # CTranslate2 gives the mean over the tokens; Whisper's counts the end as well.
            avg_logprob=float(result.scores[0]) * len(tokens) / (len(tokens) + 1),
            no_speech=float(result.no_speech_prob),
            language=language,
            languages=ranking,
            words=(),
            pieces=looked_at,
            stopped=len(tokens) >= most_tokens(len(prompt)),
        )

    def _with_words(
        self,
        requests: Sequence[Request],
        decoded: list[Decoded],
        encoded: ctranslate2.StorageView,
        peaks: NDArray[np.float32],
    ) -> list[Decoded]:
        """Finds word times from the encoder's output, one call per language and task.

        They are read later (`Decoded.with_words`). Where finding fails, texts stand without them.

        Raises:
            RuntimeError: memory ran out.
        """
        from worker.speech.words.attention import align

        groups: dict[tuple[str, Task], list[int]] = defaultdict(list)
        for index, (request, window) in enumerate(zip(requests, decoded, strict=True)):
            spared = request.unless is not None and request.unless(window.text)
            if request.want_words and window.tokens and not spared:
                groups[(window.language, request.task)].append(index)
        for (language, task), indices in groups.items():
            find = partial(
                align,
                self.model,
                _rows(encoded, indices),
                [list(decoded[index].tokens) for index in indices],
                [frames(requests[index].sound) for index in indices],
                self.tokenizer(language, task),
                [peaks[index] for index in indices],
            )
            found = _try_align(find, len(indices))
            for position, index in enumerate(indices):
                decoded[index] = (
                    decoded[index].without_words()
                    if found is None
                    else replace(decoded[index], read_words=found[position].words)
                )
        return decoded


def _text_tokens(tokenizer: Tokenizer, text: str) -> list[int]:
    """A text's tokens, none of them special, though it spell `<|startoftranscript|>`."""
    found = tokenizer.encode(" " + text.strip())
    return [token for token in found if token < tokenizer.eot]


def _try_align(find: Callable[[], list[Alignment]], windows: int) -> list[Alignment] | None:
    """Alignments, at the second try if the first may have met an earlier error; None if it fails.

    Raises:
        RuntimeError: memory ran out.
    """
    for last in (False, True):
        try:
            return find()
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            if last or not is_stale(error):
                log.warning(
                    "words.failed",
                    message="Words could not be found from attention: texts stand without them",
                    windows=windows,
                    error=str(error),
                )
                return None
    raise AssertionError("the last try returns or raises")


def _model_class(*, for_whisperx: bool) -> Any:
    if for_whisperx:
        from whisperx.asr import WhisperModel as Subclass

        return Subclass
    from faster_whisper import WhisperModel

    return WhisperModel


def _rows(encoded: ctranslate2.StorageView, indices: Sequence[int]) -> ctranslate2.StorageView:
    """Some windows of an encoder output, left on the device that it is on; itself if all are."""
    import ctranslate2

    if len(indices) == encoded.shape[0]:
        return encoded
    if encoded.device == "cuda":
        import torch

        rows = torch.as_tensor(_readable(encoded), device="cuda")[list(indices)].contiguous()
        return ctranslate2.StorageView.from_array(rows)
    return ctranslate2.StorageView.from_array(np.ascontiguousarray(np.asarray(encoded)[indices]))


def _stretches(
    encoded: ctranslate2.StorageView, starts: Sequence[tuple[int, int]], length: int
) -> ctranslate2.StorageView:
    """Stretches of an encoder output, left on the device that it is on.

    Args:
        encoded: [windows, positions, width].
        starts: window and first position of each stretch.
        length: positions of each, all inside the window.

    Returns:
        [stretches, length, width].
    """
    import ctranslate2

    if encoded.device == "cuda":
        import torch

        windows = torch.as_tensor(_readable(encoded), device="cuda")
        cut = torch.stack([windows[window, at : at + length] for window, at in starts])
        return ctranslate2.StorageView.from_array(cut)
    array = np.asarray(encoded)
    return ctranslate2.StorageView.from_array(
        np.stack([array[window, at : at + length] for window, at in starts])
    )


def _readable(encoded: ctranslate2.StorageView) -> ctranslate2.StorageView:
    """An encoder output that torch can read: bfloat16 has no place in the array interface.

    CTranslate2 converts what it is given back to its own type.
    """
    import ctranslate2

    if encoded.dtype == ctranslate2.DataType.bfloat16:
        return encoded.to(ctranslate2.DataType.float16)
    return encoded
