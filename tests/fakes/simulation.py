"""Hours of jobs through the engine on a simulated card, in seconds: time is a number.

Everything between the prepare pool and the model is the real engine: what is held, batches,
prompts, second attempts, looks, audits. Children and card are simulated, and tell how long they
take (`card`). One thread does it all, event by event.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count

import numpy as np

from tests.fakes.card import BEAM, Card, SimulatedCard
from worker.daemon.policy import lease_bound, room
from worker.results.speakers import Diarization
from worker.speech.api import EngineStats, Options
from worker.speech.config import EngineConfig
from worker.speech.engine import carry
from worker.speech.engine.batcher import Batcher
from worker.speech.engine.decoder import Decoder
from worker.speech.engine.device_loop import DeviceLoop
from worker.speech.engine.feedback import Feedback
from worker.speech.engine.file import File
from worker.speech.engine.flow import Flow
from worker.speech.engine.guard import Guard
from worker.speech.engine.inflow import FileFeed, Inflow, most_held_seconds
from worker.speech.engine.own_prompt import NONE, OwnPrompt
from worker.speech.engine.shared import Shared
from worker.speech.engine.state import FileState
from worker.speech.engine.text_loop import TextLoop
from worker.speech.engine.word_router import WordRouter
from worker.speech.model.choices import Device, children
from worker.speech.prepare.frames import PrepareTask, end_frame
from worker.speech.prepare.pool import PAUSED_CHILDREN
from worker.speech.windows import FULL_POSITIONS, SAMPLE_RATE

PREPARED = 500.0
"""Seconds of audio that a child makes windows of in a second (one core of 2 GHz or more)."""

CALL_SECONDS = 0.01
"""Of the host for each call, while the card waits."""

DIARIZED = {"T4": 88.0, "L4": 160.0, "H100": 350.0}
"""Seconds of audio in a second of which a card can tell who speaks. Reckoned, not measured: on a T4
by what the models compute, on an H100 by what pyannote says of it, and that each chunk is looked at
once for all who speak in it (`worker/speech/speakers/README.md`)."""

CHUNK_SECONDS = 10.0
"""Seconds of audio that are looked at for who speaks, at the least: a shorter file is one chunk."""

READ_SECONDS = 0.0007
"""Of the host to read a window's text, beside what the card does: 0.36 ms for what follows from a
text, and 0.022 ms for each word that is timed (measured on a processor of 2 GHz)."""


class Clock:
    """The time, and what is to happen when."""

    def __init__(self) -> None:
        self.now = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()

    def __call__(self) -> float:
        return self.now

    def after(self, seconds: float, event: Callable[[], None]) -> None:
        """Lets something happen later."""
        heapq.heappush(self._events, (self.now + seconds, next(self._numbers), event))

    def advance(self, seconds: float) -> None:
        """Lets time pass, and happen what is due meanwhile."""
        end = self.now + seconds
        while self._events and self._events[0][0] <= end:
            self.now, _, event = heapq.heappop(self._events)
            event()
        self.now = end

    def next_event(self) -> float | None:
        """Seconds to the next thing that is to happen; None if there is nothing."""
        return self._events[0][0] - self.now if self._events else None


@dataclass(frozen=True)
class Report:
    """What a run came to.

    Attributes:
        seconds: of simulated time.
        audio: seconds of audio that were answered.
        busy: share of the time that the card decoded.
        fill: windows decoded, by those that their batches had room for.
        windows: of all files that have a text.
        held: the most jobs that were held at once.
        stats: the engine's counters.
    """

    seconds: float
    audio: float
    busy: float
    fill: float
    windows: int
    held: int
    stats: EngineStats

    def __str__(self) -> str:
        speed = self.audio / self.seconds
        return (
            f"{self.audio:8.0f} s of audio in {self.seconds:7.1f} s: {speed:5.0f} a second, "
            f"{self.stats.batches} batches, fill {self.fill:.3f}, busy {self.busy:.3f}"
        )


@dataclass
class _Child:
    """A child process: which file it prepares, and how many windows of it are sent."""

    number: int
    feed: FileFeed
    windows: Iterator[tuple[int, float]]
    length: float
    waiting: tuple[int, float] | None = None


@dataclass
class Simulation:
    """The engine of a worker on a card.

    Args:
        card: the simulated one.
        config: of the engine.
        prepared: seconds of audio that a child makes windows of in a second.
        doubted: see `SimulatedCard`.
        words_fail: see `SimulatedCard`.
        free: see `SimulatedCard`.
        diarize: whether a job, by its number, asks who speaks.
        diarized: seconds of audio in a second of which that is told; 0: as reckoned for the card.
    """

    card: Card
    config: EngineConfig = field(default_factory=EngineConfig)
    prepared: float = PREPARED
    diarize: Callable[[int], bool] = lambda _: False
    diarized: float = 0.0
    doubted: float = 0.03
    words_fail: bool = False
    free: int | None = None

    def __post_init__(self) -> None:
        self.clock = Clock()
        self.spent = 0.0
        self._read_until = 0.0
        budget = self.card.budget()
        few = budget.few(carry.LENGTHS[-1] + 4)
        self.shared = Shared(Batcher(self.config.max_wait, few=few, card=True), clock=self.clock)
        self.model = SimulatedCard(
            self.card,
            self._spend,
            doubted=self.doubted,
            words_fail=self.words_fail,
            free=self.free,
        )
        self.feedback = Feedback(self.config.context, Guard(), self.shared)
        self.flow = Flow(self.shared, self.feedback, WordRouter("none", None, self.shared))
        most = most_held_seconds(self.config.held_seconds, budget.capacity(FULL_POSITIONS))
        self.inflow = Inflow(
            self.shared, self.flow, most_held_seconds=most, mels=0, decoded=self._decoded
        )
        self.decoder = Decoder(self.model, budget, beam_size=BEAM, probe=lambda: None)
        kind = Device("cuda", 0, self.card.name)
        self.device = DeviceLoop(kind, 1, self.decoder, self.shared, self.flow, self.inflow)
        self.texts = TextLoop(self.shared, self.flow)
        self._leases = lease_bound(self.config.batch_size)
        self._children = self.config.num_workers or children(kind, self.card.cores)
        self._queue: deque[tuple[float, ...]] = deque()
        self._opened: deque[_Child] = deque()
        self._working = 0
        self._paused: list[_Child] = []
        self._files: list[File] = []
        self._only_speakers: set[int] = set()
        self._most_held = 0
        self._diarized_until = 0.0

    def run(
        self,
        jobs: Sequence[tuple[float, ...]],
        own: Callable[[int], OwnPrompt] = lambda _: NONE,
    ) -> Report:
        """Transcribes files.

        Args:
            jobs: each the seconds of speech in its windows.
            own: the part that a job, by its number, has in its prompts.
        """
        self._own = own
        self._queue.extend(jobs)
        self._take()
        while self._queue or self.shared.files:
            flight = self.device.take()
            if flight is not None:
                self.clock.advance(CALL_SECONDS)
                self.device.decode(flight)
                self._read(len(flight.batch.items))
            else:
                self.clock.advance(max(1e-4, self._idle_seconds()))
            self._resume()
            self._take()
        found = [file.future.result(0) for file in self._files]
        stats = self.shared.stats
        return Report(
            seconds=self.clock.now,
            audio=sum(each.audio_seconds for each in found),
            busy=self.spent / self.clock.now,
            fill=stats.windows / stats.batch_slots,
            windows=sum(len(each.segments) for each in found),
            held=self._most_held,
            stats=stats,
        )

    def _read(self, windows: int) -> None:
        """Has the text thread read a batch, after those that it reads already."""
        self._read_until = max(self.clock.now, self._read_until) + READ_SECONDS * windows
        self.clock.after(self._read_until - self.clock.now, self.texts.read)

    def _idle_seconds(self) -> float:
        """Until something happens, or a batch goes because its windows have waited long enough."""
        wait = None if self.shared.unread else self.shared.batcher.wait_seconds(self.clock.now)
        times = (self.clock.next_event(), wait)
        return min((time for time in times if time is not None), default=0.0)

    def _spend(self, seconds: float) -> None:
        self.spent += seconds
        self.clock.advance(seconds)

    # The intake: jobs are taken one at a time while `daemon.policy.room` wants any.

    def _take(self) -> None:
        while self._queue and room(
            held_seconds=self.inflow.held_seconds(),
            limit_seconds=self.inflow.most_held_seconds,
            leases=len(self.shared.files),
            max_leases=self._leases,
            suspects=0,
            only_speakers=len(self._only_speakers),
        ):
            windows = self._queue.popleft()
            state = FileState(
                f"job-{len(self._files)}",
                Options(language="en", words=False),
                self.feedback.ladder,
                own=self._own(len(self._files)),
                prompting=carry.ON_CARD,
            )
            file = File(
                self.flow,
                self.shared.new_number(),
                state,
                start_length=4,
                word_times="none",
            )
            state.speakers_left = self.diarize(len(self._files))
            file.on_text_done(partial(self._only_speakers.add, file.number))
            self._files.append(file)
            self.shared.files[file.number] = file
            self._most_held = max(self._most_held, len(self.shared.files))
            feed = self.inflow.feed(file, PrepareTask("-"))
            self._opened.append(
                _Child(file.number % 30_000, feed, iter(enumerate(windows)), sum(windows))
            )
        self._start_children()

    # One process tells speakers apart, in one file after the other.

    def _decoded(self, file: File) -> None:
        if file.state.speakers_left:
            seconds = max(CHUNK_SECONDS, file.state.audio_seconds or 0.0)
            seconds /= self.diarized or DIARIZED[self.card.name]
            self._diarized_until = max(self.clock.now, self._diarized_until) + seconds
            self.clock.after(self._diarized_until - self.clock.now, lambda: self._told(file))

    def _told(self, file: File) -> None:
        with self.flow.lock:
            self._only_speakers.discard(file.number)
            file.state.speakers_told(Diarization("simulated", (), ()))
            self.flow.finish_if_done(file)

    # The prepare pool: a child whose file has no room is paused, and another works in its place.

    def _start_children(self) -> None:
        while self._opened and self._working < self._children:
            if len(self._paused) >= PAUSED_CHILDREN:
                return
            self._working += 1
            self._go_on(self._opened.popleft())

    def _go_on(self, child: _Child) -> None:
        child.waiting = next(child.windows, None)
        seconds = 0.1 if child.waiting is None else child.waiting[1]
        self.clock.after(seconds / self.prepared, lambda: self._made(child))

    def _made(self, child: _Child) -> None:
        if child.waiting is None:
            child.feed.frame(*end_frame(child.length, 1.0, {}))
            self._working -= 1
        elif not child.feed.has_room():
            self._working -= 1
            self._paused.append(child)
        else:
            self._send(child)
            self._go_on(child)
            return
        self._start_children()

    def _send(self, child: _Child) -> None:
        assert child.waiting is not None
        index, seconds = child.waiting
        begins = 30 * SAMPLE_RATE * index
        spans = [[begins, begins + round(seconds * SAMPLE_RATE)]]
        header = {"kind": "window", "index": index, "spans": spans, "speech": [[]], "frames": 0}
        sound = np.array([child.number, index], dtype=np.int16)
        child.feed.frame(header, sound.tobytes())

    def _resume(self) -> None:
        for child in list(self._paused):
            if self._working < self._children and child.feed.has_room():
                self._paused.remove(child)
                self._working += 1
                self._send(child)
                self._go_on(child)


def jobs_of_seconds(count: int) -> list[tuple[float, ...]]:
    """Short files: 3 to 6 s of speech each."""
    chance = random.Random(1)
    return [(round(chance.uniform(3.0, 6.0), 2),) for _ in range(count)]


def mixed_jobs(count: int) -> list[tuple[float, ...]]:
    """Files of one to forty windows; half of them have one."""
    chance = random.Random(2)
    lengths = chance.choices([1, 2, 3, 5, 10, 40], weights=[6, 2, 1, 1, 1, 1], k=count)
    return [
        (*(_window(chance) for _ in range(length - 1)), round(chance.uniform(2.0, 29.0), 2))
        for length in lengths
    ]


def long_jobs(count: int) -> list[tuple[float, ...]]:
    """Files of two hours."""
    chance = random.Random(3)
    return [tuple(_window(chance) for _ in range(290)) for _ in range(count)]


def _window(chance: random.Random) -> float:
    return round(chance.uniform(20.0, 29.0), 2)
