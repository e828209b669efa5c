"""The results of a file's channels, or tracks, put together as the result of the file (pure).

Each was transcribed on its own. One that holds the same samples as another before it was not: in
the result it has that one's language and seconds of speech, and no text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, count, pairwise
from typing import Literal

from worker.results.transcript import Channel, Language, Segment
from worker.speech.api import Recognition
from worker.speech.engine.window_languages import seconds_by_language
from worker.speech.media.selection import Kind, Survey, Surveyed

__all__ = ["labels", "labels_note", "merged", "progress"]

_STEMS: Mapping[Kind, str] = {"channels": "ch", "tracks": "track"}
"""What labels begin with where the job gives none; those of channels are Amazon Transcribe's."""


_PAUSE_SECONDS = 1.0
"""A shorter pause belongs to speech, as it does for the speech detector: silence of 0.16 s between
stretches of speech, each with 0.4 s more on either side (`config.SPANS`)."""


def labels(given: Sequence[str], channels: Sequence[Surveyed], kind: Kind) -> tuple[str, ...]:
    """What channels, or tracks, are called; each another name.

    Args:
        given: by the job, in their order; there may be too few, or too many.
        channels: what was surveyed.
        kind: what they are.
    """
    used = list(given[: len(channels)])
    for position in range(len(used), len(channels)):
        selection = channels[position].selection
        number = selection.channel if kind == "channels" else selection.stream
        plain = f"{_STEMS[kind]}_{position if number is None else number}"
        names = chain([plain], (f"{plain}_{other}" for other in count(2)))
        used.append(next(name for name in names if name not in used))
    return tuple(used)


def labels_note(given: Sequence[str], found: int, kind: Kind) -> tuple[str, ...]:
    """A note where more labels are given than there are channels, or tracks."""
    if len(given) <= found:
        return ()
    left = ", ".join(map(repr, given[found:]))
    return (
        f"channel_labels names {len(given)} {kind}, and the file has {found}: not used: {left}",
    )


def progress(
    files: Sequence[tuple[float, float | None]], stated_seconds: float | None
) -> tuple[float, float | None]:
    """(seconds of the file that are done, its length if known).

    The length is that of the longest channel. What is done is the same share of it as of all
    channels together: they go through the engine one after the other rather than side by side, so
    the least of them would stand still until the last one's turn.

    Args:
        files: the same of each channel that is transcribed.
        stated_seconds: the file's length according to its header, if that says one.
    """
    lengths = [length for _, length in files if length is not None]
    longest = max(lengths, default=stated_seconds)
    done = sum(seconds for seconds, _ in files)
    if not files or longest is None:
        return done / max(1, len(files)), longest
    # One whose length isn't known yet is taken to be as long as the longest.
    whole = sum(lengths) + longest * (len(files) - len(lengths))
    return (done / whole * longest if whole else 0.0), longest


def merged(
    survey: Survey,
    names: Sequence[str],
    kind: Kind,
    recognitions: Mapping[int, Recognition],
    notes: Sequence[str] = (),
) -> Recognition:
    """The result of the file.

    Args:
        survey: of the file.
        names: the labels of what it found.
        kind: what they are.
        recognitions: the results of those that were transcribed, by position.
        notes: for the result, beside those of the survey and of the channels.
    """
    found = list(recognitions.values())
    segments = [
        segment.model_copy(update={"channel": names[position]})
        for position, recognition in recognitions.items()
        for segment in recognition.segments
    ]
    segments.sort(key=lambda segment: segment.start)
    languages = seconds_by_language(share for each in found for share in each.languages)
    stages = [survey.seconds, *(each.seconds for each in found)]
    channels = []
    for position, one in enumerate(survey.found):
        heard = recognitions[position if one.same_as is None else one.same_as]
        channels.append(
            Channel(
                label=names[position],
                audio_stream=one.selection.stream,
                channel=one.selection.channel,
                same_as=None if one.same_as is None else names[one.same_as],
                language=heard.language if heard.segments else None,
                seconds=round(sum(map(_speech, heard.segments)), 3),
                text="",
            )
        )
    return Recognition(
        audio_seconds=max(each.audio_seconds for each in found),
        language=_language(found, languages),
        segments=tuple(
            segment.model_copy(update={"id": number}) for number, segment in enumerate(segments)
        ),
        word_times=_word_times(found),
        seconds={
            stage: sum(seconds.get(stage, 0.0) for seconds in stages)
            for stage in dict.fromkeys(chain.from_iterable(stages))
        },
        windows=sum(each.windows for each in found),
        resumed=sum(each.resumed for each in found),
        notes=_notes([*survey.notes, *notes, *_twins(survey, names, kind)], names, recognitions),
        languages=languages,
        channels=tuple(channels),
    )


def _speech(segment: Segment) -> float:
    """Seconds of speech in a segment: from its start to its end, without pauses.

    Where two talk, most of one's pauses are the other's turns.
    """
    said = segment.speech or [(word.start, word.end) for word in segment.words]
    pauses = (later - ended for (_, ended), (later, _) in pairwise(said))
    return segment.end - segment.start - sum(pause for pause in pauses if pause > _PAUSE_SECONDS)


def _language(
    found: Iterable[Recognition], languages: Sequence[tuple[str, float]]
) -> Language | None:
    """The language most spoken, as the channel has it in which most of it is spoken.

    Without any, what a channel says whose windows gave no text.
    """
    ranked = sorted(found, key=lambda each: sum(s for _, s in each.languages), reverse=True)
    known = [each.language for each in ranked if each.language is not None]
    if not languages:
        return known[0] if known else None
    most, _ = languages[0]
    named = (language for language in known if language.code == most)
    return next(named, Language(code=most, probability=None, detected=True))


def _word_times(found: Sequence[Recognition]) -> Literal["aligned", "attention"] | None:
    """How words got their times: from attention, as soon as those of one channel did.

    Where nothing is said nobody asked how.
    """
    ways = {each.word_times for each in found if each.segments} or {found[0].word_times}
    return "attention" if "attention" in ways else ways.pop()


def _twins(survey: Survey, names: Sequence[str], kind: Kind) -> list[str]:
    """A note for each channel that others are the same as."""
    same: dict[int, list[int]] = {}
    for position, one in enumerate(survey.found):
        if one.same_as is not None:
            same.setdefault(one.same_as, [one.same_as]).append(position)
    return [
        f"{kind.capitalize()} {_listed([names[each] for each in alike])} hold the same samples:"
        f" they were transcribed once, as {names[first]}"
        for first, alike in same.items()
    ]


def _notes(
    common: Sequence[str], names: Sequence[str], recognitions: Mapping[int, Recognition]
) -> tuple[str, ...]:
    """All notes: first those that no channel, or each, has, then others with the label in front."""
    each = list(recognitions.values())
    shared = [note for note in each[0].notes if all(note in other.notes for other in each)]
    known = list(dict.fromkeys([*common, *shared]))
    own = (
        f"{names[position]}: {note}"
        for position, recognition in recognitions.items()
        for note in recognition.notes
        if note not in known
    )
    return (*known, *own)


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"
