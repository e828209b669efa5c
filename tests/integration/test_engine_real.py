"""The real base model on the CPU: languages in one batch, the hostile files, texts as alone."""

from __future__ import annotations

import csv
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.fakes.media import write_wav
from tests.fakes.speech import conversation, samples_of
from tests.fakes.tiny_model import base_engine
from tests.wording import alike, letters
from worker.errors import ErrorCode, JobError
from worker.results.timed import timed
from worker.speech.api import EngineStats, Options
from worker.speech.engine.engine import Engine
from worker.speech.engine.quality import MAX_COMPRESSION
from worker.speech.engine.scripts import compression_ratio
from worker.speech.engine.verdict import FLOOR_LOGPROB
from worker.speech.windows import SAMPLE_RATE

PATIENCE = 300.0

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with base_engine(batch_size=4, word_times="attention") as started:
        yield started


def transcripts(folder: Path) -> dict[str, str]:
    with (folder / "transcripts.csv").open(encoding="utf-8") as file:
        return {row["file"]: row["text"] for row in csv.DictReader(file)}


WARM_UP = 7
"""Windows that the model decodes before the first batch: the probe, and those of `rehearse`."""


def settled(engine: Engine) -> tuple[EngineStats, int, int]:
    """(counters, encoder calls, encoded windows) once nothing runs: audits outlive their files."""
    deadline = time.monotonic() + PATIENCE
    while True:
        stats = engine.stats
        seen = (stats.windows, stats.batches, stats.encoder_calls, stats.encoded_windows)
        time.sleep(0.5)
        stats = engine.stats
        now = (stats.windows, stats.batches, stats.encoder_calls, stats.encoded_windows)
        idle = now == seen and not stats.waiting_windows
        if idle and stats.encoded_windows == stats.windows + WARM_UP:
            return stats, stats.encoder_calls, stats.encoded_windows
        assert time.monotonic() < deadline, f"the encoder worked for nobody: {stats}"


@pytest.fixture(scope="module")
def spoken(speech_dir: Path) -> dict[Path, tuple[str, str]]:
    """Files with the language and the words spoken in them."""
    languages = speech_dir / "languages"
    english = speech_dir / "english"
    said = transcripts(languages) | transcripts(english)
    files = {languages / f"{code}.wav": code for code in ("de", "fr", "ja")}
    files[english / "LJ001-0002.flac"] = "en"
    return {path: (code, said[path.name]) for path, code in files.items()}


def test_languages_are_detected_and_decoded_in_one_batch_with_one_encoder_pass(
    engine: Engine, spoken: dict[Path, tuple[str, str]]
) -> None:
    before, calls, encoded = settled(engine)
    windows, batches = before.windows, before.batches
    attempts, audits = before.second_attempts, before.audits
    submissions = {
        path: engine.submit(path, Options(language=None), name=path.name) for path in spoken
    }
    found = {path: each.future.result(PATIENCE) for path, each in submissions.items()}
    for path, (code, reference) in spoken.items():
        language = found[path].language
        assert language is not None
        assert (language.code, language.detected) == (code, True)
        assert language.probability is not None
        assert language.probability > 0.8
        assert alike(found[path].text, reference) > 0.85
    after, calls_after, encoded_after = settled(engine)
    decoded = after.windows - windows
    assert encoded_after - encoded == decoded
    assert calls_after - calls == after.batches - batches
    # Every window once, and again only where its text was doubted or audited.
    again = after.second_attempts - attempts + after.audits - audits
    assert decoded == sum(each.windows for each in found.values()) + again
    assert after.batches - batches < decoded, "no two windows shared a batch"


def test_words_have_times_in_every_language(
    engine: Engine, spoken: dict[Path, tuple[str, str]]
) -> None:
    submissions = [engine.submit(path, Options(), name=path.name) for path in spoken]
    for submission in submissions:
        recognition = submission.future.result(PATIENCE)
        assert recognition.word_times == "attention"
        for segment in recognition.segments:
            assert segment.words
            assert letters("".join(word.word for word in segment.words)) == letters(segment.text)
            times = [time for word in segment.words for time in (word.start, word.end)]
            assert times == sorted(times)
            assert segment.start <= times[0]
            assert times[-1] <= segment.end <= recognition.audio_seconds


def test_texts_in_a_shared_batch_are_those_of_one_file_at_a_time(
    engine: Engine, speech_dir: Path
) -> None:
    paths = [speech_dir / "english" / f"LJ001-00{n:02}.flac" for n in (2, 4, 8, 10)]
    english = Options(language="en", words=False)
    alone = []
    for path in paths:
        submission = engine.submit(path, english, name=path.name)
        alone.append(submission.future.result(PATIENCE).text)
    together = [engine.submit(path, english, name=path.name) for path in paths]
    assert [each.future.result(PATIENCE).text for each in together] == alone
    said = transcripts(speech_dir / "english")
    for path, text in zip(paths, alone, strict=True):
        assert alike(text, said[path.name]) > 0.8


def test_each_party_of_a_call_has_its_words_and_its_language_though_both_speak_at_once(
    engine: Engine, spoken: dict[Path, tuple[str, str]], tmp_path: Path
) -> None:
    parties = {code: (samples_of(path), said) for path, (code, said) in spoken.items()}
    (english, in_english), (german, in_german) = parties["en"], parties["de"]
    call = np.zeros((max(len(english), len(german)), 2), dtype=np.float32)
    call[: len(english), 0], call[: len(german), 1] = english, german
    options = Options(channel_identification=True, channel_labels=("agent", "caller"))
    submission = engine.submit(write_wav(tmp_path / "call.wav", call), options, name="call")
    found = submission.future.result(PATIENCE)
    assert found.channels is not None
    for channel, code, said in zip(
        found.channels, ("en", "de"), (in_english, in_german), strict=True
    ):
        assert channel.language is not None
        assert (channel.language.code, channel.language.detected) == (code, True)
        segments = [each for each in found.segments if each.channel == channel.label]
        assert {each.language for each in segments} == {code}
        assert alike(" ".join(each.text for each in segments), said) > 0.85


def two_voices(speech_dir: Path) -> list[NDArray[np.float32]]:
    """Two people who read, in turns of 2 to 7 s, and for half a second at once at each change."""
    folder = speech_dir / "speakers"
    samples = samples_of(folder / "dev2_7178.flac")
    rows = [line.split() for line in (folder / "dev2_7178.rttm").read_text().splitlines()]
    turns = [(float(row[3]), float(row[3]) + float(row[4]), row[7]) for row in rows]
    alone = [
        one
        for one in turns
        if not any(two[0] < one[1] and two[1] > one[0] for two in turns if two[2] != one[2])
    ]
    sides: list[list[NDArray[np.float32]]] = [[], []]
    for number, voice in enumerate(sorted({voice for *_, voice in turns})):
        for start, end, _ in [turn for turn in alone if turn[2] == voice][:6]:
            sides[number].append(samples[round(start * SAMPLE_RATE) : round(end * SAMPLE_RATE)])
    call = np.zeros((2, 120 * SAMPLE_RATE), dtype=np.float32)
    at = 0
    for turn in range(6):
        for side in (0, 1):
            said = sides[side][turn]
            call[side, at : at + len(said)] = said
            at += len(said) - SAMPLE_RATE // 2
    return list(call[:, : at + SAMPLE_RATE])


@pytest.mark.long
def test_a_call_of_two_voices_says_and_costs_what_each_does_alone(
    speech_dir: Path, tmp_path: Path
) -> None:
    """In full windows and without audits: what these cost differs by chance."""
    voices = two_voices(speech_dir)
    files = [write_wav(tmp_path / f"{number}.wav", each) for number, each in enumerate(voices)]
    call = write_wav(tmp_path / "call.wav", np.stack(voices, axis=1))
    with base_engine(batch_size=8, word_times="attention", context="full") as engine:
        before = engine.stats.encoded_windows
        alone = [engine.submit(path, Options(), name=path.name) for path in files]
        results = [each.future.result(PATIENCE) for each in alone]
        between = engine.stats.encoded_windows
        submission = engine.submit(call, Options(channel_identification=True), name="call")
        found = submission.future.result(PATIENCE)
        after = engine.stats.encoded_windows
    assert found.windows == sum(each.windows for each in results)
    assert after - between <= 1.15 * (between - before)
    for number, result in enumerate(results):
        segments = [each for each in found.segments if each.channel == f"ch_{number}"]
        assert alike(" ".join(each.text for each in segments), result.text) > 0.97
        for one, other in zip(segments, result.segments, strict=True):
            assert (one.start, one.end) == pytest.approx((other.start, other.end), abs=0.1)


def test_without_words_a_text_begins_ends_and_pauses_with_its_speech(
    engine: Engine, tmp_path: Path
) -> None:
    """Windows have 0.4 s of padding on either side, and pauses of up to 4 s in them."""
    quiet = np.zeros(SAMPLE_RATE, dtype=np.float32)
    # "Oh, I'm originally from Chicago also. I'm in New Jersey now though.", from 0.1 s on.
    first = conversation()[18 * SAMPLE_RATE : round(21.6 * SAMPLE_RATE)]
    # "Well, there's not much difference.", from 0.1 s on.
    second = conversation()[round(21.7 * SAMPLE_RATE) : 24 * SAMPLE_RATE]
    path = write_wav(
        tmp_path / "pause.wav", np.concatenate([quiet, first, quiet, quiet, second, quiet])
    )
    submission = engine.submit(path, Options(language="en", words=False), name="pause")
    (segment,) = submission.future.result(PATIENCE).segments
    assert segment.words == ()
    assert segment.start == pytest.approx(1.1, abs=0.1)
    assert segment.end == pytest.approx(8.9, abs=0.1)
    times = timed(segment.text, (), segment.start * 1000, segment.end * 1000, segment.speech)
    goes_on = segment.text.index("Well")
    assert max(times.ends[:goes_on]) == pytest.approx(4600, abs=100)
    assert times.starts[goes_on] == pytest.approx(6700, abs=100)


HOSTILE: dict[str, tuple[ErrorCode, str] | str] = {
    "awful.wav": (ErrorCode.DECODE_FAILED, "sample rate is 1092676 Hz"),
    "bad.wav": (ErrorCode.NOT_MEDIA, "No decoder recognises the file"),
    "empty.wav": (ErrorCode.EMPTY_FILE, "The file has no bytes"),
    "noise.mp3": (ErrorCode.NOT_MEDIA, "No decoder recognises the file"),
    "text.wav": (ErrorCode.NOT_MEDIA, "The file is text; send the audio itself"),
    # A valid header without samples, and eight seconds of nothing: empty transcripts.
    "null.wav": "",
    "silence.wav": "",
    # The first third of a second of "Printing, in the only sense ...".
    "truncated.flac": "printing",
}
"""Every hostile file, and its outcome: an error, or a text."""


def test_a_voice_35_db_below_the_others_is_written_down(
    engine: Engine, speech_dir: Path, tmp_path: Path
) -> None:
    """Whisper leaves out what is far quieter than the rest of its window."""
    folder = speech_dir / "english"
    names = ["LJ001-0002.flac", "LJ001-0014.flac", "LJ001-0008.flac"]
    pause = np.zeros(SAMPLE_RATE // 2, dtype=np.float32)
    parts: list[NDArray[np.float32]] = []
    for name, gain in zip(names, (1.0, 0.018, 1.0), strict=True):
        parts += [samples_of(folder / name) * np.float32(gain), pause]
    path = write_wav(tmp_path / "voices.wav", np.concatenate(parts))
    submission = engine.submit(path, Options(language="en", words=False), name="voices")
    expected = " ".join(transcripts(folder)[name] for name in names)
    assert alike(submission.future.result(PATIENCE).text, expected) > 0.9


def test_every_hostile_file_has_its_outcome(engine: Engine, speech_dir: Path) -> None:
    folder = speech_dir / "hostile"
    assert {path.name for path in folder.iterdir()} == set(HOSTILE)
    submissions = {name: engine.submit(folder / name, Options(), name=name) for name in HOSTILE}
    good = engine.submit(
        speech_dir / "english" / "LJ001-0002.flac", Options(words=False), name="good"
    )
    for name, outcome in HOSTILE.items():
        future = submissions[name].future
        if isinstance(outcome, tuple):
            error = future.exception(PATIENCE)
            assert isinstance(error, JobError), name
            code, part = outcome
            assert error.code is code
            assert part in error.message
            assert str(folder) not in error.message
            continue
        recognition = future.result(PATIENCE)
        assert letters(recognition.text) == outcome, name
        if not outcome:
            assert recognition.language is None
    notes = submissions["truncated.flac"].future.result(0).notes
    assert notes[0] == "1 damaged packets were skipped"
    assert notes[1].startswith("The file says it lasts 9.7 s; 0.3 s of audio were found")
    assert "modern" in good.future.result(PATIENCE).text
    assert engine.failure() is None


@pytest.mark.parametrize(
    ("file", "language", "said", "times"),
    [
        ("text-faults/d_LJ001-0008.wav", "en", "surpassed", 1),
        ("english-more/LJ001-0022.flac", "en", "since", 1),
        pytest.param("english-more/LJ001-0078.flac", "en", "improve", 1, marks=pytest.mark.long),
        # Said twice by the speaker, and so decoded twice in different ways.
        pytest.param("text-faults/b_own_es.wav", "es", "arenas", 2, marks=pytest.mark.long),
    ],
)
def test_what_is_said_comes_as_often_as_it_is_said(
    engine: Engine, speech_dir: Path, file: str, language: str, said: str, times: int
) -> None:
    submission = engine.submit(speech_dir / file, Options(language=language), name=file)
    text = submission.future.result(PATIENCE).text
    assert letters(text).count(said) == times, text


@pytest.mark.long
@pytest.mark.parametrize("language", ["hi", "ta", "te"])
def test_scripts_of_several_bytes_lose_no_speech_without_a_note(
    engine: Engine, speech_dir: Path, language: str
) -> None:
    path = speech_dir / "text-faults" / f"x_{language}.wav"
    submission = engine.submit(path, Options(language=language), name=path.name)
    found = submission.future.result(PATIENCE)
    lost = found.audio_seconds - sum(each.end - each.start for each in found.segments)
    named = [note for note in found.notes if "s of speech have no text" in note]
    # Pauses, and what lies between words, are in no segment.
    assert lost < 6.0 or named, found
    for segment in found.segments:
        # Not what chance writes at temperature 1, and no loop.
        assert segment.avg_logprob >= FLOOR_LOGPROB
        assert compression_ratio(segment.text) <= MAX_COMPRESSION
    if language == "ta":
        tamil = sum("\u0b80" <= letter <= "\u0bff" for letter in letters(found.text))
        assert tamil > 100


@pytest.mark.long
def test_a_translation_has_english_words(engine: Engine, speech_dir: Path) -> None:
    path = speech_dir / "languages" / "ja.wav"
    submission = engine.submit(path, Options(language="ja", task="translate"), name=path.name)
    (segment,) = submission.future.result(PATIENCE).segments
    assert [word.word for word in segment.words] == segment.text.split()
    assert len(segment.words) > 3


def test_the_engine_describes_itself(engine: Engine) -> None:
    info = engine.info
    assert (info.model, info.device, info.compute_type) == ("base", "cpu", "int8")
    assert (info.batch_size, info.beam_size, info.vad) == (4, 5, "silero")
    assert info.versions["ctranslate2"]
    assert len(engine.fingerprint) == 32
