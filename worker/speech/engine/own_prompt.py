"""What a job itself puts before the texts of its windows: vocabulary, hotwords and prompt (pure).

Prompts of one batch must have one length, and hardly two vocabularies are equally long. So a prompt
with a vocabulary is filled up to one of a few lengths, those of prompts with the text before a
window: then jobs with vocabularies of their own share batches. Hotwords and prompt are the sender's
exact text, so they are neither cut nor filled.

The order: the token that begins any prompt, the filling, vocabulary, hotwords, prompt, the text
before the window. So the last is followed by the window's text, as it was when it was said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from worker.speech.api import Options
from worker.speech.engine import carry
from worker.speech.model.decoding import Listed

__all__ = ["NONE", "OwnPrompt", "own_prompt"]


class _Spells(Protocol):
    """What is needed of a model: see `loaded.Model`."""

    def context(self, options: Options) -> tuple[int, ...]: ...

    def listed(self, vocabulary: Sequence[str]) -> Listed: ...


@dataclass(frozen=True, slots=True)
class OwnPrompt:
    """See the module.

    Attributes:
        exact: tokens of hotwords and prompt, behind the one that begins a prompt; maybe none.
        vocabulary: the phrases that the decoder is told.
        listed: their tokens.
        begins: the token that begins any prompt.
        blank: the token that fills prompts: a space. Of all that was tried it alone did no harm
            (`worker/speech/engine/README.md`).
        asked: phrases in the job's vocabulary, told or not.
    """

    exact: tuple[int, ...] = ()
    vocabulary: tuple[str, ...] = field(default=(), repr=False)
    listed: tuple[int, ...] = field(default=(), repr=False)
    begins: int = 0
    blank: int = 0
    asked: int = 0

    @property
    def size(self) -> int:
        """Tokens of all of it, the filling apart."""
        return len(self.listed) + (len(self.exact) or bool(self.listed))

    def tokens(self, carried: int, *, told: bool) -> tuple[int, ...]:
        """The beginning of a window's prompt.

        Args:
            carried: tokens of the text before the window, which follow. With them the prompt has
                one of its lengths (see `carry.prompt`), and needs no filling.
            told: whether the vocabulary is in it.
        """
        if not told:
            return self.exact
        lacking = 0 if carried else carry.filled(self.size) - self.size
        return (self.begins, *([self.blank] * lacking), *self.listed, *self.exact[1:])

    @property
    def notes(self) -> tuple[str, ...]:
        """What a result is to say of it: of a vocabulary that doesn't fit, in one sentence.

        It doesn't quote the vocabulary, which is private.
        """
        told = len(self.vocabulary)
        if told == self.asked:
            return ()
        return (
            f"The decoder was told {told} of the vocabulary's {self.asked} phrases: as many as fit "
            "its prompt, in their order",
        )


NONE = OwnPrompt()
"""Of a job that asks for nothing of the kind."""


def own_prompt(model: _Spells, options: Options, *, carries: bool) -> OwnPrompt:
    """A job's own part of its prompts.

    Of its vocabulary, in the order given, each phrase that still fits `carry.list_room`; one that
    stands there twice counts once.

    Args:
        model: that is to be prompted.
        options: of the job.
        carries: whether windows are prompted with the text before them as well.

    Raises:
        JobError: prompt and hotwords are too long.
    """
    exact = model.context(options)
    if not options.vocabulary:
        return OwnPrompt(exact)
    phrases = tuple(dict.fromkeys(options.vocabulary))
    listed = model.listed(phrases)
    room = carry.list_room(max(1, len(exact)), carries=carries)
    told: list[str] = []
    tokens: list[int] = []
    for phrase, spelled in zip(phrases, listed.phrases, strict=True):
        if len(tokens) + len(spelled) <= room:
            told.append(phrase)
            tokens += spelled
    return OwnPrompt(
        exact=exact,
        vocabulary=tuple(told),
        listed=tuple(tokens),
        begins=listed.begins,
        blank=listed.blank,
        asked=len(phrases),
    )
