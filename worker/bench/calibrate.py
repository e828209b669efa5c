"""What shorter encoder windows gain and cost, for a model and a folder: `--calibrate`.

The same windows are decoded with 30 s of encoder and with the speech plus each of some margins,
in coarse and in fine buckets, with the checks and the second pass that the worker has. Speech is
found once, before the clock starts: what is compared is decoding. The rows above are peers, each
with the seconds of a whole run on the same clips.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial

from worker.bench.loads import Clip
from worker.bench.machine import PeakMemory, resident_bytes
from worker.bench.wer import (
    Interval,
    errors_by_clip,
    normalize,
    paired_interval,
    word_error_rate,
)
from worker.errors import SettingsError
from worker.speech.api import Options
from worker.speech.config import SPANS, WINDOWS
from worker.speech.engine.context import BUCKET_SECONDS, adaptive_ladder, positions
from worker.speech.engine.state import FileState
from worker.speech.engine.window import Ladder, Rung, WindowState, full_ladder
from worker.speech.model.decoding import Request
from worker.speech.model.loaded import Model, silence
from worker.speech.prepare.frames import PrepareConfig, PrepareTask, read_window
from worker.speech.prepare.sound import Sound
from worker.speech.prepare.stages import Tools, prepare
from worker.speech.windows import FULL_POSITIONS, SAMPLE_RATE, Span

MARGINS = (5.0, 2.0, 1.0, 0.5)
"""Seconds of silence after the speech that are tried."""

FINE_BUCKETS = tuple(float(second) for second in range(2, 31))
"""An encoder length for every second, in place of the worker's few."""

FULL_NAME = "30 s, always"
"""The row that the others are compared with."""

OnRow = Callable[[str], None]
"""Called with the name of each row before it is measured."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A window as a child would send it.

    Attributes:
        clip: index of the clip that it was cut from.
        sound: what the model gets of it.
        samples: of speech in it, at 16 kHz.
    """

    clip: int
    sound: Sound
    samples: int


@dataclass(frozen=True, slots=True)
class PeerRun:
    """What another library made of the clips: the text of each, and the seconds it took."""

    name: str
    seconds: float
    texts: Sequence[str]


@dataclass(frozen=True, slots=True)
class Calibration:
    """One row: the figures of one way to choose encoder lengths.

    Attributes:
        name: of that way, or of the peer.
        seconds: of decoding; a peer's are of its whole run.
        speed: audio seconds per second of that.
        error_rate: word errors in a hundred.
        interval: against full windows, in points; None for those themselves.
        failed: short windows that failed their checks and were decoded again; None for a peer,
            which has neither.
    """

    name: str
    seconds: float
    speed: float
    error_rate: float
    interval: Interval | None
    failed: int | None


def check_clips(clips: Sequence[Clip]) -> None:
    """Whether there is something to compare over.

    Raises:
        SettingsError: there are no two clips with transcripts.
    """
    if len(clips) < 2 or not any(clip.reference for clip in clips):
        raise SettingsError(
            f"{len(clips)} clips: calibration needs at least two, and a transcripts.csv that says"
            " what is said in them"
        )


def calibrate(
    model: Model,
    clips: Sequence[Clip],
    *,
    language: str | None,
    beam_size: int,
    batch_positions: int,
    on_row: OnRow,
    peers: Sequence[PeerRun] = (),
) -> list[Calibration]:
    """Decodes the clips once in full and once for each margin and kind of buckets.

    The rows of `peers` come first, then full windows, then short ones. For clips, see
    `check_clips`.
    """
    windows, audio_seconds = prepare_clips(clips, model.prepared_mels)
    references = [normalize(clip.reference or "") for clip in clips]
    lengths = [len(reference) for reference in references]
    ladders: list[tuple[str, Ladder]] = []
    for margin in MARGINS:
        for kind, buckets in (("buckets", BUCKET_SECONDS), ("every second", FINE_BUCKETS)):
            ladders.append(
                (
                    f"speech + {margin:g} s, {kind}",
                    partial(adaptive_ladder, margin=margin, buckets=buckets),
                )
            )

    def errors(texts: Sequence[Sequence[str]]) -> list[int]:
        return [
            errors_by_clip([reference], text)[0]
            for reference, text in zip(references, texts, strict=True)
        ]

    def decode(name: str, ladder: Ladder) -> tuple[float, list[int], int]:
        on_row(name)
        began = time.perf_counter()
        texts, failed = decode_all(
            model,
            windows,
            ladder,
            language=language,
            beam_size=beam_size,
            batch_positions=batch_positions,
        )
        seconds = time.perf_counter() - began
        spoken: dict[int, list[str]] = defaultdict(list)
        for window, text in zip(windows, texts, strict=True):
            spoken[window.clip] += normalize(text)
        return seconds, errors([spoken[index] for index in range(len(clips))]), failed

    def row(
        name: str, seconds: float, errors: Sequence[int], against: Sequence[int], failed: int | None
    ) -> Calibration:
        return Calibration(
            name=name,
            seconds=seconds,
            speed=audio_seconds / seconds,
            error_rate=word_error_rate(lengths, errors),
            interval=None if errors is against else paired_interval(lengths, errors, against),
            failed=failed,
        )

    # The first call of each length loads kernels, or compiles them: that is no part of a row.
    for length in {positions(seconds) for seconds in BUCKET_SECONDS}:
        model.decode([silence()], positions=length, beam_size=beam_size, temperature=0.0)
    seconds, full, failed = decode(FULL_NAME, full_ladder)
    rows = [
        row(peer.name, peer.seconds, errors([normalize(text) for text in peer.texts]), full, None)
        for peer in peers
    ]
    rows.append(row(FULL_NAME, seconds, full, full, failed))
    for name, ladder in ladders:
        seconds, found, failed = decode(name, ladder)
        rows.append(row(name, seconds, found, full, failed))
    return rows


def prepare_clips(clips: Sequence[Clip], mels: int) -> tuple[list[Prepared], float]:
    """The clips' windows, as the worker cuts them; and their length.

    Args:
        clips: the recordings.
        mels: see `Model.prepared_mels`.
    """
    config = PrepareConfig(mels=mels, spans=asdict(SPANS), windows=asdict(WINDOWS))
    tools = Tools.load(config)
    found: list[Prepared] = []
    audio_seconds = 0.0
    for index, clip in enumerate(clips):
        for header, payload in prepare(PrepareTask(str(clip.path)), config, tools):
            if header["kind"] == "window":
                window = read_window(header, payload, mels)
                assert window.sound is not None
                samples = sum(span.length for span in window.spans)
                found.append(Prepared(index, window.sound, samples))
            elif header["kind"] == "end":
                audio_seconds += float(header["audio_seconds"])
    return found, audio_seconds


def decode_all(
    model: Model,
    windows: Sequence[Prepared],
    ladder: Ladder,
    *,
    language: str | None,
    beam_size: int,
    batch_positions: int,
) -> tuple[list[str], int]:
    """The windows' texts, each gone up its ladder; and how many short ones failed.

    Windows at the same rung share batches, longest first, up to so many encoder positions.
    """
    states: list[FileState] = []
    options = Options(language=language or "en", carry_context="off")
    for number, window in enumerate(windows):
        state = FileState(str(number), options, ladder)
        state.add_window(0, [Span(0, window.samples)], window.sound, None)
        state.end(window.samples / SAMPLE_RATE, {})
        states.append(state)
    failed = 0
    # A window may be divided while it is decoded.
    while waiting := [(state, index) for state in states for index in state.windows]:
        rungs: dict[Rung, list[tuple[FileState, int]]] = defaultdict(list)
        for state, index in waiting:
            rungs[state.windows[index].rung].append((state, index))
        rung = min(rungs, key=lambda rung: (rung.temperature, rung.positions))
        chosen = sorted(rungs[rung], key=lambda pair: -pair[0].windows[pair[1]].seconds)
        batch = chosen[: max(1, batch_positions // rung.positions)]
        decoded = model.decode(
            [_request(state.windows[index], language, rung) for state, index in batch],
            positions=rung.positions,
            beam_size=beam_size,
            temperature=rung.temperature,
        )
        for (state, index), outcome in zip(batch, decoded, strict=True):
            state.begin(index)
            step = state.decoded(index, outcome.with_words())
            failed += rung.positions < FULL_POSITIONS and bool(step.ready)
            if step.texts:
                state.words(index, ())
    return [state.recognition(None).text for state in states], failed


def _request(window: WindowState, language: str | None, rung: Rung) -> Request:
    assert window.sound is not None
    return Request(
        sound=window.sound,
        seconds=window.seconds,
        language=language,
        task="transcribe",
        # The check of a short window needs to know when its last word ends.
        want_words=rung.positions < FULL_POSITIONS,
    )


def batch_memory(
    model: Model,
    *,
    windows: int,
    positions: int,
    beam_size: int,
    read: Callable[[], int | None] = resident_bytes,
) -> int | None:
    """Bytes that one batch of silent windows adds at its peak; None if unknown.

    Memory that an earlier batch left with the allocator isn't seen: measure small ones first.
    """
    request = silence()
    before = read()
    with PeakMemory(read) as memory:
        model.decode([request] * windows, positions=positions, beam_size=beam_size, temperature=0.0)
    return None if memory.bytes is None or before is None else memory.bytes - before


def memory_table(
    model: Model, *, windows: int, beam_size: int, read: Callable[[], int | None]
) -> str:
    """What a batch of 6 s windows takes beside one of 30 s windows, as a table."""
    lines = [f"| a batch of {windows} windows | encoder positions | peak memory |", "|---|---|---|"]
    for name, seconds in (("6 s of speech", 6.0), ("30 s", 30.0)):
        length = positions(seconds)
        try:
            taken = batch_memory(
                model, windows=windows, positions=length, beam_size=beam_size, read=read
            )
        except RuntimeError as error:
            lines.append(f"| {name} | {windows} x {length} | failed: {error} |")
            continue
        shown = (
            "not measured: this system doesn't show it" if taken is None else f"{taken >> 20} MiB"
        )
        lines.append(f"| {name} | {windows} x {length} | {shown} |")
    return "\n".join(lines) + "\n"


def to_markdown(rows: Sequence[Calibration]) -> str:
    """The table, and what its columns mean."""
    audio_seconds = rows[0].seconds * rows[0].speed
    lines = [
        f"{audio_seconds:.0f} s of audio; decoding alone, but a peer's whole run.",
        "",
        "| encoder window | seconds | audio s per s | word error rate | points against 30 s (95 %) "
        "| failed checks |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        against = (
            "-"
            if row.interval is None
            else f"{row.interval.difference:+.2f} ({row.interval.low:+.2f} to "
            f"{row.interval.high:+.2f})"
        )
        lines.append(
            f"| {row.name} | {row.seconds:.1f} | {row.speed:.1f} | {row.error_rate:.2f} | "
            f"{against} | {'-' if row.failed is None else row.failed} |"
        )
    return "\n".join(lines) + "\n"
