"""The contestants: WhisperX, faster-whisper and the two transcribers, behind one interface.

Each is used as its own documentation says, on the same model, compute type, beam, language and
threads. All that batch get the same batch size: the one asked for, or as much of it as fits the
device by the engine's arithmetic, because a peer would fail with more.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worker.bench.plan import Spec, Started
from worker.bench.probe import Probe
from worker.errors import MachineError
from worker.speech.api import Options, Recognition
from worker.speech.model import choices, memory, models
from worker.speech.model import device as devices
from worker.speech.model.weights import read_dimensions
from worker.speech.windows import FULL_POSITIONS

if TYPE_CHECKING:
    from faster_whisper import WhisperModel

    from worker.speech.engine.engine import Engine
    from worker.speech.engine.standard import StandardTranscriber

__all__ = ["Contestant", "Ours", "make"]

OnFile = Callable[[], None]
"""Called after each file."""

SETTLE_SECONDS = 0.02
"""Between two looks at whether the engine still decodes."""


class Contestant(ABC):
    """One way to transcribe files: started once, run on loads, stopped once."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.probe: Probe
        """What its model's calls go through. After `start`."""
        self.notes: list[str] = []
        """Notes that it made about files, each sentence once."""
        self.second_attempts = 0
        """Windows decoded again because their text failed the checks."""
        self.file_windows: int | None = None
        """Windows that the files had; None if it isn't known."""
        self.short_windows = 0
        """Windows that were tried with less than 30 s of encoder."""
        self.slots: int | None = None
        """Windows that its calls had room for, where that differs from call to call."""
        self.lanes = 1
        """Calls that it makes at once. After `start`."""

    @abstractmethod
    def start(self) -> Started:
        """Loads the model. Raises MachineError or SettingsError."""

    @abstractmethod
    def transcribe(self, paths: Sequence[Path], on_file: OnFile) -> list[str]:
        """The text of each file."""

    def settle(self) -> None:
        """Waits until work that goes on after the last text (audits) is done."""
        return

    def stop(self) -> None:
        """Ends what it started."""
        return

    def wrap(self, model: Any) -> Probe:
        """Puts the probe before a CTranslate2 model."""
        self.probe = Probe(model, fixed_tokens=self.spec.plan.fixed_tokens)
        return self.probe


class Peer(Contestant):
    """A library used from outside: samples in, text out, one file after the other."""

    batches = True
    """Whether it decodes several windows in one call."""

    def start(self) -> Started:
        """See `Contestant`."""
        plan = self.spec.plan
        device, _ = devices.find_device(self.spec.device)
        directory = models.resolve(plan.model)
        chosen = devices.compute_type(plan.compute_type, device)
        threads = plan.threads or devices.usable_cores()
        self.load(directory, device, chosen.name, threads)
        self._batch_size = plan.batch_size if self.batches else 1
        if self.batches and not self.spec.exact_batch:
            self._batch_size = memory.budget(
                read_dimensions(directory),
                batch_size=plan.batch_size,
                batch_size_given=True,
                beam_size=plan.beam_size,
                compute_type=chosen.name,
                device=device,
                free_bytes=devices.free_memory(device),
                reserved=0,
                cores=threads,
            ).capacity(FULL_POSITIONS)
        return Started(
            compute_type=chosen.name,
            batch_size=self._batch_size,
            device=device.name,
            notes=(chosen.note,) if chosen.note else (),
        )

    def transcribe(self, paths: Sequence[Path], on_file: OnFile) -> list[str]:
        """See `Contestant`."""
        from faster_whisper import decode_audio

        texts = []
        for path in paths:
            texts.append(self.text(decode_audio(str(path)), self._batch_size))
            on_file()
        return texts

    @abstractmethod
    def load(
        self, directory: Path, device: choices.Device, compute_type: str, threads: int
    ) -> None:
        """Loads the model and puts the probe before it."""

    @abstractmethod
    def text(self, samples: Any, batch_size: int) -> str:
        """What is said in float32 samples at 16 kHz."""


class WhisperX(Peer):
    """WhisperX: `load_model` once, its own speech detection (pyannote), no alignment."""

    def load(
        self, directory: Path, device: choices.Device, compute_type: str, threads: int
    ) -> None:
        """See `Peer`."""
        import whisperx.asr

        self._pipeline = whisperx.asr.load_model(
            str(directory),
            device.kind,
            device_index=device.index,
            compute_type=compute_type,
            language=self.spec.plan.language,
            asr_options={"beam_size": self.spec.plan.beam_size},
            threads=threads,
        )
        self._pipeline.model.model = self.wrap(self._pipeline.model.model)

    def text(self, samples: Any, batch_size: int) -> str:
        """See `Peer`."""
        try:
            result = self._pipeline.transcribe(
                samples, batch_size=batch_size, language=self.spec.plan.language
            )
        except IndexError:
            return ""  # how it fails where its detector finds no speech
        return " ".join(segment["text"].strip() for segment in result["segments"])


class FasterWhisper(Peer):
    """faster-whisper's `BatchedInferencePipeline`, with its own speech detection (Silero)."""

    def load(
        self, directory: Path, device: choices.Device, compute_type: str, threads: int
    ) -> None:
        """See `Peer`."""
        from faster_whisper import BatchedInferencePipeline

        model = _faster_whisper(directory, device, compute_type, threads)
        model.model = self.wrap(model.model)
        self._pipeline = BatchedInferencePipeline(model)

    def text(self, samples: Any, batch_size: int) -> str:
        """See `Peer`."""
        segments, _ = self._pipeline.transcribe(
            samples,
            language=self.spec.plan.language,
            beam_size=self.spec.plan.beam_size,
            batch_size=batch_size,
            vad_filter=True,
        )
        return " ".join(segment.text.strip() for segment in segments)


class FasterWhisperSequential(Peer):
    """faster-whisper's `WhisperModel.transcribe`: one window after another.

    Beam and language are everybody's, all else is its default: each window is prompted with the
    text before it (`condition_on_previous_text`), begins where the timestamps of the one before
    ended, and is decoded at rising temperatures while its text is doubted; speech is not looked
    for beforehand (`vad_filter` is off).
    """

    batches = False

    def load(
        self, directory: Path, device: choices.Device, compute_type: str, threads: int
    ) -> None:
        """See `Peer`."""
        self._model = _faster_whisper(directory, device, compute_type, threads)
        self._model.model = self.wrap(self._model.model)

    def text(self, samples: Any, batch_size: int) -> str:
        """See `Peer`."""
        segments, _ = self._model.transcribe(
            samples, language=self.spec.plan.language, beam_size=self.spec.plan.beam_size
        )
        return " ".join(segment.text.strip() for segment in segments)


class Ours(Contestant):
    """One of the two transcribers: files in, all at once, as the daemon hands them in.

    Attributes:
        engine: the transcriber itself; after `start`.
    """

    def start(self) -> Started:
        """See `Contestant`."""
        from worker.speech.engine.engine import Engine, EngineConfig
        from worker.speech.engine.standard import StandardTranscriber
        from worker.speech.model.whisper import Whisper

        plan = self.spec.plan
        config = EngineConfig(
            model=plan.model,
            device=self.spec.device,
            compute_type=plan.compute_type,
            batch_size=plan.batch_size,
            batch_size_given=plan.batch_size_given,
            beam_size=plan.beam_size,
            word_times="aligned" if self.spec.words else "none",
            context=plan.context,
            cpu_threads=plan.threads,
            num_workers=plan.num_workers,
            # Random weights recognise nothing.
            self_test=plan.fixed_tokens is None,
        )
        self.engine: Engine | StandardTranscriber
        if self.spec.name.startswith("standard"):
            self.engine = StandardTranscriber(replace(config, transcriber="standard"))
        else:
            self.engine = Engine(config)
        self.engine.start()
        whisper = self.engine.loaded.model
        assert isinstance(whisper, Whisper)
        probe = self.wrap(whisper.model)
        # The optimized one calls CTranslate2 itself, the standard one through WhisperX's object.
        whisper.model = whisper.loaded.model = probe
        info = self.engine.info
        self.lanes = self.engine.loaded.lanes
        return Started(
            compute_type=info.compute_type,
            batch_size=info.batch_size,
            device=self.engine.loaded.device.name,
            notes=info.notes,
        )

    def transcribe(self, paths: Sequence[Path], on_file: OnFile) -> list[str]:
        """See `Contestant`.

        Raises:
            MachineError: words were wanted and got no times.
        """
        plan = self.spec.plan
        options = Options(
            language=plan.language, words=self.spec.words, carry_context=plan.carry_context
        )
        before = self.engine.stats
        submissions = [self.engine.submit(path, options, name=path.name) for path in paths]
        found = []
        for submission in submissions:
            found.append(submission.future.result())
            on_file()
        after = self.engine.stats
        self.second_attempts = after.second_attempts - before.second_attempts
        self.file_windows = sum(one.windows for one in found)
        self.short_windows = after.short_windows - before.short_windows
        # The standard one leaves its batches to WhisperX and counts no places.
        self.slots = (after.batch_slots - before.batch_slots) or None
        self._note(found)
        return [one.text for one in found]

    def settle(self) -> None:
        """See `Contestant`: the engine audits short windows when nobody waits for the device."""
        from worker.speech.engine.engine import Engine

        while isinstance(self.engine, Engine) and not self.engine.idle():
            time.sleep(SETTLE_SECONDS)

    def stop(self) -> None:
        """See `Contestant`."""
        self.engine.stop()

    def _note(self, found: Sequence[Recognition]) -> None:
        notes = {note for recognition in found for note in recognition.notes}
        self.notes += sorted(notes - set(self.notes))
        said = any(recognition.segments for recognition in found)
        timed = any(recognition.word_times for recognition in found)
        if self.spec.words and said and not timed:
            raise MachineError("; ".join(self.notes) or "words got no times")


def make(spec: Spec) -> Contestant:
    """The contestant that a specification describes, not yet started."""
    kinds: dict[str, type[Contestant]] = {
        "whisperx": WhisperX,
        "before": WhisperX,
        "faster-whisper": FasterWhisper,
        "faster-whisper-sequential": FasterWhisperSequential,
    }
    return kinds.get(spec.name, Ours)(spec)


def _faster_whisper(
    directory: Path, device: choices.Device, compute_type: str, threads: int
) -> WhisperModel:
    from faster_whisper import WhisperModel

    return WhisperModel(
        str(directory),
        device=device.kind,
        device_index=device.index,
        compute_type=compute_type,
        cpu_threads=threads,
    )
