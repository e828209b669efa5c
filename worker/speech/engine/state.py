"""One file's bookkeeping: its windows and their texts, its media, its result (pure)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from worker.errors import WorkerError
from worker.results.speakers import Diarization
from worker.results.transcript import Language
from worker.speech import unheard
from worker.speech.api import Partial, Recognition
from worker.speech.engine.language import VOTERS
from worker.speech.engine.order import FIRST_PART, whole
from worker.speech.engine.segments import segments
from worker.speech.engine.texts import Step, WindowTexts
from worker.speech.engine.verdict import dropped_note
from worker.speech.engine.window import Phase
from worker.speech.engine.window_languages import seconds_by_language

SHORT_SECONDS, SHORT_SHARE = 1.0, 0.1
"""Seconds, and share of the length stated in the header: a note says so where more audio than
both is missing."""


@dataclass(slots=True)
class FileState(WindowTexts):
    """Everything known of one file. Events (methods) may come in any order.

    Attributes:
        stages_left: whole-file stages (see `whole_file`) that are not done; any of them may
            still add windows.
        total: how many windows the file has; None while more may come.
        audio_seconds: length of the decoded audio; None before its end.
        stated_seconds: length according to the file's header, if that says one.
        peak: its largest amplitude, of 1.
        seconds: this file's share of each stage.
        notes: for the result.
        speakers_left: whether it is still to be told who speaks. The answer waits for that;
            nothing else does.
        speakers_done: share of the file in which that is told, from 0 to 1; 1 as well once it is
            known that it can't be.
        diarization: who speaks when; None before it is told, and where nobody asked.
        failure: what the file fails with once its text is complete.
    """

    stages_left: set[str] = field(default_factory=set)
    total: int | None = None
    audio_seconds: float | None = None
    stated_seconds: float | None = None
    peak: float = 1.0
    seconds: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    speakers_left: bool = False
    speakers_done: float = 0.0
    diarization: Diarization | None = None
    failure: WorkerError | None = None

    def end(
        self,
        audio_seconds: float,
        seconds: dict[str, float],
        notes: Iterable[str] = (),
        peak: float = 1.0,
    ) -> Step:
        """The media is decoded to its end: no more windows come, whole-file stages apart.

        Args:
            audio_seconds: length of the audio.
            seconds: what preparing took, by stage.
            notes: what preparing has to say, for the result.
            peak: the audio's largest amplitude, of 1.
        """
        self.audio_seconds = audio_seconds
        self.peak = peak
        self.notes.extend(notes)
        for stage, value in seconds.items():
            self.spend(stage, value)
        stated = self.stated_seconds or 0.0
        if stated - audio_seconds > max(SHORT_SECONDS, SHORT_SHARE * stated):
            # Some decoders end quietly where the damage begins.
            self.notes.append(
                f"The file says it lasts {stated:.1f} s; {audio_seconds:.1f} s of audio were found"
            )
        return self._count_windows()

    def stage_done(self, name: str) -> Step:
        """A whole-file stage is done: what it had to add is added.

        Raises:
            KeyError: it is not one that was left.
        """
        self.stages_left.remove(name)
        return self._count_windows()

    def speakers_told(self, diarization: Diarization, notes: Iterable[str] = ()) -> None:
        """It is known who speaks.

        Args:
            diarization: who speaks when.
            notes: what telling speakers apart has to say, for the result.
        """
        self._end_speakers()
        self.diarization = diarization
        self.notes.extend(notes)

    def speakers_failed(self, error: WorkerError) -> None:
        """It can't be told who speaks: the file fails, but its text is decoded to the end first.

        Its windows are then all in the job's checkpoint, for a sender who tries again.
        """
        self._end_speakers()
        self.failure = error

    @property
    def only_looks(self) -> bool:
        """Whether every window has a text, and some wait to be looked at once more."""
        phases = [window.phase for window in self.windows.values()]
        return Phase.ASKED not in phases and any(
            window.phase is Phase.LOOKING and window.flying is None
            for window in self.windows.values()
        )

    def drop_looks(self) -> Step:
        """Windows that wait to be looked at once more keep the texts they have."""
        step = Step()
        for window in self.windows.values():
            if window.phase is Phase.LOOKING and window.flying is None:
                step += self._choose(window)
        return step

    def distrust_short(self, language: str) -> Step:
        """Windows of a language are to be decoded in full, also those that are done."""
        self.distrusted.add(language)
        step = Step()
        for window in list(self.windows.values()):
            if self.options.multilingual and window.language is None and window.attempts:
                continue  # it waits for its language, and goes up then (`_is_in`)
            if window.phase is Phase.ASKED and window.flying is None:
                waits = window.index not in self.held_back
                again = self._in_full(window)
                step += again if waits else step
            elif window.phase is Phase.LOOKING and window.is_short and window.flying is None:
                step += self._in_full(window)
        for index, window in list(self.short.items()):
            if window.stands[1].language == language:
                del self.short[index], self.done[index]
                self.windows[index] = window
                step += self._in_full(window)
        return step

    def spend(self, stage: str, seconds: float) -> None:
        """Adds to this file's share of a stage."""
        self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds

    @property
    def text_done(self) -> bool:
        """Whether every whole-file stage is done and every window has its words."""
        return self.total is not None and not self.windows

    @property
    def finished(self) -> bool:
        """Whether nothing is left to be done for the file's answer."""
        return self.text_done and not self.speakers_left

    @property
    def wants_windows(self) -> bool:
        """Whether those that are here can't be finished before others have come.

        They tell in which language they are to be decoded.
        """
        voting = self.votes and len(self.windows) < VOTERS
        return self.total is None and (voting or self.tongues.waits)

    @property
    def held_seconds(self) -> float:
        """Seconds of speech in windows that are here and have no words yet."""
        return sum(window.seconds for window in self.windows.values())

    def partial(self) -> Partial:
        """The finished windows, for a checkpoint; of a divided one, all of its parts or none."""
        unfinished = {whole(index) for index in self.windows}
        return Partial(
            language=self.language,
            windows=tuple(
                self.done[index] for index in sorted(self.done) if whole(index) not in unfinished
            ),
        )

    def progress(self) -> tuple[float, float | None]:
        """(seconds of the file that are done, its length if known).

        Windows are not decoded in order, so this is where the last known window ends, less the
        length of those that are not done. Where speakers are told apart, text and speakers are
        half of the work each.
        """
        text, length = self._text_progress()
        if not self.options.diarize:
            return text, length
        return (text + self.speakers_done * (length or 0.0)) / 2, length

    def _end_speakers(self) -> None:
        self.speakers_left, self.speakers_done = False, 1.0

    def _text_progress(self) -> tuple[float, float | None]:
        if self.text_done and self.audio_seconds is not None:
            return self.audio_seconds, self.audio_seconds
        ends = [window.end for window in self.windows.values()]
        ends += [window.end for window in self.done.values()]
        waiting = sum(window.end - window.start for window in self.windows.values())
        return max(0.0, max(ends, default=0.0) - waiting), self.audio_seconds or self.stated_seconds

    def recognition(self, word_times: Literal["aligned", "attention"] | None) -> Recognition:
        """The result. All windows are done."""
        assert self.audio_seconds is not None
        assert self.total is not None
        texts = sorted(self.done.values(), key=lambda text: text.start)
        dropped = sum(text.dropped_seconds for text in texts)
        languages = seconds_by_language(
            (text.language, text.end - text.start) for text in texts if text.text
        )
        language = self.language
        if language is None and languages:
            language = Language(code=languages[0][0], probability=None, detected=True)
        found = segments(texts, self.audio_seconds)
        notes = [*self.notes, *([dropped_note(dropped)] if dropped else [])]
        if not found and not dropped:
            notes.append(unheard.note(self.audio_seconds, self.peak, self.total))
        return Recognition(
            audio_seconds=self.audio_seconds,
            language=language if texts else None,
            languages=languages,
            segments=found,
            word_times=word_times,
            seconds=dict(self.seconds),
            windows=self.total,
            resumed=self.resumed,
            notes=tuple(notes),
            diarization=self.diarization,
        )

    def _count_windows(self) -> Step:
        """Sets `total` once no more windows can come, and lets the vote end with these."""
        if self.audio_seconds is None or self.stages_left:
            return Step()
        self.total = sum(index < FIRST_PART for index in (*self.windows, *self.done))
        self.vote.end(self.total)
        return self.after_vote() + self.known(self.tongues.end(self.total))
