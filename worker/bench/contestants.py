"""What is compared: WhisperX, faster-whisper and the two transcribers, behind one interface.

Each is used as its own documentation says, on the same model, compute type, beam, language and
threads. All get the same batch size: the one asked for, or as much of it as fits the device by the
engine's arithmetic, because a peer would fail with more.
"""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from worker.bench.probe import Probe
from worker.errors import MachineError
from worker.speech.api import Options, Recognition
from worker.speech.model import allocator, choices, memory, models
from worker.speech.model import device as devices
from worker.speech.model.weights import read_dimensions
from worker.speech.windows import FULL_POSITIONS

if TYPE_CHECKING:
    from worker.speech.engine.engine import Engine
    from worker.speech.engine.standard import StandardTranscriber

__all__ = [
    "CONTEXTS",
    "NAMES",
    "PEERS",
    "Contestant",
    "Context",
    "Ours",
    "Plan",
    "Spec",
    "Started",
    "line_up",
    "make",
]

Context = Literal["full", "adaptive", "auto"]

CONTEXTS: tuple[Context, ...] = ("full", "adaptive", "auto")

OnFile = Callable[[], None]
"""Called after each file."""

PEERS = ("whisperx", "faster-whisper")
"""The contestants that all others are compared with."""

SETTLE_SECONDS = 0.02
"""Between two looks at whether the engine still decodes."""

NAMES = (
    *PEERS,
    "standard",
    "standard-words",
    "optimized",
    "optimized-words",
    "before",
    "after-int8",
    "after-float16",
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What all contestants have in common.

    Attributes:
        model: a model's name or directory.
        model_label: what reports call it.
        compute_type: what is asked for; devices that can't do it fall back, and rows say so.
        batch_size: windows in a batch at most.
        batch_size_given: whether it bounds short windows too; see `EngineConfig`.
        beam_size: width of the beam search.
        language: Whisper code, or None to detect it.
        threads: of the model on a CPU; 0 for all cores.
        num_workers: children that decode media for our transcribers.
        context: how long encoder windows are; only the optimized transcriber's are ever shorter.
        fixed_tokens: tokens generated for each window of a model with random weights.
        after_model: model of the rows "after".
        after_label: what reports call it.
    """

    model: str = "base"
    model_label: str = "base"
    compute_type: str = "int8_float16"
    batch_size: int = 64
    batch_size_given: bool = False
    beam_size: int = 5
    language: str | None = "en"
    threads: int = 0
    num_workers: int = 2
    context: Context = "full"
    fixed_tokens: int | None = None
    after_model: str = "large-v3"
    after_label: str = "large-v3"


@dataclass(frozen=True, slots=True)
class Spec:
    """One contestant on one device.

    Attributes:
        name: one of `NAMES`.
        plan: its own: some rows have another model, batch size or compute type than the rest.
        device: cpu or cuda.
        words: whether words get times.
        exact_batch: the batch size is what it is, whatever memory would allow.
        floor: whether its calls are made again, bare.
    """

    name: str
    plan: Plan
    device: Literal["cpu", "cuda"]
    words: bool = False
    exact_batch: bool = False
    floor: bool = False

    @property
    def environment(self) -> dict[str, str]:
        """Variables that its process starts with: what the worker itself starts with."""
        if self.device != "cpu" or self.name in (*PEERS, "before"):
            return {}
        return {allocator.VARIABLE: allocator.tuned(os.environ.get(allocator.VARIABLE, ""))}

    @property
    def title(self) -> str:
        """What reports call it."""
        titles = {
            "whisperx": "WhisperX, file by file",
            "faster-whisper": "faster-whisper batched, file by file",
            "standard": "standard transcriber",
            "standard-words": "standard transcriber, words",
            "optimized": "optimized transcriber",
            "optimized-words": "optimized transcriber, words",
            "before": f"before: {self.plan.model_label}, batch {self.plan.batch_size}, sequential",
        }
        return titles.get(
            self.name,
            f"after: {self.plan.model_label}, batch {self.plan.batch_size}, "
            f"{self.plan.compute_type}",
        )


@dataclass(frozen=True, slots=True)
class Started:
    """What a contestant turned out to run on.

    Attributes:
        compute_type: the one in use.
        batch_size: the one in use.
        device: its name.
        notes: choices that were not asked for.
    """

    compute_type: str
    batch_size: int
    device: str
    notes: tuple[str, ...] = ()


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

    def start(self) -> Started:
        """See `Contestant`."""
        plan = self.spec.plan
        device, _ = devices.find_device(self.spec.device)
        directory = models.resolve(plan.model)
        chosen = choices.choose_compute_type(
            plan.compute_type, device.kind, devices.supported_compute_types(device)
        )
        threads = plan.threads or devices.usable_cores()
        self.load(directory, device, chosen.name, threads)
        self._batch_size = plan.batch_size
        if not self.spec.exact_batch:
            self._batch_size = memory.budget(
                read_dimensions(directory),
                batch_size=plan.batch_size,
                batch_size_given=True,
                beam_size=plan.beam_size,
                compute_type=chosen.name,
                device=device,
                free_bytes=devices.free_memory(device),
                reserve_align=False,
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
        os.environ.setdefault("PYANNOTE_METRICS_ENABLED", "0")
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
            return ""  # its way of saying that its detector found no speech
        return " ".join(segment["text"].strip() for segment in result["segments"])


class FasterWhisper(Peer):
    """faster-whisper's `BatchedInferencePipeline`, with its own speech detection (Silero)."""

    def load(
        self, directory: Path, device: choices.Device, compute_type: str, threads: int
    ) -> None:
        """See `Peer`."""
        from faster_whisper import BatchedInferencePipeline, WhisperModel

        model = WhisperModel(
            str(directory),
            device=device.kind,
            device_index=device.index,
            compute_type=compute_type,
            cpu_threads=threads,
        )
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
        options = Options(language=plan.language, words=self.spec.words)
        before = replace(self.engine.stats)
        submissions = [self.engine.submit(path, options, name=path.name) for path in paths]
        found = []
        for submission in submissions:
            found.append(submission.future.result())
            on_file()
        after = self.engine.stats
        self.second_attempts = after.second_attempts - before.second_attempts
        # The standard one leaves its batches to WhisperX and counts no places.
        self.slots = (after.batch_slots - before.batch_slots) or None
        self._note(found)
        return [" ".join(segment.text for segment in one.segments) for one in found]

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
    if spec.name in ("whisperx", "before"):
        return WhisperX(spec)
    return FasterWhisper(spec) if spec.name == "faster-whisper" else Ours(spec)


def line_up(
    plan: Plan,
    on: Sequence[Literal["cpu", "cuda"]],
    wanted: Sequence[str] = NAMES,
    contexts: Sequence[Context] = ("full",),
) -> list[Spec]:
    """All contestants on all devices, in the order that they run in.

    "before" is how systems of this kind begin: the base model, batches of 16 configured, one
    file after the other through WhisperX. "after" is the optimized transcriber at its defaults.

    Args:
        plan: what they have in common.
        on: the devices.
        wanted: the names of those that take part.
        contexts: those of the optimized transcriber, a row for each.
    """
    before = Plan(
        compute_type=plan.compute_type,
        batch_size=16,
        beam_size=plan.beam_size,
        language=plan.language,
        threads=plan.threads,
    )
    after = replace(
        plan,
        model=plan.after_model,
        model_label=plan.after_label,
        batch_size=Plan().batch_size,
        batch_size_given=False,
    )
    found: list[Spec] = []
    for device in on:
        found += [Spec(name, plan, device) for name in (*PEERS, "standard")]
        found.append(Spec("standard-words", plan, device, words=True))
        for context in contexts:
            ours = replace(plan, context=context)
            found.append(Spec("optimized", ours, device, floor=True))
            found.append(Spec("optimized-words", ours, device, words=True))
        found.append(Spec("before", before, device, exact_batch=True))
        for context in contexts:
            int8 = replace(after, context=context, compute_type="int8_float16")
            float16 = replace(int8, compute_type="float16")
            found.append(Spec("after-int8", int8, device, floor=True))
            found.append(Spec("after-float16", float16, device, floor=True))
    return [spec for spec in found if spec.name in wanted]
