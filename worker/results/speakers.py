"""Who speaks: turns of speakers -> the speaker of each word and segment (pure)."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, product
from typing import NamedTuple

from worker.results.plural import counted
from worker.results.speech_times import Stretch
from worker.results.transcript import Segment, Speaker, Turn, Word

__all__ = ["Diarization", "Heard", "Voice", "notes_of_bounds"]

_DECIMALS = 3
"""Times are rounded to milliseconds, as those of words."""

_SHORTEST = 0.09
"""Seconds of speech, or of a pause. No syllable is shorter, and the stop within a consonant such as
t or k is hardly longer. What a diarizer finds of less is a frame or a few that it was unsure of,
mostly where others begin or end."""


class Voice(NamedTuple):
    """A stretch in which one voice is heard.

    Attributes:
        start: in seconds of the audio.
        end: in seconds of the audio.
        speaker: what the diarizer calls it, which says nothing of the order of speakers.
    """

    start: float
    end: float
    speaker: str


@dataclass(frozen=True, slots=True)
class Diarization:
    """Who speaks when, as a diarizer found it.

    Attributes:
        diarizer: what found it, for `EngineInfo.diarizer`.
        voices: in order of start; those of two speakers may overlap.
        exclusive: the same with one speaker at a time: by these the speakers of words are told.
    """

    diarizer: str
    voices: tuple[Voice, ...]
    exclusive: tuple[Voice, ...]


class Heard:
    """Who is heard when, by the labels that speakers have in a result.

    Labels go by who is heard first, whether or not words were made of it: so every turn has one,
    and the labels stay the same however the text is decoded. What is too short to be speech is no
    turn, and what is too short to be a pause ends none.

    Args:
        diarization: what a diarizer found.
        audio_seconds: length of the audio; what lies outside of it is left out.

    Attributes:
        turns: in order of start, in milliseconds; those of two speakers may overlap.
    """

    def __init__(self, diarization: Diarization, audio_seconds: float) -> None:
        voices = _lasting(_inside(diarization.voices, audio_seconds))
        labels = _labels(voices)
        self.turns = tuple(
            Turn(speaker=labels[speaker], start=start, end=end) for start, end, speaker in voices
        )
        self._labels = tuple(labels.values())
        self._all = _InOrder(voices, labels)
        self._alone = _InOrder(filter(_lasts, sorted(diarization.exclusive)), labels)

    def speaker(self, stretches: Sequence[Stretch]) -> str | None:
        """Who is heard for most of some stretches; None if nobody is heard in any.

        One of no length has the speaker in whose turn it lies.
        """
        # Who is louder only for a moment isn't in the first, but others may not be either.
        seconds = self._alone.within(stretches) or self._all.within(stretches)
        return max(seconds, key=seconds.__getitem__, default=None)

    def during(self, word: Word) -> frozenset[str]:
        """All who are heard for half of a word or more, whoever is louder."""
        half = (word.end - word.start) / 2
        seconds = self._all.within([(word.start, word.end)])
        return frozenset(speaker for speaker, heard in seconds.items() if heard >= half)

    def told(self, window: Segment) -> Segment:
        """A window with the speakers of its words, and the speaker of most of it."""
        words = [
            word.model_copy(update={"speaker": self.speaker([(word.start, word.end)])})
            for word in window.words
        ]
        speaker = _of_words(words) or self.speaker(_stretches(window))
        return window.model_copy(update={"words": tuple(words), "speaker": speaker})

    def labelled(self, segment: Segment) -> Segment:
        """A segment with its speaker: that of its words, or of its speech where words are missing.

        Args:
            segment: with the speakers of its words. Where words don't spell the text it may not
                have been cut between two speakers: then all are given to who says most.
        """
        speaker = _of_words(segment.words)
        if speaker is None and (segment.speech or not segment.words):
            speaker = self.speaker(_stretches(segment))
        words = tuple(
            word
            if word.speaker in (speaker, None)
            else word.model_copy(update={"speaker": speaker})
            for word in segment.words
        )
        return segment.model_copy(update={"words": words, "speaker": speaker})

    def speakers(self, segments: Iterable[Segment]) -> tuple[Speaker, ...]:
        """All who are heard, in order of their labels, with what they say in some segments."""
        words = Counter(word.speaker for segment in segments for word in segment.words)
        turns: dict[str, list[Turn]] = {label: [] for label in self._labels}
        for turn in self.turns:
            turns[turn.speaker].append(turn)
        return tuple(
            Speaker(
                label=label,
                seconds=round(sum(turn.end - turn.start for turn in own), _DECIMALS),
                turns=len(own),
                words=words[label],
            )
            for label, own in turns.items()
        )


class _InOrder:
    """Voices in order of start, found by their time.

    Each speaker's by themselves: those of several overlap, and one that lasts for hours would be in
    the way of all others.

    Args:
        voices: in order of start.
        labels: of speakers; others are left out.
    """

    def __init__(self, voices: Iterable[Voice], labels: Mapping[str, str]) -> None:
        own: dict[str, list[Voice]] = {label: [] for label in labels.values()}
        for voice in voices:
            if voice.speaker in labels:
                own[labels[voice.speaker]].append(voice)
        self._own = [
            (label, voices, list(accumulate((voice.end for voice in voices), max)))
            for label, voices in own.items()
        ]

    def within(self, stretches: Iterable[Stretch]) -> dict[str, float]:
        """Who is heard in some stretches, and for how many seconds of them.

        In one of no length they are 0, of who is heard then.
        """
        seconds: defaultdict[str, float] = defaultdict(float)
        for (start, end), (label, voices, reached) in product(stretches, self._own):
            for number in range(bisect_left(reached, start), len(voices)):
                voice = voices[number]
                if voice.start > end:
                    break
                shared = min(end, voice.end) - max(start, voice.start)
                if shared > 0 or shared == 0 == end - start:
                    seconds[label] += shared
        return seconds


def notes_of_bounds(
    diarization: Diarization, *, min_speakers: int | None, max_speakers: int | None
) -> tuple[str, ...]:
    """The note of a result that has fewer speakers, or more, than the job asked for."""
    found = len({voice.speaker for voice in _lasting(diarization.voices)})
    verb = "was" if found == 1 else "were"
    if min_speakers is not None and found < min_speakers:
        return (f"min_speakers = {min_speakers}, but {counted(found, 'speaker')} {verb} found.",)
    if max_speakers is not None and found > max_speakers:
        return (f"max_speakers = {max_speakers}, but {counted(found, 'speaker')} {verb} found.",)
    return ()


def _inside(voices: Iterable[Voice], audio_seconds: float) -> list[Voice]:
    """What lies inside the audio, in milliseconds, in order of start."""
    rounded = [
        voice._replace(
            start=max(round(voice.start, _DECIMALS), 0.0),
            end=min(round(voice.end, _DECIMALS), audio_seconds),
        )
        for voice in sorted(voices)
    ]
    return [voice for voice in rounded if voice.start < voice.end]


def _lasting(voices: Iterable[Voice]) -> list[Voice]:
    """The turns that are speech, each of them whole, in order of start.

    Args:
        voices: in order of start.
    """
    turns: defaultdict[str, list[Voice]] = defaultdict(list)
    for voice in voices:
        own = turns[voice.speaker]
        if own and round(voice.start - own[-1].end, _DECIMALS) < _SHORTEST:
            own[-1] = own[-1]._replace(end=max(own[-1].end, voice.end))
        else:
            own.append(voice)
    return sorted(filter(_lasts, chain.from_iterable(turns.values())))


def _lasts(voice: Voice) -> bool:
    """Whether it may be speech."""
    return round(voice.end - voice.start, _DECIMALS) >= _SHORTEST


def _labels(voices: Iterable[Voice]) -> dict[str, str]:
    """The label of each speaker, in order of first speech."""
    found = list(dict.fromkeys(voice.speaker for voice in voices))
    digits = max(2, len(str(len(found) - 1)))
    return {speaker: f"SPEAKER_{number:0{digits}}" for number, speaker in enumerate(found)}


def _stretches(segment: Segment) -> Sequence[Stretch]:
    return segment.speech or ((segment.start, segment.end),)


def _of_words(words: Iterable[Word]) -> str | None:
    """Who says most of some words, by their length; None if nobody is heard to say any."""
    seconds: defaultdict[str, float] = defaultdict(float)
    for word in words:
        if word.speaker:
            seconds[word.speaker] += word.end - word.start
    return max(seconds, key=seconds.__getitem__, default=None)
