"""How much may be speech and isn't decoded, for a note in the result (pure).

The detector is unsure of it, and most such sound is music or noise: decoding it all would put words
into texts that nobody said. A file with more of it than that says so.
"""

from __future__ import annotations

from collections.abc import Iterable

from worker.speech.windows import SAMPLE_RATE, Span, SpanFinder, SpanOptions

MAYBE = SpanOptions(threshold=0.1, release=0.05, min_speech=0.25)
"""What may be speech: a syllable or more. Music without voices has 0.2 s of it in 30 s, and one in
twenty such pieces `NOTED_SECONDS`."""

NOTED_SECONDS = 1.0
"""Less in a file goes without a note."""


class PassedOver:
    """Adds up the spans that may be speech, of which nothing is decoded. Holds few of them."""

    def __init__(self) -> None:
        self._finder = SpanFinder(MAYBE)
        self._maybe: list[Span] = []
        self._decoded: list[Span] = []
        self._samples = 0

    def feed(self, probabilities: Iterable[float], decoded: Iterable[Span], settled: int) -> None:
        """What came next.

        Args:
            probabilities: of speech, one for each frame.
            decoded: spans that will be in windows, padded.
            settled: no span to come starts before this sample.
        """
        self._maybe += self._finder.feed(probabilities)
        self._decoded += decoded
        self._settle(settled)

    def finish(
        self, probabilities: Iterable[float], decoded: Iterable[Span], samples: int
    ) -> float:
        """Takes the last of the file.

        Args:
            probabilities: of speech, one for each frame.
            decoded: spans that will be in windows, padded.
            samples: length of the file.

        Returns:
            Seconds passed over in the whole file.
        """
        self._maybe += self._finder.feed(probabilities) + self._finder.finish(samples)
        self._decoded += decoded
        self._settle(samples)
        return self._samples / SAMPLE_RATE

    def _settle(self, before: int) -> None:
        """Decides on the spans that end before a sample."""
        ready = [span for span in self._maybe if span.end <= before]
        self._maybe = self._maybe[len(ready) :]
        for span in ready:
            if not any(one.start < span.end and span.start < one.end for one in self._decoded):
                self._samples += span.length
        needed = self._maybe[0].start if self._maybe else self._finder.needed_from
        self._decoded = [one for one in self._decoded if one.end > min(needed, before)]


def note(seconds: float) -> list[str]:
    """What the result is to say of so many seconds: one sentence or none."""
    if seconds < NOTED_SECONDS:
        return []
    return [f"{seconds:.1f} s of sound that may be speech were passed over"]
