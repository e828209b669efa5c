"""Preparing a file: its windows as they come, with features, and no more memory for more audio."""

from __future__ import annotations

import tracemalloc
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.fakes.media import encode, tone, wav_bytes, write_wav
from worker.errors import ErrorCode, JobError, TransientError
from worker.speech.children.framing import Frame
from worker.speech.config import SPANS, WINDOWS
from worker.speech.media.raw import RawAudio
from worker.speech.prepare.features import FrontEnd
from worker.speech.prepare.frames import PrepareConfig, PrepareTask
from worker.speech.prepare.samples_file import SamplesFile, map_samples
from worker.speech.prepare.stages import Tools, prepare
from worker.speech.windows import FRAME, SAMPLE_RATE, Span

CONFIG = PrepareConfig(mels=80, spans=asdict(SPANS), windows=asdict(WINDOWS))


class LoudnessDetector:
    """Stands for Silero: what is loud is speech, so that tones will do."""

    def stream(self) -> LoudnessDetector:
        self._rest = np.zeros(0, dtype=np.float32)
        return self

    def feed(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        samples = np.concatenate([self._rest, samples])
        frames = len(samples) // FRAME
        self._rest = samples[frames * FRAME :]
        whole = samples[: frames * FRAME].reshape(-1, FRAME)
        loud: NDArray[np.bool_] = np.abs(whole).max(axis=1) > 0.01
        return loud.astype(np.float32)

    def finish(self) -> NDArray[np.float32]:
        return self.feed(np.zeros(-len(self._rest) % FRAME, dtype=np.float32))


@pytest.fixture(scope="module")
def tools() -> Tools:
    stock = Tools.load(PrepareConfig(mels=80, vad="none", spans=CONFIG.spans))
    return Tools(LoudnessDetector(), stock.front_end, stock.spans, type(stock.windows)(max_gap=4.0))


def silence(seconds: float) -> NDArray[np.float32]:
    return np.zeros(round(seconds * SAMPLE_RATE), dtype=np.float32)


@pytest.fixture
def talk(tmp_path: Path) -> Path:
    """Three bursts of sound: the first two are one window, 5 s before the third."""
    parts = [silence(1), tone(2), silence(1.5), tone(1), silence(5), tone(3, hertz=300), silence(2)]
    return write_wav(tmp_path / "talk.wav", np.concatenate(parts))


def run(path: Path, tools: Tools, **task: Any) -> list[Frame]:
    return list(prepare(PrepareTask(str(path), **task), CONFIG, tools))


def windows_of(frames: list[Frame]) -> list[Frame]:
    return [frame for frame in frames if frame[0]["kind"] == "window"]


def test_a_file_without_a_header_is_read_as_the_task_says(tmp_path: Path, tools: Tools) -> None:
    path = encode(
        tmp_path / "a.ul", tone(2.0, 8_000), codec="pcm_mulaw", container="mulaw", rate=8_000
    )
    frames = run(path, tools, raw=RawAudio("mulaw", 8_000))
    assert frames[0][0]["stated_seconds"] == pytest.approx(2.0)
    assert frames[-1][0]["audio_seconds"] == pytest.approx(2.0, abs=0.001)
    with pytest.raises(JobError, match="--input-format"):
        run(path, tools)


def test_frames_come_in_order(talk: Path, tools: Tools) -> None:
    frames = run(talk, tools)
    kinds = [header["kind"] for header, _ in frames]
    assert kinds[0] == "opened"
    assert kinds[-1] == "end"
    assert set(kinds) == {"opened", "window", "progress", "end"}
    assert frames[0][0]["stated_seconds"] == pytest.approx(15.5)
    end = frames[-1][0]
    assert end["audio_seconds"] == pytest.approx(15.5)
    assert 0.05 < end["peak"] <= 1.0
    assert set(end["seconds"]) == {"decode", "windows"}
    assert all(seconds > 0 for seconds in end["seconds"].values())


def test_windows_hold_the_features_of_their_sound(talk: Path, tools: Tools) -> None:
    found = windows_of(run(talk, tools, samples=True))
    assert [header["index"] for header, _ in found] == [0, 1]
    spans = [[Span(start, end) for start, end in header["spans"]] for header, _ in found]
    assert [len(each) for each in spans] == [2, 1]
    assert spans[0][0].start / SAMPLE_RATE == pytest.approx(1 - 0.4, abs=0.04)
    assert spans[1][0].end / SAMPLE_RATE == pytest.approx(13.5 + 0.4, abs=0.04)
    raw = np.frombuffer(talk.read_bytes()[44:], dtype="<i2")
    samples = raw.astype(np.float32) / 32_768
    front_end = FrontEnd(80)
    for (header, payload), each in zip(found, spans, strict=True):
        cut = np.concatenate([samples[span.start : span.end] for span in each])
        size = 80 * header["frames"] * 4
        features = np.frombuffer(payload, dtype=np.float32, count=80 * header["frames"])
        np.testing.assert_allclose(
            features.reshape(80, -1), front_end(cut.astype(np.float32)), atol=1e-4
        )
        sent = np.frombuffer(payload, dtype="<i2", offset=size)
        np.testing.assert_array_equal(sent / np.float32(32_768), cut)


def test_a_model_that_computes_features_gets_samples(talk: Path, tools: Tools) -> None:
    raw = np.frombuffer(talk.read_bytes()[44:], dtype="<i2")
    found = windows_of(run(talk, replace(tools, front_end=None), samples=True))
    assert found
    for header, payload in found:
        assert header["frames"] == 0
        cut = np.concatenate([raw[start:end] for start, end in header["spans"]])
        np.testing.assert_array_equal(np.frombuffer(payload, dtype="<i2"), cut)


def test_windows_come_without_samples_where_nobody_aligns(talk: Path, tools: Tools) -> None:
    for header, payload in windows_of(run(talk, tools)):
        assert len(payload) == 80 * header["frames"] * 4


def test_finished_windows_are_named_but_not_computed(talk: Path, tools: Tools) -> None:
    found = windows_of(run(talk, tools))
    header = found[0][0]
    start = header["spans"][0][0] / SAMPLE_RATE
    end = header["spans"][-1][1] / SAMPLE_RATE
    again = windows_of(run(talk, tools, done=((0, start, end), (1, 1.0, 2.0))))
    assert again[0] == (
        {**{k: header[k] for k in ("kind", "index", "spans", "speech")}, "done": True},
        b"",
    )
    # The other is at another place than the checkpoint says: it is computed.
    assert again[1] == found[1]


def test_a_word_before_hours_of_silence_comes_at_once_and_memory_stays(
    tmp_path: Path, tools: Tools
) -> None:
    minutes = 10
    path = write_wav(tmp_path / "a.wav", np.concatenate([tone(1), silence(60 * minutes)]))
    order: list[str] = []
    tracemalloc.start()
    try:
        for header, _ in prepare(PrepareTask(str(path)), CONFIG, tools):
            order.append(header["kind"])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert order.count("window") == 1
    # Within the first seconds, not after the last; and life is shown twice a minute.
    assert order.index("window") == 1
    assert 2 * minutes - 2 <= order.count("progress") <= 2 * minutes + 2
    # Ten minutes are 38 MB as they are decoded.
    assert peak < 8e6


def test_long_speech_streams(tmp_path: Path, tools: Tools) -> None:
    peaks = []
    for seconds in (90, 270):
        path = write_wav(tmp_path / "a.wav", tone(seconds))
        tracemalloc.start()
        try:
            frames = [header for header, _ in prepare(PrepareTask(str(path)), CONFIG, tools)]
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
        found = [header for header in frames if header["kind"] == "window"]
        assert len(found) >= seconds / 30
        covered = [span for header in found for span in header["spans"]]
        assert covered[0][0] == 0
        assert covered[-1][1] == seconds * SAMPLE_RATE
        assert all(left[1] == right[0] for left, right in pairwise(covered))
    first = frames.index(found[0])
    assert first < len(frames) / 4, "the first window waits for the last second"
    assert peaks[1] < 1.1 * peaks[0]


def test_the_samples_alone_where_speech_is_found_elsewhere(talk: Path) -> None:
    config = PrepareConfig(mels=80, vad="none")
    frames = list(prepare(PrepareTask(str(talk)), config, Tools.load(config)))
    assert {header["kind"] for header, _ in frames} == {"opened", "samples", "progress", "end"}
    sent = np.frombuffer(b"".join(payload for _, payload in frames), dtype=np.float32)
    raw = np.frombuffer(talk.read_bytes()[44:], dtype="<i2")
    np.testing.assert_allclose(sent, raw / 32_768, atol=1e-6)


def test_all_samples_come_beside_the_windows_if_configured(talk: Path, tools: Tools) -> None:
    config = replace(CONFIG, all_samples=True)
    frames = list(prepare(PrepareTask(str(talk)), config, tools))
    sent = [payload for header, payload in frames if header["kind"] == "samples"]
    raw = np.frombuffer(talk.read_bytes()[44:], dtype="<i2")
    whole = np.frombuffer(b"".join(sent), dtype=np.float32)
    np.testing.assert_allclose(whole, raw / 32_768, atol=1e-6)
    assert windows_of(frames) == windows_of(run(talk, tools))


@pytest.mark.parametrize("seconds", [0.0, 0.01, 3.0])
def test_a_file_without_speech_has_no_windows(tmp_path: Path, tools: Tools, seconds: float) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wav_bytes((silence(seconds)).astype("<i2")))
    frames = run(path, tools)
    assert windows_of(frames) == []
    assert frames[-1][0]["audio_seconds"] == pytest.approx(seconds)


def test_speech_to_the_very_end_is_kept(tmp_path: Path, tools: Tools) -> None:
    path = write_wav(tmp_path / "a.wav", np.concatenate([silence(1), tone(1.234)]))
    (header, _), *_ = windows_of(run(path, tools))
    assert header["spans"][-1][1] == round(2.234 * SAMPLE_RATE)


class DoubtfulDetector(LoudnessDetector):
    """Isn't sure of anything."""

    def feed(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        return super().feed(samples) * np.float32(0.2)


def test_sound_that_may_be_speech_is_told_at_the_end(talk: Path, tools: Tools) -> None:
    assert run(talk, tools)[-1][0]["notes"] == []
    frames = run(talk, replace(tools, detector=DoubtfulDetector()))
    assert windows_of(frames) == []
    assert frames[-1][0]["notes"] == ["6.0 s of sound that may be speech were passed over"]


def test_a_file_over_the_limit(talk: Path, tools: Tools) -> None:
    config = PrepareConfig(mels=80, spans=CONFIG.spans, max_audio_seconds=5.0)
    with pytest.raises(JobError) as caught:
        list(prepare(PrepareTask(str(talk)), config, tools))
    assert caught.value.code is ErrorCode.AUDIO_TOO_LONG


@pytest.mark.parametrize("vad", ["silero", "none"])
def test_all_samples_of_a_file_are_kept_on_disk_if_asked_for(
    talk: Path, tools: Tools, tmp_path: Path, vad: str
) -> None:
    kept = tmp_path / "samples"
    used = tools if vad == "silero" else replace(tools, detector=None)
    frames = run(talk, used, samples_file=str(kept))
    assert frames[-1][0]["kind"] == "end"
    # They are on disk before the end is told: whoever hears of it may look at them.
    np.testing.assert_array_equal(
        map_samples(kept), np.frombuffer(talk.read_bytes()[44:], dtype="<i2")
    )
    assert kept.stat().st_mode & 0o077 == 0


def test_the_samples_of_a_silent_file_are_none(tmp_path: Path) -> None:
    with SamplesFile(str(tmp_path / "samples")):
        pass
    assert map_samples(tmp_path / "samples").shape == (0,)


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/dev/full", "folder /dev: No space left"),
        ("/no/such/one", "folder /no/such: No such file"),
    ],
)
def test_samples_that_can_not_be_kept_now_may_be_kept_later(
    talk: Path, tools: Tools, path: str, why: str
) -> None:
    with pytest.raises(TransientError, match=why):
        run(talk, tools, samples_file=path)
