"""What a model is asked for a window, and what it answers (data alone)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from worker.results.transcript import Task, Word
from worker.speech.model.detection import Ranking
from worker.speech.prepare.sound import Sound

__all__ = ["BEST_OF", "Decoded", "Listed", "Request"]

BEST_OF = 5
"""Texts sampled at temperatures over 0, of which the likeliest is taken (Whisper's default)."""


@dataclass(frozen=True, slots=True)
class Request:
    """One window to decode.

    Attributes:
        sound: what is heard in it, at the window's own length; that of one batch is of one kind.
        seconds: speech in it.
        language: Whisper code, or None to detect it from this window.
        languages: codes that are detected among; empty: all.
        task: transcribe or translate.
        context: tokens of the job's own prompt (see `engine.own_prompt`), maybe none.
        carried: tokens of the text before the window, maybe none.
        want_words: whether to find word times from attention (see `Decoded.with_words`).
        unless: says of the text whether they need not be found all the same.
    """

    sound: Sound
    seconds: float
    language: str | None
    task: Task
    context: tuple[int, ...] = ()
    carried: tuple[int, ...] = ()
    languages: tuple[str, ...] = ()
    want_words: bool = False
    unless: Callable[[str], bool] | None = None


@dataclass(frozen=True, slots=True)
class Listed:
    """A job's vocabulary as tokens of a model.

    Attributes:
        begins: the token that begins any prompt.
        blank: a space's.
        phrases: those of each phrase, with what parts it from the next.
    """

    begins: int
    blank: int
    phrases: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Decoded:
    """The text of a window, and how sure the model is of it.

    Attributes:
        text: stripped.
        tokens: text tokens, without special ones.
        avg_logprob: mean log-probability of tokens and end.
        no_speech: probability that there is no speech.
        language: the code it was decoded in.
        languages: of those asked for, where it was detected.
        words: with times in the window, where they were asked for and read.
        pieces: the same as `languages` for each of the window's `detection.pieces`, where as a
            whole it sounds like several languages; otherwise empty.
        stopped: whether it has as many tokens as the decoder can write, so that more may have been
            said.
        words_failed: whether words were asked for and finding them failed.
        read_words: reads the words that the device has found and nobody has read yet; None where
            there are none, or they are read.
    """

    text: str
    tokens: tuple[int, ...]
    avg_logprob: float
    no_speech: float
    language: str
    languages: Ranking
    words: tuple[Word, ...]
    pieces: tuple[Ranking, ...] = ()
    stopped: bool = False
    words_failed: bool = False
    read_words: Callable[[], Sequence[Word]] | None = field(default=None, compare=False, repr=False)

    def with_words(self) -> Decoded:
        """This with its words: a millisecond of the host's, while the device does something else.

        Raises:
            Exception: of any kind, if what the device found makes no words.
        """
        if self.read_words is None:
            return self
        return replace(self, words=tuple(self.read_words()), read_words=None)

    def without_words(self) -> Decoded:
        """This where words were asked for and can't be found or read."""
        return replace(self, read_words=None, words_failed=True)
