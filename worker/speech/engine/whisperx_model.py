"""Stock WhisperX, loaded: the samples of a file -> its recognition.

Speech detection, windows, prompts and batches are WhisperX's own. Its segments are aligned by this
worker's `words.align`, which loads WhisperX's alignment models.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from worker.errors import EngineError, ErrorCode, JobError
from worker.results.transcript import Language, Word
from worker.speech import unheard
from worker.speech.api import Options, Recognition, WindowText
from worker.speech.config import EngineConfig
from worker.speech.engine.own_prompt import own_prompt
from worker.speech.engine.segments import segments
from worker.speech.model import device as devices
from worker.speech.model.detection import among, ranking_of
from worker.speech.model.loaded import load
from worker.speech.model.memory import is_out_of_memory
from worker.speech.prepare.features import FrontEnd, pad
from worker.speech.prepare.sound import WINDOW_FRAMES
from worker.speech.windows import FULL_POSITIONS, SAMPLE_RATE, WINDOW_SAMPLES
from worker.speech.words.fit import fit_words

if TYPE_CHECKING:
    from worker.speech.words.align import Aligner

MODEL_POLL_SECONDS = 0.05
"""How often to look whether an alignment model has loaded."""


@dataclass(frozen=True, slots=True)
class Audio:
    """A file, decoded.

    Attributes:
        samples: float32 [n] at 16 kHz, the whole file.
        seconds: its length.
        peak: its largest amplitude, of 1.
        notes: what preparing has to say, for the result.
        prepare_seconds: what decoding took, by stage.
    """

    samples: NDArray[np.float32]
    seconds: float
    peak: float
    notes: tuple[str, ...]
    prepare_seconds: Mapping[str, float]


class WhisperX:
    """The loaded WhisperX: samples of a file -> its recognition. Used by one thread.

    Args:
        config: what to load.
        stopping: whether the transcriber is being stopped; ends the wait for a model.

    Attributes:
        loaded: the model that WhisperX's pipeline calls.

    Raises:
        MachineError: the machine can't do what the settings ask.
        SettingsError: a model or compute type that doesn't exist.
    """

    def __init__(self, config: EngineConfig, stopping: Callable[[], bool]) -> None:
        self.loaded = load(config)
        import whisperx.asr  # as late as this: `load` says what is wrong where it isn't installed

        self._stopping = stopping
        self._front_end = FrontEnd(self.loaded.model.mels)
        self._pipeline: Any = whisperx.asr.load_model(
            config.model,
            device=self.loaded.device.kind,
            device_index=self.loaded.device.index,
            compute_type=self.loaded.compute_type,
            model=getattr(self.loaded.model, "loaded", None),
            asr_options={"beam_size": config.beam_size},
        )
        devices.tune_torch(self.loaded.device)
        self._aligner: Aligner | None = None
        if config.word_times == "aligned":
            from worker.speech.words.align import Aligner

            self._aligner = Aligner(str(self.loaded.device), model_dir=config.model_dir)

    def close(self) -> None:
        """Release the alignment models."""
        if self._aligner is not None:
            self._aligner.close()

    def recognize(self, audio: Audio, options: Options) -> Recognition:
        """A file's recognition.

        Raises:
            JobError: WhisperX fails on this file.
            EngineError: the device is broken.
        """
        own = own_prompt(self.loaded.model, options, carries=False)
        began = time.monotonic()
        try:
            result = self._transcribe(audio.samples, options, own.vocabulary)
        except RuntimeError as error:
            raise self._verdict(error) from error
        seconds = {**audio.prepare_seconds, "transcribe": time.monotonic() - began}
        code = str(result["language"]) if result["segments"] else None
        notes = [*audio.notes, *own.notes]
        if options.carry_context == "on":
            notes.append(
                "carry_context = 'on' was not followed: the standard transcriber decodes each "
                "window without the text before it"
            )
        words: list[list[Word]] = [[] for _ in result["segments"]]
        if options.words and options.task == "transcribe" and words and self._aligner:
            began = time.monotonic()
            words, why_not = self._words(self._aligner, audio.samples, result)
            if why_not:
                notes.append(f"No word times: {why_not}")
            seconds["align"] = time.monotonic() - began
        texts = [
            _window_text(index, segment, words[index], code)
            for index, segment in enumerate(result["segments"])
        ]
        language = None
        if code is not None:
            detected = options.language is None
            language = Language(code=code, probability=None, detected=detected)
        found = segments(texts, audio.seconds)
        spoken = sum(text.end - text.start for text in texts if text.text)
        if not found:
            notes.append(unheard.note(audio.seconds, audio.peak, len(texts)))
        return Recognition(
            audio_seconds=audio.seconds,
            language=language,
            segments=found,
            word_times="aligned" if any(text.words for text in texts) else None,
            seconds=seconds,
            windows=len(texts),
            notes=tuple(notes),
            languages=((code, spoken),) if code is not None and found else (),
        )

    def _transcribe(
        self, samples: NDArray[np.float32], options: Options, vocabulary: Sequence[str]
    ) -> Mapping[str, Any]:
        if not len(samples):
            return {"segments": [], "language": None}
        pipeline = self._pipeline
        # WhisperX knows no list: its phrases stand before the hotwords, as one text.
        hotwords = " ".join([*(f"{phrase}," for phrase in vocabulary), options.hotwords or ""])
        pipeline.options = replace(
            pipeline.options, initial_prompt=options.prompt, hotwords=hotwords.strip() or None
        )
        pipeline.tokenizer = None
        try:
            result: Mapping[str, Any] = pipeline.transcribe(
                samples,
                batch_size=self.loaded.budget.capacity(FULL_POSITIONS),
                language=options.language or self._detected(samples, options.language_options),
                task=options.task,
            )
        except IndexError:
            # How WhisperX fails where its detector finds no speech.
            return {"segments": [], "language": None}
        finally:
            devices.tune_torch(self.loaded.device)
        return result

    def _detected(
        self, samples: NDArray[np.float32], language_options: Sequence[str]
    ) -> str | None:
        """The likeliest of the languages in the first 30 s; None leaves all of it to WhisperX.

        WhisperX's own detection looks at as much, and can't be told what to choose from.
        """
        if len(language_options) < 2:  # nothing to choose
            return next(iter(language_options), None)
        features = self._front_end(samples[:WINDOW_SAMPLES])
        encoded = self._pipeline.model.encode(pad(features, WINDOW_FRAMES))
        (detected,) = self._pipeline.model.model.detect_language(encoded)
        return among(ranking_of(detected), language_options)[0][0]

    def _words(
        self, aligner: Aligner, samples: NDArray[np.float32], result: Mapping[str, Any]
    ) -> tuple[list[list[Word]], str]:
        """The words of each segment, and why there are none, in a sentence, or an empty one."""
        from worker.speech.words.align import AlignItem, AlignmentError

        found: Sequence[Mapping[str, Any]] = result["segments"]
        language = str(result["language"])
        none: list[list[Word]] = [[] for _ in found]
        if not self._wait_for_model(aligner, language):
            return none, aligner.why_not(language)
        items = [
            AlignItem(
                samples=samples[
                    int(segment["start"] * SAMPLE_RATE) : int(segment["end"] * SAMPLE_RATE)
                ],
                text=str(segment["text"]),
                language=language,
                start=float(segment["start"]),
                end=float(segment["end"]),
            )
            for segment in found
        ]
        try:
            return aligner.align(items), ""
        except AlignmentError as error:
            return none, str(error)

    def _wait_for_model(self, aligner: Aligner, language: str) -> bool:
        """Whether there is one; blocks while it loads. There is nothing else to do meanwhile."""
        aligner.request(language)
        while (ready := aligner.ready(language)) is None and not self._stopping():
            time.sleep(MODEL_POLL_SECONDS)
        return bool(ready)

    def _verdict(self, error: RuntimeError) -> JobError:
        if is_out_of_memory(error):
            return JobError(
                ErrorCode.OUT_OF_MEMORY,
                "The device's memory ran out: lower batch_size, or use the optimized "
                "transcriber, which finds the size by itself.",
            )
        try:
            self.loaded.run_probe()
        except RuntimeError as broken:
            raise EngineError(f"the device is broken: {broken}") from error
        return JobError(
            ErrorCode.ENGINE_FAILED,
            f"WhisperX failed on this file ({type(error).__name__}: {error}); "
            "report it with the file.",
        )


def _window_text(
    index: int, segment: Mapping[str, Any], words: Sequence[Word], language: str | None
) -> WindowText:
    """One of WhisperX's segments with its words.

    WhisperX decodes each once, by beam search, and doesn't say how likely silence was.
    """
    start, end = float(segment["start"]), float(segment["end"])
    return WindowText(
        index=index,
        start=start,
        end=end,
        text=str(segment["text"]).strip(),
        avg_logprob=float(segment["avg_logprob"]),
        temperature=0.0,
        words=tuple(fit_words(words, start, end)),
        language=language,
    )
