"""Sets of recordings by kind, made from clips whose text is known (pure).

Each kind is something that recordings have and clean clips have not. `make_set` makes the files
of one kind; the same clips and the same seed give the same files.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from worker.bench import kinds
from worker.bench.phrases import find_phrases
from worker.results.transcript import Word
from worker.speech.windows import SAMPLE_RATE

__all__ = ["KINDS", "Source", "make_set"]

Samples = NDArray[np.float32]

EDGE_SECONDS = 0.5
"""Of background before and after a phrase, at most: recorders start early and stop late."""

PHRASE_SECONDS = (0.4, 2.5)

SHORT_PHRASE_SECONDS = 1.3
"""Every second phrase is no longer than this, where a clip has one: single words, mostly."""


@dataclass(frozen=True, slots=True)
class Source:
    """One clip, or one file of a set.

    Attributes:
        name: without suffix.
        samples: float32 at 16 kHz.
        text: what is said.
        reader: who reads.
        words: with their times in seconds, if it was aligned; else none.
    """

    name: str
    samples: Samples
    text: str
    reader: str = ""
    words: tuple[Word, ...] = ()

    @property
    def seconds(self) -> float:
        """Its length."""
        return len(self.samples) / SAMPLE_RATE


_Maker = Callable[[Sequence[Source], np.random.Generator], Iterator[Source]]


def make_set(kind: str, clips: Sequence[Source], count: int, seed: int = 0) -> list[Source]:
    """The files of one kind.

    Args:
        kind: one of `KINDS`.
        clips: what they are made from.
        count: files at most; some kinds find fewer.
        seed: of all that is random.

    Raises:
        KeyError: there is no such kind.
    """
    rng = np.random.default_rng([seed, zlib.crc32(kind.encode())])
    order = rng.permutation(len(clips))
    return list(islice(KINDS[kind]([clips[index] for index in order], rng), count))


def _clips(clips: Sequence[Source], rng: np.random.Generator) -> Iterator[Source]:
    yield from clips


def _pauses(clips: Sequence[Source], rng: np.random.Generator) -> Iterator[Source]:
    """Pauses of 1.2 to 4 s at natural gaps, with the recording's own background in them."""
    for clip, places, seconds in _paused(clips, rng):
        length = sum(round(one * SAMPLE_RATE) for one in seconds)
        fill = kinds.room_tone(clip.samples, length, rng)
        yield _as(clip, kinds.insert_pauses(clip.samples, places, seconds, fill))


def _pauses_digital(clips: Sequence[Source], rng: np.random.Generator) -> Iterator[Source]:
    """The same with nothing but zeros in the pauses, as conference systems send."""
    for clip, places, seconds in _paused(clips, rng):
        yield _as(clip, kinds.insert_pauses(clip.samples, places, seconds))


def _paused(
    clips: Sequence[Source], rng: np.random.Generator
) -> Iterator[tuple[Source, list[int], list[float]]]:
    """Clips with gaps, and where how long a pause goes: up to five, at a second from another."""
    for clip in clips:
        places: list[int] = []
        for gap in kinds.find_gaps(clip.samples):
            if gap.middle - (places[-1] if places else 0) >= SAMPLE_RATE:
                places.append(gap.middle)
        if not places:
            continue
        most = min(len(places), 5)
        chosen = sorted(rng.choice(places, int(rng.integers(1, most + 1)), replace=False).tolist())
        yield clip, chosen, [float(rng.uniform(1.2, 4.0)) for _ in chosen]


def _words(clips: Sequence[Source], rng: np.random.Generator) -> Iterator[Source]:
    """Single words and short phrases, one of each clip."""
    number = 0
    for clip in clips:
        found = find_phrases(clip.samples, clip.words, *PHRASE_SECONDS)
        short = [one for one in found if one.end - one.start < SHORT_PHRASE_SECONDS * SAMPLE_RATE]
        if not found:
            continue
        choice = short if short and number % 2 == 0 else found
        phrase = choice[int(rng.integers(len(choice)))]
        before, after = (rng.uniform(0.0, EDGE_SECONDS, 2) * SAMPLE_RATE).astype(int)
        tone = kinds.room_tone(clip.samples, int(before + after), rng)
        cut = clip.samples[phrase.start : phrase.end]
        yield _as(clip, np.concatenate([tone[:before], cut, tone[before:]]), phrase.text)
        number += 1


def _quiet(clips: Sequence[Source], rng: np.random.Generator) -> Iterator[Source]:
    """All of it with its peak at -40 to -60 dB."""
    for clip in clips:
        yield _as(clip, kinds.at_peak(clip.samples, -float(rng.uniform(40.0, 60.0))))


def _quiet_second(clips: Sequence[Source], rng: np.random.Generator) -> Iterator[Source]:
    """Two readers, the second 20 to 40 dB lower."""
    for first, second in _pairs(clips):
        low = kinds.quieter(second.samples, float(rng.uniform(20.0, 40.0)), first.samples)
        joined = kinds.join([first.samples, low], [float(rng.uniform(0.5, 3.0))])
        yield Source(f"{first.name}_{second.name}", joined, f"{first.text} {second.text}")


def _noise(clips: Sequence[Source], rng: np.random.Generator) -> Iterator[Source]:
    """White and pink noise, 20, 10 and 5 dB below the speech, in turn."""
    colours: tuple[kinds.Colour, ...] = ("white", "pink")
    steps = [(snr, colour) for snr in (20.0, 10.0, 5.0) for colour in colours]
    for number, clip in enumerate(clips):
        snr, colour = steps[number % len(steps)]
        noisy = kinds.add_noise(clip.samples, snr, colour, rng)
        yield Source(f"{clip.name}_{colour}{snr:.0f}", noisy, clip.text)


def _telephone(clips: Sequence[Source], rng: np.random.Generator) -> Iterator[Source]:
    """Over a telephone line."""
    for clip in clips:
        yield _as(clip, kinds.telephone(clip.samples))


def _reverb(clips: Sequence[Source], rng: np.random.Generator) -> Iterator[Source]:
    """Far away in a room: RT60 of 0.4 to 0.9 s, the echo up to 6 dB stronger than the voice."""
    for clip in clips:
        decay, direct = float(rng.uniform(0.4, 0.9)), float(rng.uniform(-6.0, 3.0))
        far = kinds.reverberate(clip.samples, decay, direct, rng)
        yield _as(clip, kinds.add_noise(far, 30.0, "pink", rng))


def _two_sentences(clips: Sequence[Source], rng: np.random.Generator) -> Iterator[Source]:
    """Two clips of one reader, 2 to 3.5 s apart."""
    waiting: dict[str, Source] = {}
    for second in clips:
        first = waiting.pop(second.reader, None)
        if first is None:
            waiting[second.reader] = second
            continue
        joined = kinds.join([first.samples, second.samples], [float(rng.uniform(2.0, 3.5))])
        yield Source(f"{first.name}_{second.name}", joined, f"{first.text} {second.text}")


def _speakers(clips: Sequence[Source], rng: np.random.Generator) -> Iterator[Source]:
    """Two readers in turns, four to six, 0.2 to 1.5 s apart."""
    pairs = _pairs(clips)
    while turns := list(islice(pairs, int(rng.integers(2, 4)))):
        parts = [part for pair in turns for part in pair]
        seconds = [float(rng.uniform(0.2, 1.5)) for _ in parts[1:]]
        # Equally loud: how loud a reader is belongs to another kind.
        level = [kinds.quieter(part.samples, 0.0, parts[0].samples) for part in parts]
        text = " ".join(part.text for part in parts)
        yield Source(f"{parts[0].name}_{len(parts)}", kinds.join(level, seconds), text)


def _repeats(clips: Sequence[Source], rng: np.random.Generator) -> Iterator[Source]:
    """A clip said twice, 1 to 3 s apart: what repeats is right here."""
    for clip in clips:
        joined = kinds.join([clip.samples] * 2, [float(rng.uniform(1.0, 3.0))])
        yield _as(clip, joined, f"{clip.text} {clip.text}")


def _pairs(clips: Sequence[Source]) -> Iterator[tuple[Source, Source]]:
    """Clips of two readers; with one reader's clips alone, pairs of those."""
    readers = list(dict.fromkeys(clip.reader for clip in clips))
    if len(readers) < 2:
        yield from zip(clips[::2], clips[1::2], strict=False)
        return
    ones = [clip for clip in clips if clip.reader == readers[0]]
    others = [clip for clip in clips if clip.reader != readers[0]]
    yield from zip(ones, others, strict=False)


def _as(clip: Source, samples: Samples, text: str | None = None) -> Source:
    return Source(clip.name, samples, clip.text if text is None else text)


KINDS: dict[str, _Maker] = {
    "clips": _clips,
    "pauses": _pauses,
    "pauses-digital": _pauses_digital,
    "words": _words,
    "quiet": _quiet,
    "quiet-second": _quiet_second,
    "noise": _noise,
    "telephone": _telephone,
    "reverb": _reverb,
    "two-sentences": _two_sentences,
    "speakers": _speakers,
    "repeats": _repeats,
}
"""What makes the files of each kind. `words` needs clips that are aligned."""
