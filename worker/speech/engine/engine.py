"""The optimized transcriber: files in, recognitions out, the device never idle in between.

This module puts the parts together. Threads, and what they do:

- the prepare pool's (one for each child process): take windows in (`inflow`);
- the device threads (one on a card, one a lane on a CPU): decode batches (`device_loop`);
- one text thread: reads what came of them (`text_loop`);
- one align thread: times of words (`word_router`);
- one for speakers, once a file wants to know who they are (`diarizing`).

They meet in `shared`, behind one lock; `flow` moves windows from one to the next.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from worker.errors import EngineError
from worker.results.transcript import EngineInfo
from worker.speech.api import EngineStats, Options, Partial, Submission, Transcriber
from worker.speech.config import SPANS, WINDOWS, EngineConfig
from worker.speech.engine import carry
from worker.speech.engine.batcher import Batcher
from worker.speech.engine.channels import ChannelSubmission, SurveyFeed
from worker.speech.engine.decoder import Decoder
from worker.speech.engine.device_loop import DeviceLoop
from worker.speech.engine.diarizing import (
    Diarizing,
    MakeProcess,
    load_at_start,
    process_for,
    required,
)
from worker.speech.engine.feedback import Feedback
from worker.speech.engine.file import File, Group
from worker.speech.engine.flow import Flow
from worker.speech.engine.guard import Guard
from worker.speech.engine.inflow import Inflow, most_held_seconds
from worker.speech.engine.own_prompt import OwnPrompt, own_prompt
from worker.speech.engine.resume import done
from worker.speech.engine.selections import kind_of, selection_of
from worker.speech.engine.shared import Shared
from worker.speech.engine.state import FileState
from worker.speech.engine.text_loop import TextLoop
from worker.speech.engine.whole_file import AddWindow, WholeFileStage, stages_for
from worker.speech.engine.word_router import WordRouter
from worker.speech.media.selection import Selection
from worker.speech.model.choices import children
from worker.speech.model.device import beyond_reserve, memory_in_use, usable_cores
from worker.speech.model.loaded import Loaded, load
from worker.speech.model.memory import ALIGN_BYTES
from worker.speech.prepare.frames import PrepareConfig, PrepareTask
from worker.speech.prepare.pool import PreparePool
from worker.speech.speakers.choice import ModelChoice
from worker.speech.speakers.process import SpeakersProcess
from worker.speech.windows import FULL_POSITIONS
from worker.threads import SupervisedThread

if TYPE_CHECKING:
    from worker.speech.words.align import Aligner

__all__ = ["Engine", "EngineConfig", "build"]

MakeStages = Callable[[EngineConfig, Loaded, AddWindow], Sequence[WholeFileStage]]


def build(config: EngineConfig) -> Transcriber:
    """The transcriber that the configuration asks for, not yet started."""
    if config.transcriber == "standard":
        from worker.speech.engine.standard import StandardTranscriber

        return StandardTranscriber(config)
    return Engine(config)


@dataclass(frozen=True, slots=True)
class _Running:
    """The parts of a started engine."""

    loaded: Loaded
    shared: Shared
    decoder: Decoder
    feedback: Feedback
    router: WordRouter
    flow: Flow
    inflow: Inflow
    diarizing: Diarizing
    pool: PreparePool
    threads: tuple[SupervisedThread, ...]


class Engine(Transcriber):
    """See the module and `api.Transcriber`.

    Args:
        config: what to load and how to use it.
        load: loads the model; replaced in tests.
        guard: decides about short windows; replaced in tests.
        stages: makes the stages that look at whole files; replaced in tests.
        speakers: makes the process that tells speakers apart; replaced in tests.
    """

    def __init__(
        self,
        config: EngineConfig,
        *,
        load: Callable[[EngineConfig], Loaded] = load,
        guard: Guard | None = None,
        stages: MakeStages = stages_for,
        speakers: MakeProcess = process_for,
    ) -> None:
        self._config = config
        self._load = load
        self._stages = stages
        self._speakers = speakers
        self._guard = guard or Guard()
        self._starting = threading.Lock()
        self._stopped = False
        self._running: _Running | None = None

    # Start and stop.

    def start(self) -> None:
        """See `api.Transcriber`."""
        chosen = required(self._config)
        loaded = self._load(self._config)
        process = self._speakers(chosen, loaded.device) if chosen is not None else None
        try:
            if process is not None:
                # After Whisper: what is free of a card for batches has been measured by now, and of
                # that something is kept for this process.
                load_at_start(process)
            running = _assemble(loaded, self._guard, self._stages, self._speakers, process)
        except BaseException:
            if process is not None:
                process.stop()
            raise
        with self._starting:
            self._running = running
            if self._stopped:  # while the model was loading
                running.flow.stop()
                running.diarizing.stop()
                return
            running.pool.start()
            for thread in running.threads:
                thread.start()

    def stop(self) -> None:
        """See `api.Transcriber`."""
        with self._starting:
            self._stopped = True
            running = self._running
        if running is None:
            return
        running.flow.stop()
        running.diarizing.stop()
        running.pool.stop()
        running.diarizing.close()
        for thread in running.threads:
            thread.join()
        running.router.close()

    # What it is, and how it is.

    @property
    def loaded(self) -> Loaded:
        """The model and its device; for measurements, never to be called while files run."""
        return self._parts.loaded

    @property
    def info(self) -> EngineInfo:
        """See `api.Transcriber`."""
        return self._parts.loaded.info

    @property
    def fingerprint(self) -> str:
        """See `api.Transcriber`."""
        return self._parts.loaded.fingerprint

    @property
    def stats(self) -> EngineStats:
        """See `api.Transcriber`."""
        parts = self._parts
        with parts.shared.changed:
            return replace(
                parts.shared.stats,
                encoder_calls=parts.loaded.model.encoder_calls,
                encoded_windows=parts.loaded.model.encoded_windows,
                out_of_memory=parts.decoder.out_of_memory,
                waiting_windows=len(parts.shared.batcher),
            )

    def sample(self) -> EngineStats:
        """See `api.Transcriber`."""
        device = self._parts.loaded.device
        if not device.is_card:
            return self.stats
        used, total = memory_in_use(device)
        return replace(self.stats, gpu_used_bytes=used, gpu_bytes=total)

    def held_seconds(self) -> float:
        """See `api.Transcriber`."""
        running = self._running
        if running is None:
            return 0.0
        held = running.inflow.held_seconds()
        return max(held, self.most_held_seconds()) if running.diarizing.behind() else held

    def most_held_seconds(self) -> float:
        """See `api.Transcriber`."""
        if self._running is None:
            return most_held_seconds(self._config.held_seconds, 0)
        return self._running.inflow.most_held_seconds

    def last_progress(self) -> float | None:
        """See `api.Transcriber`."""
        if self._running is None:
            return None
        shared = self._running.shared
        with shared.changed:
            return shared.last_progress()

    def failure(self) -> BaseException | None:
        """See `api.Transcriber`."""
        return self._running.shared.failure if self._running is not None else None

    def idle(self) -> bool:
        """Whether no file is held and nothing is decoded, audits included."""
        if self._running is None:
            return True
        shared = self._running.shared
        with shared.changed:
            return shared.empty() and shared.device_idle()

    def children(self) -> list[int]:
        """Process ids of the prepare pool and of what tells speakers apart."""
        running = self._running
        return running.pool.children() + running.diarizing.children() if running else []

    # Files in.

    def check(self, options: Options) -> None:
        """See `api.Transcriber`."""
        self._parts.loaded.check(options)
        self._parts.diarizing.refuse_without(options)

    def submit(
        self,
        path: Path,
        options: Options,
        *,
        name: str,
        resume: Partial | None = None,
        alone: bool = False,
        scratch: Path | None = None,
    ) -> Submission:
        """See `api.Transcriber`."""
        parts = self._parts
        shared = parts.shared
        parts.loaded.check(options)
        folder = parts.diarizing.ensure(scratch) if options.diarize else None
        if not parts.loaded.model.multilingual:
            options = replace(options, language="en")
        carries = options.carry_context != "off"
        own = own_prompt(parts.loaded.model, options, carries=carries)
        kind, selection = kind_of(options), selection_of(options)

        def add(selection: Selection, kept: Partial | None, group: Group | None = None) -> File:
            file = self._file(parts, options, own, name=name, resume=kept, alone=alone, group=group)
            task = PrepareTask(
                path=str(path),
                done=done(file.state.kept),
                samples=file.word_times == "aligned",
                raw=options.raw,
                selection=selection,
                samples_file=None if folder is None else parts.diarizing.add(file, folder),
            )
            shared.files[file.number] = file
            parts.pool.submit(parts.inflow.feed(file, task))
            return file

        with shared.changed:
            if shared.failure is not None:
                raise EngineError(f"the engine has stopped: {shared.failure}")
            if shared.stopping:
                raise EngineError("the engine is stopped")
            if shared.empty():
                shared.step()
            if kind is None:
                return add(selection, resume)
            submission = ChannelSubmission(
                shared, kind, options.channel_labels, resume=resume, add=add
            )
            task = PrepareTask(str(path), raw=options.raw, selection=selection, survey=kind)
            shared.surveys.add(submission)
            parts.pool.submit(SurveyFeed(shared, submission, task))
            return submission

    @property
    def _parts(self) -> _Running:
        if self._running is None:
            raise RuntimeError("the engine is not started")
        return self._running

    @staticmethod
    def _file(
        parts: _Running,
        options: Options,
        own: OwnPrompt,
        *,
        name: str,
        resume: Partial | None,
        alone: bool,
        group: Group | None,
    ) -> File:
        loaded, model = parts.loaded, parts.loaded.model
        state = FileState(
            name=name,
            options=options,
            ladder=parts.feedback.ladder,
            own=own,
            prompting=carry.ON_CARD if loaded.device.is_card else carry.ON_CPU,
            resume=resume,
            stages_left={stage.name for stage in parts.inflow.stages},
            notes=list(own.notes),
        )
        return File(
            parts.flow,
            parts.shared.new_number(),
            state,
            start_length=model.start_length(),
            word_times=parts.router.mode_for(state),
            alone=alone,
            group=group,
        )


def _assemble(
    loaded: Loaded,
    guard: Guard,
    make_stages: MakeStages,
    make_speakers: MakeProcess,
    speakers: SpeakersProcess | None,
) -> _Running:
    """The parts of an engine around a loaded model, not yet started."""
    # Loading may have found that not all that was asked for can be had here.
    config = loaded.config
    mels = loaded.model.prepared_mels
    few = loaded.budget.few(carry.LENGTHS[-1] + loaded.model.start_length())
    shared = Shared(Batcher(config.max_wait, loaded.lanes, few, card=loaded.device.is_card))
    aligned = config.word_times == "aligned"
    decoder = Decoder(
        loaded.model,
        loaded.budget,
        beam_size=config.beam_size,
        probe=loaded.run_probe,
        taken=partial(beyond_reserve, loaded.device, ALIGN_BYTES if aligned else 0),
    )
    feedback = Feedback(config.context, guard, shared)
    router = WordRouter(config.word_times, _aligner(config, loaded), shared)
    flow = Flow(shared, feedback, router)
    stages = make_stages(config, loaded, flow.add_window)
    most = most_held_seconds(config.held_seconds, loaded.budget.capacity(FULL_POSITIONS))
    diarizing = Diarizing(
        ModelChoice(config), loaded.device, shared, flow, process=speakers, make=make_speakers
    )
    inflow = Inflow(
        shared,
        flow,
        most_held_seconds=most,
        mels=mels,
        stages=stages,
        decoded=diarizing.decoded,
    )
    pool = PreparePool(
        PrepareConfig(
            mels=mels,
            vad="silero" if config.vad == "silero" else "none",
            spans=asdict(SPANS),
            windows=asdict(WINDOWS),
            all_samples=bool(stages),
            max_audio_seconds=config.max_audio_seconds,
            memory_bytes=config.prepare_memory_bytes,
        ),
        workers=config.num_workers or children(loaded.device, usable_cores()),
        stall_seconds=config.prepare_stall_seconds,
        on_failure=flow.broken,
    )

    def died(name: str, error: BaseException) -> None:
        del name
        flow.broken(error)

    device = DeviceLoop(loaded.device, loaded.lanes, decoder, shared, flow, inflow)
    threads = [SupervisedThread(f"device-{n}", device.run, died) for n in range(loaded.lanes)]
    threads.append(SupervisedThread("texts", TextLoop(shared, flow).run, died))
    threads.append(SupervisedThread("align", router.run, died))
    return _Running(
        loaded, shared, decoder, feedback, router, flow, inflow, diarizing, pool, tuple(threads)
    )


def _aligner(config: EngineConfig, loaded: Loaded) -> Aligner | None:
    if config.word_times != "aligned":
        return None
    from worker.speech.words.align import Aligner

    return Aligner(str(loaded.device), model_dir=config.model_dir)
