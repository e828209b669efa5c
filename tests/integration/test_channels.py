"""Calls and films in the real engine with real children: each channel, each track on its own."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.engines import ENGLISH, PATIENCE, Make, error, making_engines, result, until
from tests.fakes.media import write_wav
from tests.fakes.model import FakeModel
from tests.fakes.speech import conversation, samples_of, talk
from worker.errors import ErrorCode
from worker.speech.api import Options, Partial, Recognition
from worker.speech.engine.engine import Engine

CALL = Options(language="en", channel_identification=True)
FILM = Options(language="en", audio_stream="all")

Samples = NDArray[np.float32]


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[Engine, FakeModel]]:
    """An engine that many tests use, one after the other, and its model."""
    model = FakeModel()
    with making_engines() as make:
        yield make(model), model


@pytest.fixture(scope="module")
def voices() -> tuple[Samples, Samples]:
    """The two sides of a call: they speak in turns, and at once in between; 12 seconds."""
    speech = conversation()[9 * 16_000 : 13 * 16_000]
    first, second = np.zeros((2, 12 * 16_000), dtype=np.float32)
    first[: len(speech)] = speech
    first[9 * 16_000 : 11 * 16_000] = speech[: 2 * 16_000]
    second[3 * 16_000 : 6 * 16_000] = speech[16_000:]
    return first, second


def call_of(path: Path, *sides: Samples) -> Path:
    """A file with a channel for each side."""
    return write_wav(path, np.stack(sides, axis=1))


def film_of(path: Path, tracks: Sequence[Samples]) -> Path:
    """A film whose tracks hold these."""
    with av.open(str(path), "w") as out:
        streams = [out.add_stream("flac", rate=16_000, layout="mono") for _ in tracks]
        for at in range(0, max(map(len, tracks)), 4096):
            for stream, samples in zip(streams, tracks, strict=True):
                piece = (samples[at : at + 4096] * 32_767).astype(np.int16)
                if len(piece):
                    frame = av.AudioFrame.from_ndarray(piece[None], format="s16", layout="mono")
                    frame.sample_rate, frame.pts = 16_000, at
                    frame.time_base = Fraction(1, 16_000)
                    out.mux(stream.encode(frame))
        for stream in streams:
            out.mux(stream.encode(None))
    return path


def said(recognition: Recognition, channel: str | None = None) -> list[tuple[float, float, str]]:
    """What is said, and when; in one channel, if one is named."""
    return [
        (each.start, each.end, each.text)
        for each in recognition.segments
        if each.channel == channel
    ]


def test_a_call_says_and_costs_what_its_two_sides_do_alone(
    shared: tuple[Engine, FakeModel], voices: tuple[Samples, Samples], tmp_path: Path
) -> None:
    engine, model = shared
    files = [write_wav(tmp_path / f"{n}.wav", side) for n, side in enumerate(voices)]

    def counted() -> tuple[int, float, float]:
        requests = [request for call in model.calls for request in call]
        seconds = sum(request.seconds for request in requests)
        return model.encoded_windows, seconds, engine.stats.audio_seconds

    began = counted()
    alone = [result(engine.submit(file, ENGLISH, name=file.name)) for file in files]
    between = counted()
    call = call_of(tmp_path / "call.wav", *voices)
    found = result(engine.submit(call, CALL, name="call"))
    ended = counted()
    assert [said(found, label) for label in ("ch_0", "ch_1")] == [said(each) for each in alone]
    assert [len(each.segments) for each in alone] == [2, 1]
    # Not a window, and not a second of speech more than the two sides have.
    assert ended[0] - between[0] == between[0] - began[0] == found.windows == 3
    assert ended[1] - between[1] == pytest.approx(between[1] - began[1])
    assert ended[2] - between[2] == found.audio_seconds == 12.0
    assert found.channels is not None
    assert [each.seconds for each in found.channels] == pytest.approx(
        [sum(part.end - part.start for part in each.segments) for each in alone]
    )
    assert [each.start for each in found.segments] == sorted(each.start for each in found.segments)
    assert found.segments[1].start < found.segments[0].end, "they speak at once"
    assert found.notes == ()


def test_a_channel_that_is_silent_costs_nothing_and_one_that_is_a_copy_is_transcribed_once(
    shared: tuple[Engine, FakeModel], voices: tuple[Samples, Samples], tmp_path: Path
) -> None:
    engine, model = shared
    first, second = voices
    path = call_of(tmp_path / "call.wav", first, first, np.zeros_like(first), second)
    options = Options(
        language="en", channel_identification=True, channel_labels=("agent", "copy", "nobody")
    )
    before = model.encoded_windows
    found = result(engine.submit(path, options, name="call"))
    assert model.encoded_windows - before == 3
    assert (len(said(found, "agent")), len(said(found, "ch_3"))) == (2, 1)
    assert found.channels is not None
    assert [(each.label, each.same_as, each.seconds > 0) for each in found.channels] == [
        ("agent", None, True),
        ("copy", "agent", True),
        ("nobody", None, False),
        ("ch_3", None, True),
    ]
    assert found.notes == (
        "Channels agent and copy hold the same samples: they were transcribed once, as agent",
        "nobody: Nothing was heard: the audio is silent (its loudest sample is at zero)",
    )


def test_tracks_of_a_film_are_transcribed_each_on_its_own_or_one_alone(
    shared: tuple[Engine, FakeModel], voices: tuple[Samples, Samples], tmp_path: Path
) -> None:
    engine, _ = shared
    first, second = voices
    film = film_of(tmp_path / "film.mkv", [first, second[: 9 * 16_000], first])
    found = result(engine.submit(film, FILM, name="film"))
    assert found.channels is not None
    assert [
        (each.label, each.audio_stream, each.channel, each.same_as) for each in found.channels
    ] == [
        ("track_0", 0, None, None),
        ("track_1", 1, None, None),
        ("track_2", 2, None, "track_0"),
    ]
    assert (len(said(found, "track_0")), len(said(found, "track_1"))) == (2, 1)
    assert found.audio_seconds == pytest.approx(12.0, abs=0.1)
    one = result(engine.submit(film, Options(language="en", audio_stream=1), name="one"))
    assert one.channels is None
    assert said(one) == said(found, "track_1")
    options = Options(language="en", audio_stream=1, channel_identification=True)
    alone = result(engine.submit(film, options, name="channels of one"))
    assert alone.channels is not None
    assert [(each.label, each.audio_stream, each.channel) for each in alone.channels] == [
        ("ch_0", 1, 0)
    ]
    assert said(alone, "ch_0") == said(one)
    missing = error(engine.submit(film, Options(audio_stream=7), name="missing"))
    assert missing.code is ErrorCode.NO_AUDIO_STREAM
    assert "7" in missing.message


def test_a_call_that_was_interrupted_decodes_no_window_twice_and_keeps_its_languages(
    engines: Make, voices: tuple[Samples, Samples], tmp_path: Path
) -> None:
    first, second = voices
    path = call_of(tmp_path / "call.wav", second, second, first)
    options = Options(channel_identification=True)
    steps = threading.Semaphore(0)
    model = FakeModel(
        # What is 3 s long is all that the first channel says.
        language=lambda request: ("de" if 3.0 < request.seconds < 4.2 else "fr", 0.9),
        gate=lambda: steps.acquire(timeout=PATIENCE),
    )
    engine = engines(model, windows=1)
    steps.release(100)
    whole = result(engine.submit(path, options, name="call"))
    assert whole.channels is not None
    assert [each.language and each.language.code for each in whole.channels] == ["de", "de", "fr"]
    assert [each.language for each in whole.segments] == ["fr", "de", "fr"]
    assert dict(whole.languages).keys() == {"de", "fr"}

    until(engine.idle)
    while steps.acquire(blocking=False):
        pass
    before = model.encoded_windows
    submission = engine.submit(path, options, name="call")
    assert submission.partial() == Partial()
    steps.release(1)
    until(lambda: submission.partial().finished == 1)
    done, length = submission.progress()
    assert length == whole.audio_seconds
    assert 0.0 < done < length
    partial = Partial.model_validate_json(submission.partial().model_dump_json())
    assert [len(each.windows) for each in partial.channels] == [1, 0, 0]
    submission.cancel()
    steps.release(100)
    until(engine.idle)
    on_the_device = model.encoded_windows - before - 1

    resumed = result(engine.submit(path, options, name="call", resume=partial))
    assert model.encoded_windows - before - on_the_device == whole.windows == 3
    assert (resumed.resumed, resumed.windows) == (1, 3)
    assert (resumed.segments, resumed.channels) == (whole.segments, whole.channels)
    assert (resumed.language, resumed.languages) == (whole.language, whole.languages)


def test_a_file_that_waits_for_its_survey_can_be_cancelled_and_its_engine_stopped(
    engines: Make, voices: tuple[Samples, Samples], tmp_path: Path
) -> None:
    path = call_of(tmp_path / "call.wav", *voices)
    engine = engines(FakeModel())
    assert len(result(engine.submit(path, CALL, name="call")).segments) == 3
    (child,) = engine.children()
    os.kill(child, signal.SIGSTOP)
    submission = engine.submit(path, CALL, name="call")
    assert submission.partial() == Partial()
    assert not engine.idle()
    submission.cancel()
    assert engine.idle()
    assert engine.held_seconds() == 0.0
    stopped = engine.submit(path, CALL, name="call")
    engine.stop()
    for each in (submission, stopped):
        with pytest.raises(CancelledError):
            each.future.result(0)


def hour(path: Path) -> Path:
    """An hour of noise and a copy of it: a survey has to hear it to its end."""
    noise = np.random.default_rng(3).normal(0.0, 0.001, 3600 * 8_000).astype(np.float32)
    return write_wav(path, np.stack([noise, noise], axis=1), 8_000)


@pytest.mark.long
def test_a_survey_in_its_course_can_be_cancelled_and_one_that_stands_still_is_ended(
    engines: Make, tmp_path: Path
) -> None:
    path = hour(tmp_path / "call.wav")
    engine = engines(FakeModel(), prepare_stall_seconds=1.0)
    submission = engine.submit(path, CALL, name="call")
    until(lambda: submission.progress()[1] is not None)
    assert submission.partial() == Partial()
    submission.cancel()
    burst = talk(tmp_path / "a.wav")
    assert len(result(engine.submit(burst, ENGLISH, name="next")).segments) == 1

    stalled = engine.submit(path, CALL, name="call")
    until(lambda: stalled.progress()[1] is not None)
    (child,) = engine.children()
    os.kill(child, signal.SIGSTOP)
    failed = error(stalled)
    assert failed.code is ErrorCode.DECODE_LIMIT
    assert failed.message.startswith("Decoding stood still for prepare_stall_seconds = 1")
    assert stalled.partial() == Partial()
    assert len(result(engine.submit(burst, ENGLISH, name="next")).segments) == 1

    stopped = engine.submit(path, CALL, name="call")
    until(lambda: stopped.progress()[1] is not None)
    engine.stop()
    with pytest.raises(CancelledError):
        stopped.future.result(0)


@pytest.mark.long
def test_a_child_that_dies_with_a_channel_fails_the_file_and_no_other(
    engines: Make, tmp_path: Path
) -> None:
    path = hour(tmp_path / "call.wav")
    samples = samples_of(path)[: 1800 * 16_000]
    call_of(path, samples, samples[::-1])
    engine = engines(FakeModel())
    submission = engine.submit(path, CALL, name="call")
    until(lambda: submission.partial().channels != ())  # surveyed: a channel is being decoded
    (child,) = engine.children()
    os.kill(child, signal.SIGKILL)
    failed = error(submission)
    assert failed.code is ErrorCode.DECODE_CRASHED
    assert failed.message.startswith("ch_0: The decoder died on this file (SIGKILL)")
    assert engine.idle()
    assert len(result(engine.submit(talk(tmp_path / "a.wav"), ENGLISH, name="a")).segments) == 1
    assert engine.failure() is None
