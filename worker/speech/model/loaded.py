"""A model on its device, ready to be used: chosen, loaded, measured, tested.

What `start` does before the first file, for both transcribers.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from worker.errors import ErrorCode, JobError, MachineError
from worker.logs import get_logger
from worker.results.transcript import EngineInfo
from worker.speech.api import Options
from worker.speech.config import SPANS, WINDOWS, EngineConfig
from worker.speech.model import choices, memory, models, suppressed
from worker.speech.model import device as devices
from worker.speech.model.decoding import Decoded, Listed, Request
from worker.speech.model.extras import without_whisperx
from worker.speech.model.memory import Budget
from worker.speech.model.rehearsal import rehearse
from worker.speech.model.selftest import (
    PHRASE,
    WHOLE,
    KnownRecording,
    KnownSpeech,
    check_text,
    known_recording,
)
from worker.speech.model.weights import Dimensions, read_dimensions
from worker.speech.model.whisper import Whisper
from worker.speech.packages import whisperx_installed
from worker.speech.prepare.sound import to_samples
from worker.speech.speakers.choice import why_not
from worker.speech.windows import FULL_POSITIONS, SAMPLE_RATE
from worker.speech.words.align_models import any_model_here, import_libraries
from worker.threads import SupervisedThread

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

log = get_logger(__name__)

CODE_VERSION = 6
"""To be raised when a change of this code may change texts: a checkpoint of another version is not
resumed."""


SHORT_POSITIONS = FULL_POSITIONS // 2
"""Encoder length of a phrase: the least that the engine uses (`worker.speech.engine.context`)."""


class Model(Protocol):
    """What the engine needs of a model: `whisper.Whisper`, or the tests' small one.

    Attributes:
        mels: mel bands of a window's features.
        prepared_mels: bands that are computed before a window comes to it; 0 if it takes samples.
        multilingual: whether it knows languages other than English.
        languages: Whisper codes of those it knows.
        encoder_calls: encoder passes so far.
        encoded_windows: windows in them.
    """

    mels: int
    prepared_mels: int
    multilingual: bool
    languages: frozenset[str]
    encoder_calls: int
    encoded_windows: int

    def check(self, options: Options) -> None:
        """Raises JobError if the model can't do what a job asks."""
        ...

    def context(self, options: Options) -> tuple[int, ...]:
        """Tokens of prompt and hotwords."""
        ...

    def listed(self, vocabulary: Sequence[str]) -> Listed:
        """The tokens of phrases to favour."""
        ...

    def start_length(self) -> int:
        """Tokens of a start sequence."""
        ...

    def decode(
        self, requests: Sequence[Request], *, positions: int, beam_size: int, temperature: float
    ) -> list[Decoded]:
        """Decodes windows in one call; words are still to be read (`Decoded.with_words`)."""
        ...


@dataclass(slots=True)
class Loaded:
    """A loaded model with its device and batch budget.

    Attributes:
        config: what it was loaded for, so far as that can be had here.
        model: decodes windows.
        device: where the model is.
        dimensions: of the model.
        compute_type: the one chosen, of CTranslate2's.
        budget: how much a batch may hold, to begin with.
        info: for results and reports.
        fingerprint: see `fingerprint`.
        probe: a window that is known to work: if it fails too, the device is broken.
        lanes: batches decoded at once.
    """

    config: EngineConfig
    model: Model
    device: choices.Device
    dimensions: Dimensions
    compute_type: str
    budget: Budget
    info: EngineInfo
    fingerprint: str
    probe: Request
    lanes: int = 1

    def check(self, options: Options) -> None:
        """Whether the model can do what a job asks.

        Raises:
            JobError: a language, the task or the prompt is beyond it.
        """
        self.model.check(options)
        self._check_detection(options)
        if self.config.transcriber == "standard":
            _check_plain(options)
        if options.task == "translate" and not models.translates(
            self.config.model, self.dimensions
        ):
            raise JobError(
                ErrorCode.TASK_NOT_SUPPORTED,
                f"task = 'translate' can't be done by model {self.config.model!r}, which was "
                "trained on transcription alone; use large-v3 or medium.",
            )

    def _check_detection(self, options: Options) -> None:
        """Whether languages can be detected as a job asks. Raises JobError."""
        unknown = [code for code in options.language_options if code not in self.model.languages]
        if unknown:
            raise JobError(
                ErrorCode.LANGUAGE_NOT_SUPPORTED,
                f"language_options has {', '.join(map(repr, unknown))}, and the loaded model knows "
                "no such language; leave that out, or use a model that knows it.",
            )
        if not options.multilingual:
            return
        if options.language is not None:
            raise JobError(
                ErrorCode.INVALID_JOB,
                f"language = {options.language!r} is one for the whole file, and multilingual = "
                "true asks for each window's own; give only one of the two.",
            )
        if not self.model.multilingual:
            raise JobError(
                ErrorCode.LANGUAGE_NOT_SUPPORTED,
                f"multilingual = true can't be done by model {self.config.model!r}, which knows "
                "English alone; leave it out, or use a model that knows several languages.",
            )
        if self.config.transcriber == "standard":
            raise JobError(
                ErrorCode.TASK_NOT_SUPPORTED,
                "multilingual = true can't be done by transcriber = 'standard', which decodes a "
                "whole file in one language; leave it out, or use transcriber = 'optimized'.",
            )

    def run_probe(self) -> str:
        """The text of a window that is known to work.

        Raises:
            RuntimeError: the device fails even on that.
        """
        return self.text_of(self.probe, FULL_POSITIONS)

    def text_of(self, request: Request, positions: int) -> str:
        """What is said in a window, decoded by itself. Raises RuntimeError: the device fails."""
        (decoded,) = self.model.decode(
            [request], positions=positions, beam_size=self.config.beam_size, temperature=0.0
        )
        return decoded.text


def load(config: EngineConfig) -> Loaded:
    """Chooses device and compute type, loads the model, sizes batches, tests the machine.

    Raises:
        MachineError: the machine can't do what the settings ask.
        SettingsError: a model or compute type that doesn't exist, or what the extra `whisperx`
            would bring.
    """
    note = None
    if not whisperx_installed():
        config, note = without_whisperx(config)
    if note:
        log.warning("words.not_aligned", message=note)
    device, chosen = devices.find_device(config.device)
    if chosen:
        log.info("device.chosen", message=chosen)  # nobody asked for another
    # Loading leaves cores idle. Should the import fail, whoever loads an alignment model learns it.
    imports = SupervisedThread("align-imports", import_libraries)
    # A card has torch in any case; on a CPU it takes 300 MB for nothing, unless a model can be had.
    if config.word_times == "aligned" and (device.is_card or any_model_here(config.model_dir)):
        imports.start()
    try:
        return _load(config, device, [said for said in (note, chosen) if said])
    finally:
        # A process that ends in the middle of an import may crash instead of saying what is wrong.
        imports.join()


def _load(config: EngineConfig, device: choices.Device, notes: list[str]) -> Loaded:
    directory = models.resolve(config.model, config.model_dir)
    dimensions = read_dimensions(directory)
    chosen = devices.compute_type(config.compute_type, device)
    if chosen.note:
        notes.append(chosen.note)
        tell = log.warning if config.compute_type_given else log.info
        tell("device.compute_type", message=chosen.note)
    cores = config.cpu_threads or devices.usable_cores()
    began = time.monotonic()
    standard = config.transcriber == "standard"
    # The standard transcriber makes one call at a time.
    lanes = 1 if standard else choices.lanes(device, cores)
    model = load_weights(directory, device, chosen.name, cores, lanes, for_whisperx=standard)
    log.info(
        "model.loaded",
        message=f"Model loaded on {device}",
        model=config.model,
        device_name=device.name,
        compute_type=chosen.name,
        seconds=round(time.monotonic() - began, 2),
    )
    tuned = devices.tune_torch(device)
    budget = memory.budget(
        dimensions,
        batch_size=config.batch_size,
        batch_size_given=config.batch_size_given,
        beam_size=config.beam_size,
        compute_type=chosen.name,
        device=device,
        free_bytes=devices.free_memory(device),
        reserved=memory.reserved_bytes(
            align=config.word_times == "aligned", speakers=not standard and not why_not(config)
        ),
        cores=cores,
        lanes=lanes,
    )
    log.info(
        "device.tuned",
        message="; ".join(tuned),
        batch_windows=budget.capacity(FULL_POSITIONS),
        batch_size=config.batch_size,
    )
    recording = known_recording() if config.self_test else None
    loaded = Loaded(
        config=config,
        model=model,
        device=device,
        dimensions=dimensions,
        compute_type=chosen.name,
        budget=budget,
        info=EngineInfo(
            model=config.model,
            device=str(device),
            compute_type=chosen.name,
            batch_size=budget.capacity(FULL_POSITIONS),
            beam_size=config.beam_size,
            vad=config.vad,
            transcriber=config.transcriber,
            notes=tuple(notes),
            versions=devices.versions(),
        ),
        fingerprint=fingerprint(config, directory, chosen.name),
        probe=_probe(recording.part(WHOLE) if recording else None),
        lanes=lanes,
    )
    _warm_up(loaded, directory, recording)
    return loaded


def load_weights(
    directory: Path,
    device: choices.Device,
    compute_type: str,
    cores: int,
    lanes: int = 1,
    *,
    for_whisperx: bool = False,
) -> Whisper:
    """Weights as the worker decodes with them, untested; what is measured is to be loaded by it.

    On a card windows come as samples, and symbols are suppressed by the weights.

    Args:
        directory: of the weights as they are.
        device: where to load them.
        compute_type: one that the device supports.
        cores: that calls may use.
        lanes: calls at once.
        for_whisperx: see `Whisper`. Its pipeline has features and a list of its own.
    """
    by_list = suppressed.Prepared(directory)
    prepared = by_list if for_whisperx else suppressed.prepare_for(device, directory)
    return Whisper(
        prepared.directory,
        device,
        compute_type,
        choices.threads(device, cores, lanes),
        lanes,
        suppressed=prepared.tokens,
        log_mel=device.is_card and not for_whisperx,
        for_whisperx=for_whisperx,
    )


def _check_plain(options: Options) -> None:
    """Refuse what the standard transcriber, one plain text a file, can't do. Raises JobError."""
    asked = {
        "diarize = true": options.diarize,
        "channel_identification = true": options.channel_identification,
        "audio_stream = 'all'": options.audio_stream == "all",
    }
    for what, wanted in asked.items():
        if wanted:
            raise JobError(
                ErrorCode.TASK_NOT_SUPPORTED,
                f"{what} can't be done by transcriber = 'standard', which makes one plain text of "
                "a file; leave it out, or use transcriber = 'optimized'.",
            )


def fingerprint(config: EngineConfig, directory: Path, compute_type: str) -> str:
    """A digest of everything that may change windows or texts; the batch size may not."""
    identity = {
        "code": CODE_VERSION,
        "model": models.identity(directory),
        "compute_type": compute_type,
        "beam_size": config.beam_size,
        "transcriber": config.transcriber,
        "vad": config.vad,
        "context": config.context,
        "word_times": config.word_times,
        "spans": asdict(SPANS),
        "windows": asdict(WINDOWS),
        "versions": devices.versions(),
    }
    encoded = json.dumps(identity, sort_keys=True).encode()
    return hashlib.sha256(encoded).hexdigest()[:32]


def silence() -> Request:
    """A window of one silent second: nothing to recognise, but all kernels are loaded and tuned."""
    sound = np.zeros(SAMPLE_RATE, dtype=np.int16)
    return Request(sound=sound, seconds=1.0, language="en", task="transcribe")


def _probe(speech: KnownSpeech | None) -> Request:
    """Known speech as a window, or silence where there is none."""
    if speech is None:
        return silence()
    return Request(
        sound=to_samples(speech.samples),
        seconds=len(speech.samples) / SAMPLE_RATE,
        language="en",
        task="transcribe",
    )


def _warm_up(loaded: Loaded, directory: Path, recording: KnownRecording | None) -> None:
    """Decodes known speech once, and checks its text; silence, where there is none.

    On a card a full window, for which all its kernels are loaded and tuned. A CPU has nothing to
    tune: there a phrase shows as well that it computes right, in a third of the time.

    Raises:
        MachineError: the device can't decode, or what it decodes is wrong.
    """
    began = time.monotonic()
    card = loaded.device.is_card
    speech = recording.part(WHOLE if card else PHRASE) if recording else None
    try:
        text = loaded.text_of(_probe(speech), FULL_POSITIONS if card else SHORT_POSITIONS)
        words = loaded.config.transcriber == "standard" or rehearse(
            loaded.model, loaded.probe, beam_size=loaded.config.beam_size
        )
    except RuntimeError as error:
        raise MachineError(f"{loaded.device} can't decode: {error}") from error
    if not words:
        _without_words(loaded, directory)
    if speech is None:
        why = "self_test is off" if not loaded.config.self_test else "no known speech is here"
        # A package of the extra `whisperx` has it, and without that there is no card to distrust.
        tell = log.warning if card or not loaded.config.self_test else log.info
        tell("selftest.skipped", message=f"Self-test skipped: {why}")
        return
    check_text(text, speech, str(loaded.device))
    log.info(
        "selftest.passed",
        message="Self-test passed on known speech",
        seconds=round(time.monotonic() - began, 2),
    )


def _without_words(loaded: Loaded, directory: Path) -> None:
    """Goes on where the times of words can't be found: every window is decoded in full.

    The fingerprint follows: windows that another worker decoded short are not resumed here.

    Raises:
        MachineError: the settings ask for those times.
    """
    if loaded.config.word_times == "attention":
        raise MachineError(
            f"{loaded.device} can't find the times of words from attention, which word_times = "
            "'attention' asks for: use word_times = 'aligned' or 'none', or another version of "
            "ctranslate2 (its issue 2064)"
        )
    note = (
        f"The times of words can't be found from attention on {loaded.device}: short windows are "
        "not used, context = full (see CTranslate2's issue 2064)"
    )
    log.warning("device.words", message=note)
    loaded.config = replace(loaded.config, context="full")
    loaded.fingerprint = fingerprint(loaded.config, directory, loaded.compute_type)
    loaded.info = loaded.info.model_copy(update={"notes": (*loaded.info.notes, note)})
