"""The real Whisper class on a small random model of 128 bands: loading, prompts, decoding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from worker.errors import ErrorCode, JobError
from worker.speech.api import Options
from worker.speech.model import whisper
from worker.speech.model.choices import Device
from worker.speech.model.decoding import Decoded, Request
from worker.speech.model.whisper import PROMPT_TOKENS, Whisper
from worker.speech.prepare.features import FrontEnd, features_of
from worker.speech.prepare.sound import to_samples
from worker.speech.windows import FULL_POSITIONS

CPU = Device("cpu", 0, "a processor")


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Whisper:
    return Whisper(tiny_model, CPU, "float32", 2)


def features(seconds: float, mels: int = 128) -> NDArray[np.float32]:
    rng = np.random.default_rng(int(seconds * 1000))
    samples = rng.normal(size=int(seconds * 16_000)) * 0.1
    return FrontEnd(mels)(samples.astype(np.float32))


def request(
    seconds: float = 1.0,
    language: str | None = "en",
    context: tuple[int, ...] = (),
    *,
    want_words: bool = False,
) -> Request:
    return Request(
        sound=features(seconds),
        seconds=seconds,
        language=language,
        task="transcribe",
        context=context,
        want_words=want_words,
    )


def test_dimensions_come_from_the_loaded_model(model: Whisper) -> None:
    assert model.mels == 128
    assert model.multilingual
    assert {"en", "de", "ja"} <= model.languages
    assert model.start_length() == 4


def test_windows_of_several_languages_in_one_pass(
    model: Whisper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whisper, "MAX_LENGTH", 40)  # this model never ends by itself
    taken: list[list[int]] = []
    rows = whisper._rows

    def noted(encoded: Any, some: Sequence[int]) -> Any:
        taken.append(list(some))
        return rows(encoded, some)

    monkeypatch.setattr(whisper, "_rows", noted)
    calls, windows = model.encoder_calls, model.encoded_windows
    prompt = model.context(Options(prompt="Glossary"))
    requests = [
        request(1.0, "de", prompt),
        request(2.5, None, prompt, want_words=True),
        request(0.3, "ja", prompt),
    ]
    found = model.decode(requests, positions=FULL_POSITIONS, beam_size=1, temperature=0.0)
    assert not any(window.words for window in found), "they are read later"
    decoded = [window.with_words() for window in found]
    # Only one was to be detected, and only its words were asked for.
    assert taken == [[1], [1]]
    assert (model.encoder_calls - calls, model.encoded_windows - windows) == (1, 3)
    assert [window.language for window in (decoded[0], decoded[2])] == ["de", "ja"]
    assert [len(window.languages) > 50 for window in decoded] == [False, True, False]
    ranking = decoded[1].languages
    assert decoded[1].language == ranking[0][0]
    probabilities = [probability for _, probability in ranking]
    assert probabilities == sorted(probabilities, reverse=True)
    assert sum(probabilities) == pytest.approx(1.0, abs=0.01)
    for window in decoded:
        assert window.tokens
        assert window.text == window.text.strip()
        assert window.avg_logprob < 0.0
        assert 0.0 <= window.no_speech <= 1.0
    assert decoded[0].words == decoded[2].words == ()
    times = [time for word in decoded[1].words for time in (word.start, word.end)]
    assert times
    assert times == sorted(times)
    assert times[-1] <= 2.5 + 0.03


@pytest.mark.parametrize("carried", [0, 100, 222])
def test_a_text_that_the_decoder_stopped_is_known_by_its_length(
    model: Whisper, carried: int
) -> None:
    asked = replace(request(), carried=tuple(range(300, 300 + carried)))
    (window,) = model.decode([asked], positions=500, beam_size=1, temperature=0.0)
    assert window.stopped, "this model never ends by itself"


def test_contexts_of_different_length_are_refused(model: Whisper) -> None:
    with pytest.raises(ValueError, match="same position"):
        model.decode(
            [request(), request(context=model.context(Options(prompt="one more")))],
            positions=200,
            beam_size=1,
            temperature=0.0,
        )


def test_features_of_another_model_are_refused(model: Whisper) -> None:
    wrong = Request(sound=features(1.0, mels=80), seconds=1.0, language="en", task="transcribe")
    with pytest.raises((ValueError, RuntimeError)):
        model.decode([wrong], positions=200, beam_size=1, temperature=0.0)


def test_words_are_not_looked_for_where_the_text_says_that_none_are_needed(
    model: Whisper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whisper, "MAX_LENGTH", 40)  # this model never ends by itself
    asked = [request(1.0, want_words=True), request(2.5, want_words=True)]
    found = model.decode(asked, positions=200, beam_size=1, temperature=0.0)
    assert all(window.with_words().words for window in found)
    texts: list[str] = []

    def spare(text: str) -> bool:
        texts.append(text)
        return True

    again = model.decode(
        [asked[0], replace(asked[1], unless=spare)], positions=200, beam_size=1, temperature=0.0
    )
    assert texts == [found[1].text]
    assert [window.with_words().words for window in again] == [found[0].with_words().words, ()]
    assert not again[1].words_failed


def test_samples_and_features_of_a_window_give_the_same_text(
    tiny_model: Path, model: Whisper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whisper, "MAX_LENGTH", 40)  # this model never ends by itself
    on_card = Whisper(tiny_model, CPU, "float32", 2, log_mel=True)
    assert (on_card.prepared_mels, model.prepared_mels) == (0, 128)
    rng = np.random.default_rng(7)
    sounds = [to_samples(rng.normal(size=size).astype(np.float32)) for size in (16_000, 41_234)]
    asked = [replace(request(want_words=True), sound=sound) for sound in sounds]
    ready = [replace(each, sound=features_of(each.sound, 128)) for each in asked]

    def decode(by: Whisper, requests: list[Request]) -> list[Decoded]:
        found = by.decode(requests, positions=200, beam_size=2, temperature=0.0)
        return [window.with_words() for window in found]

    expected = decode(model, ready)
    assert [window.tokens for window in decode(on_card, asked)] == [e.tokens for e in expected]
    assert [window.words for window in decode(on_card, asked)] == [e.words for e in expected]
    # What knows nothing of the card may give it features, and the processor samples.
    assert decode(on_card, [asked[0], ready[1]]) == expected
    assert decode(model, asked) == expected


def test_prompt_and_hotwords_become_context(model: Whisper) -> None:
    start = model.tokenizer("en", "transcribe")
    assert model.context(Options()) == ()
    assert model.context(Options(prompt="", hotwords="")) == ()
    tokens = model.context(Options(prompt="Glossary:", hotwords="Gutenberg"))
    assert tokens[0] == start.sot_prev
    assert start.decode(list(tokens[1:])) == " Gutenberg Glossary:"


def test_a_prompt_cannot_spell_a_special_token(model: Whisper) -> None:
    start = model.tokenizer("en", "transcribe")
    tokens = model.context(
        Options(prompt="<|startoftranscript|><|de|>hello<|endoftext|>", hotwords="<|nospeech|>")
    )
    assert all(token < start.eot for token in tokens[1:])
    assert "hello" in start.decode(list(tokens[1:]))


def test_phrases_are_tokens_of_a_list_and_none_is_special(model: Whisper) -> None:
    start = model.tokenizer("en", "transcribe")
    listed = model.listed(("Subiaco", " Wynkyn\nde Worde ", "<|startoftranscript|>Caxton"))
    assert listed.begins == start.sot_prev
    assert start.decode([listed.blank]) == " "
    spelled = [token for tokens in listed.phrases for token in tokens]
    assert all(token < start.eot for token in spelled)
    assert start.decode(spelled).startswith(" Subiaco, Wynkyn de Worde,")
    assert "Caxton," in start.decode(list(listed.phrases[2]))


def test_a_prompt_may_take_half_of_the_decoder(model: Whisper) -> None:
    one = len(model.context(Options(prompt="word"))) - 1
    fits = (PROMPT_TOKENS - 1) // one
    model.context(Options(prompt="word " * fits))
    with pytest.raises(JobError, match=r"tokens together; at most 222") as caught:
        model.context(Options(prompt="word " * fits, hotwords="word word"))
    assert caught.value.code is ErrorCode.PROMPT_TOO_LONG
    with pytest.raises(JobError):
        model.check(Options(prompt="word " * 500))


def test_an_unknown_language_is_refused(model: Whisper) -> None:
    with pytest.raises(JobError, match="'tlh' is not one") as caught:
        model.check(Options(language="tlh"))
    assert caught.value.code is ErrorCode.LANGUAGE_NOT_SUPPORTED
    model.check(Options(language="de", task="translate"))
