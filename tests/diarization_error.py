"""How wrong turns of speakers are: the diarization error rate, and the number of speakers.

The rate is NIST's, computed by pyannote.metrics: of all seconds of speech, overlapped ones once for
each who speaks, how many are missed, falsely found or given to another speaker; speakers are
matched so that it is least. A collar of 0.25 leaves a quarter of a second out at each boundary of
the reference, as pyannote.metrics counts it: half of that before, half after.

As a script it takes RTTM files, or folders of them, with a recording of the same name beside each,
and shows the rates of each recording and the mean:

    .venv/bin/python -m tests.diarization_error ../shared/speech/speakers
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pyannote.core import Annotation, Segment, Timeline
from pyannote.metrics.diarization import DiarizationErrorRate

from tests.fakes.voices import new_pipeline, pcm_of
from worker.results.speakers import Voice
from worker.speech.speakers.diarizer import Diarizer
from worker.speech.windows import SAMPLE_RATE

COLLAR_SECONDS = 0.25
MEDIA = (".wav", ".flac", ".mp3", ".m4a", ".ogg", ".opus")


@dataclass(frozen=True, slots=True)
class Errors:
    """What is wrong with the turns of one recording; seconds of speech.

    Attributes:
        name: of the recording.
        speech: in the reference.
        missed: of it, where nobody or too few were found.
        false: found where nobody, or fewer, speak.
        confused: given to another speaker.
        found: number of speakers.
        speakers: number of speakers in the reference.
    """

    name: str
    speech: float
    missed: float
    false: float
    confused: float
    found: int
    speakers: int

    @property
    def rate(self) -> float:
        """The diarization error rate; 0.05 is 5 %."""
        return (self.missed + self.false + self.confused) / self.speech


class _Seconds(NamedTuple):
    speech: float
    missed: float
    false: float
    confused: float


def read_rttm(path: Path) -> list[Voice]:
    """The turns of a RTTM file, in order of start."""
    rows = [line.split() for line in path.read_text().splitlines()]
    return sorted(
        Voice(float(row[3]), float(row[3]) + float(row[4]), row[7])
        for row in rows
        if row and row[0] == "SPEAKER"
    )


def errors(
    name: str,
    reference: Sequence[Voice],
    found: Sequence[Voice],
    seconds: float,
    *,
    collar: float = COLLAR_SECONDS,
) -> Errors:
    """Compare turns.

    Args:
        name: of the recording.
        reference: who really speaks.
        found: who is said to speak.
        seconds: length of the recording: all of it counts.
        collar: around each boundary of the reference, in seconds, half before and half after.
    """
    counted = _seconds(reference, found, seconds, collar)
    return Errors(
        name,
        *counted,
        found=len({voice.speaker for voice in found}),
        speakers=len({voice.speaker for voice in reference}),
    )


def mean_rate(of: Sequence[Errors]) -> float:
    """The mean of the rates of recordings, each of the same weight."""
    return sum(one.rate for one in of) / len(of)


def right_numbers(of: Iterable[Errors]) -> int:
    """In how many recordings the number of speakers is right."""
    return sum(one.found == one.speakers for one in of)


def _seconds(
    reference: Sequence[Voice], found: Sequence[Voice], seconds: float, collar: float
) -> _Seconds:
    def annotation(voices: Sequence[Voice]) -> Annotation:
        made = Annotation()
        for track, voice in enumerate(voices):
            made[Segment(voice.start, voice.end), track] = voice.speaker
        return made

    details = DiarizationErrorRate(collar=collar)(
        annotation(reference),
        annotation(found),
        uem=Timeline([Segment(0.0, seconds)]),
        detailed=True,
    )
    keys = ("total", "missed detection", "false alarm", "confusion")
    return _Seconds(*(float(details[key]) for key in keys))


def _show(errors_of: Sequence[Errors], title: str) -> None:
    rate = f"{100 * mean_rate(errors_of):5.1f} %"
    right = f"speakers right in {right_numbers(errors_of)} of {len(errors_of)}"
    print(f"{title:20} {rate}  {right}")  # noqa: T201 - it talks to a person


def _show_one(one: Errors) -> None:
    share = 100 / one.speech
    print(  # noqa: T201 - it talks to a person
        f"{one.name:20} {100 * one.rate:5.1f} %  speakers {one.found} of {one.speakers}  "
        f"missed {share * one.missed:.1f}  false {share * one.false:.1f}  "
        f"confused {share * one.confused:.1f}"
    )


def measured(tells: Diarizer, reference: Path, *, collar: float = COLLAR_SECONDS) -> Errors:
    """What a diarizer makes of a recording.

    Args:
        tells: the diarizer.
        reference: a RTTM file with a recording of the same name beside it.
        collar: in seconds.
    """
    beside = reference.parent.glob(f"{reference.stem}.*")
    samples = pcm_of(next(one for one in beside if one.suffix in MEDIA))
    found = tells.find(samples, min_speakers=None, max_speakers=None, progress=lambda _: None)
    seconds = len(samples) / SAMPLE_RATE
    known = read_rttm(reference)
    return errors(reference.stem, known, found.voices, seconds, collar=collar)


def main() -> None:
    """Show the rates of the files that the command line names."""
    parser = argparse.ArgumentParser(description="Diarization error rates of recordings.")
    parser.add_argument("paths", nargs="+", type=Path, help="RTTM files, or folders of them")
    parser.add_argument("--collar", type=float, default=COLLAR_SECONDS, help="seconds")
    parser.add_argument("--model", type=Path, help="a pipeline's directory; else packaged")
    options = parser.parse_args()
    tells = Diarizer(new_pipeline(options.model), name="", device="cpu", chunks_a_call=8)
    for path in options.paths:
        found = []
        for reference in sorted(path.glob("*.rttm")) if path.is_dir() else [path]:
            found.append(measured(tells, reference, collar=options.collar))
            _show_one(found[-1])
        _show(found, path.name)


if __name__ == "__main__":
    main()
