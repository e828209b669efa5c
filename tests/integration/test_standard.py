"""Stock WhisperX behind the same interface, and its speech detector in the optimized engine."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.media import encode, tone, write_wav
from worker.errors import ErrorCode, JobError
from worker.speech.api import Options, Transcriber
from worker.speech.config import EngineConfig
from worker.speech.engine.engine import build
from worker.speech.media.raw import RawAudio

pytestmark = pytest.mark.timeout(300)

PATIENCE = 200.0
CLIP = "LJ001-0008.flac"
SAID = "has never been surpassed"


@pytest.fixture(scope="module", params=["standard", "pyannote"])
def engine(request: pytest.FixtureRequest) -> Iterator[Transcriber]:
    config = EngineConfig(
        model="base",
        device="cpu",
        compute_type="int8",
        word_times="attention",
        self_test=False,
        num_workers=1,
        transcriber="standard" if request.param == "standard" else "optimized",
        vad="pyannote",
    )
    engine = build(config)
    engine.start()
    yield engine
    engine.stop()


def test_a_clip_says_what_it_says(engine: Transcriber, speech_dir: Path) -> None:
    clip = speech_dir / "english" / CLIP
    found = engine.submit(clip, Options(language="en"), name="clip").future.result(PATIENCE)
    text = " ".join(segment.text for segment in found.segments).lower()
    assert SAID in text
    assert found.audio_seconds == pytest.approx(1.78, abs=0.1)
    assert all(0 <= s.start <= s.end <= found.audio_seconds for s in found.segments)
    assert engine.held_seconds() == 0.0


@pytest.mark.parametrize("engine", ["standard"], indirect=True)
def test_the_standard_transcriber_detects_among_the_languages_that_there_may_be(
    engine: Transcriber, speech_dir: Path
) -> None:
    clip = speech_dir / "english" / CLIP
    asked = Options(words=False, language_options=("de", "fr"), carry_context="on")
    found = engine.submit(clip, asked, name="clip").future.result(PATIENCE)
    assert found.language is not None
    assert found.language.code in asked.language_options
    assert found.language.detected
    assert [segment.language for segment in found.segments] == [found.language.code]
    ((code, seconds),) = found.languages
    assert code == found.language.code
    assert 0 < seconds <= found.audio_seconds
    assert any("carry_context = 'on' was not followed" in note for note in found.notes)
    english = Options(words=False, language_options=("de", "en", "fr"))
    found = engine.submit(clip, english, name="clip").future.result(PATIENCE)
    assert [code for code, _ in found.languages] == ["en"]
    assert found.notes == ()
    with pytest.raises(JobError, match="transcriber = 'optimized'"):
        engine.submit(clip, Options(multilingual=True), name="clip")


@pytest.mark.parametrize("engine", ["standard"], indirect=True)
def test_as_much_of_a_vocabulary_as_fits_is_told(engine: Transcriber, speech_dir: Path) -> None:
    phrases = ("surpassed", *(f"zymurgy {number}" for number in range(200)))
    asked = Options(language="en", words=False, hotwords="Gutenberg", vocabulary=phrases)
    clip = speech_dir / "english" / CLIP
    found = engine.submit(clip, asked, name="clip").future.result(PATIENCE)
    (note,) = found.notes
    assert re.match(r"The decoder was told \d+ of the vocabulary's 201 phrases", note)
    assert "zymurgy" not in note
    assert "surpassed" in found.text
    assert "zymurgy" not in found.text.lower()


def test_a_tone_is_no_speech_and_a_text_no_audio(engine: Transcriber, tmp_path: Path) -> None:
    quiet = write_wav(tmp_path / "quiet.wav", tone(2.0, loudness=0.0))
    assert engine.submit(quiet, Options(), name="q").future.result(PATIENCE).segments == ()
    text = tmp_path / "text.wav"
    text.write_text("not audio at all")
    error = engine.submit(text, Options(), name="t").future.exception(PATIENCE)
    assert isinstance(error, JobError)
    assert error.code is ErrorCode.NOT_MEDIA
    assert engine.failure() is None


def test_a_file_without_a_header_is_read_as_its_options_say(
    engine: Transcriber, tmp_path: Path
) -> None:
    call = encode(
        tmp_path / "call.ul", tone(2.0, 8_000), codec="pcm_mulaw", container="mulaw", rate=8_000
    )
    said = Options(raw=RawAudio("mulaw", 8_000))
    assert engine.submit(call, said, name="c").future.result(PATIENCE).audio_seconds == 2.0
