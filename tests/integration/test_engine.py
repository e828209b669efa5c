"""The real engine with real children around a model that fails on demand."""

from __future__ import annotations

import hashlib
import os
import signal
import threading
import time
from collections.abc import Sequence
from concurrent.futures import CancelledError
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from structlog.testing import capture_logs

from tests.engines import ENGLISH, PATIENCE, Make, error, result, until
from tests.fakes.media import encode, tone, write_wav
from tests.fakes.model import FakeModel, load_fake
from tests.fakes.model_hosts import BlackHole, use_caches, use_hub
from tests.fakes.speech import talk
from worker import logs
from worker.errors import EngineError, ErrorCode
from worker.results.transcript import Word
from worker.speech.api import Options, Partial, Recognition, Submission
from worker.speech.config import EngineConfig
from worker.speech.engine import inflow
from worker.speech.engine.engine import Engine
from worker.speech.engine.file import File
from worker.speech.engine.flow import Flow
from worker.speech.engine.whole_file import WholeFileStage
from worker.speech.fetch import hosts
from worker.speech.media.raw import RawAudio
from worker.speech.media.reader import AudioLimits, AudioReader
from worker.speech.model.decoding import Request
from worker.speech.model.loaded import Loaded
from worker.speech.windows import FULL_POSITIONS


def text(recognition: Recognition) -> list[str]:
    return [segment.text for segment in recognition.segments]


def prepared(submission: Submission) -> bool:
    """Whether a file's length is known from its end, not from its header."""
    state = submission.state  # type: ignore[attr-defined] # the engine's own submission
    return state.total is not None


def test_jobs_with_vocabularies_of_their_own_share_batches_and_nothing_tells_them(
    engines: Make, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    logs.configure("DEBUG", "text")
    path = talk(tmp_path / "a.wav", bursts=1, seconds=2.0)
    lists = [tuple(f"pannartz{job}x{n}" for n in range(1 + 25 * job)) for job in range(10)]
    opened = threading.Event()

    def poison(request: Request) -> Exception | None:
        unlucky = model.listed(lists[-1][:1]).phrases[0]
        return RuntimeError("bad window") if unlucky[0] in request.context else None

    model = FakeModel(gate=lambda: opened.wait(PATIENCE), poison=poison)
    engine = engines(model, windows=5, max_wait=PATIENCE)
    jobs = [
        engine.submit(path, replace(ENGLISH, vocabulary=told), name=f"job-{number}")
        for number, told in enumerate(lists)
    ]
    until(lambda: all(prepared(each) for each in jobs))
    opened.set()
    failed = error(jobs.pop())
    found = [result(each) for each in jobs]
    assert [len(call) for call in model.calls[:2]] == [5, 5]
    assert [len(each.notes) for each in found] == [0] * 5 + [1] * 4
    assert "102 of the vocabulary's 201 phrases" in found[-1].notes[0]
    out = capfd.readouterr()
    assert "event=batch.completed" in out.err
    assert "event=window.failed" in out.err
    for told in (out.err, out.out, str(failed), repr(found), repr(engine.stats)):
        assert "pannartz" not in told


@pytest.mark.parametrize("takes_samples", [False, True])
def test_windows_of_many_files_share_batches_and_say_what_they_say_alone(
    engines: Make, tmp_path: Path, takes_samples: bool
) -> None:
    paths = [talk(tmp_path / f"{n}.wav", bursts=n, seconds=2.0 + n) for n in (1, 2, 3)]
    opened = threading.Event()
    model = FakeModel(gate=lambda: opened.wait(PATIENCE), takes_samples=takes_samples)
    engine = engines(model, num_workers=2)
    together = [engine.submit(path, ENGLISH, name=path.name) for path in paths]
    until(lambda: all(prepared(each) for each in together))
    opened.set()
    texts = [text(result(each)) for each in together]
    assert [len(each) for each in texts] == [1, 2, 3]
    # The first batch went off with what was there; the rest of six windows shared one.
    assert sum(len(call) for call in model.calls) == 6
    kinds = {request.sound.dtype for call in model.calls for request in call}
    assert kinds == {np.dtype(np.int16 if takes_samples else np.float32)}
    assert len(model.calls) <= 3
    stats = engine.stats
    assert (stats.windows, stats.batches) == (6, len(model.calls))
    assert (stats.encoder_calls, stats.encoded_windows) == (len(model.calls), 6)
    assert stats.second_attempts == 0
    assert stats.audio_seconds == pytest.approx(sum(n * (7 + n) for n in (1, 2, 3)))

    alone = [text(result(engine.submit(path, ENGLISH, name=path.name))) for path in paths]
    assert alone == texts
    assert len({line for each in texts for line in each}) == 6
    assert engine.held_seconds() == 0.0
    assert engine.last_progress() is None


def test_a_file_without_a_header_is_read_as_its_options_say(engines: Make, tmp_path: Path) -> None:
    path = encode(
        tmp_path / "a.ul", tone(3.0, 8_000), codec="pcm_mulaw", container="mulaw", rate=8_000
    )
    engine = engines(FakeModel())
    said = replace(ENGLISH, raw=RawAudio("mulaw", 8_000))
    assert result(engine.submit(path, said, name="said")).audio_seconds == pytest.approx(3.0)
    refused = error(engine.submit(path, ENGLISH, name="not said"))
    assert refused.code is ErrorCode.NOT_MEDIA
    assert "--input-format, --input-rate and --input-channels" in refused.message


class Listener(WholeFileStage):
    """Hears whole files, and adds nothing to them."""

    name = "listen"

    def __init__(self) -> None:
        self.heard: list[NDArray[np.float32]] = []

    def run(self, file: File, samples: NDArray[np.float32]) -> None:
        self.heard.append(samples)


def test_a_whole_file_stage_gets_all_samples_where_silero_finds_the_windows(
    tmp_path: Path,
) -> None:
    stage = Listener()
    engine = Engine(
        EngineConfig(model="fake", device="cpu", word_times="none", num_workers=1, self_test=False),
        load=lambda config: load_fake(config, FakeModel(), windows=8),
        stages=lambda *_: [stage],
    )
    engine.start()
    try:
        path = talk(tmp_path / "whole.wav", bursts=2)
        recognition = result(engine.submit(path, ENGLISH, name="whole"))
    finally:
        engine.stop()
    assert len(recognition.segments) == 2
    assert recognition.seconds["listen"] > 0.0
    (samples,) = stage.heard
    with AudioReader(path, AudioLimits(60.0)) as reader:
        np.testing.assert_array_equal(samples, np.concatenate(list(reader)))


def test_a_stop_while_the_model_loads_is_not_lost(tmp_path: Path) -> None:
    def load(config: EngineConfig) -> Loaded:
        engine.stop()
        return load_fake(config, FakeModel(), windows=8)

    engine = Engine(EngineConfig(model="fake", device="cpu", word_times="none"), load=load)
    engine.start()
    assert engine.children() == []
    with pytest.raises(EngineError, match="stopped"):
        engine.submit(talk(tmp_path / "late.wav"), ENGLISH, name="late")
    engine.stop()


def test_memory_that_runs_out_fails_no_job(engines: Make, tmp_path: Path) -> None:
    opened = threading.Event()
    model = FakeModel(fits=3, gate=lambda: opened.wait(PATIENCE))
    engine = engines(model)
    submissions = [
        engine.submit(talk(tmp_path / f"{n}.wav", bursts=4), ENGLISH, name=str(n)) for n in range(3)
    ]
    until(lambda: all(prepared(each) for each in submissions))
    opened.set()
    for submission in submissions:
        assert len(result(submission).segments) == 4
    assert engine.stats.out_of_memory >= 1
    # Remembered: nothing larger is tried again.
    model.calls.clear()
    assert len(result(engine.submit(tmp_path / "0.wav", ENGLISH, name="again")).segments) == 4
    assert max(len(call) for call in model.calls) <= 3


def test_one_bad_window_fails_its_job_and_no_other(engines: Make, tmp_path: Path) -> None:
    bad = Options(language="en", prompt="bad")

    def poison(request: Request) -> Exception | None:
        if request.context == model.context(bad) and request.seconds > 5.0:
            return RuntimeError("cuBLAS failed with status 13")
        return None

    opened = threading.Event()
    model = FakeModel(poison=poison, gate=lambda: opened.wait(PATIENCE))
    engine = engines(model)
    victim = engine.submit(talk(tmp_path / "bad.wav", seconds=[2.0, 6.0, 2.5]), bad, name="bad")
    others = [
        engine.submit(talk(tmp_path / f"{n}.wav", bursts=2), ENGLISH, name=str(n)) for n in range(3)
    ]
    until(lambda: all(prepared(each) for each in (victim, *others)))
    opened.set()
    failed = error(victim)
    assert failed.code is ErrorCode.ENGINE_FAILED
    assert "cuBLAS failed" in failed.message
    for other in others:
        assert len(result(other).segments) == 2
    assert engine.failure() is None
    assert engine.held_seconds() == 0.0


def test_texts_are_read_while_the_next_batch_is_decoded(engines: Make, tmp_path: Path) -> None:
    opened, read = threading.Event(), threading.Event()
    model = FakeModel(gate=lambda: opened.wait(PATIENCE), words_gate=lambda _: read.wait(PATIENCE))
    engine = engines(model, windows=2, word_times="attention")
    options = Options(language="en", carry_context="off")  # no window waits for the text before it
    files = [
        engine.submit(talk(tmp_path / f"{n}.wav", bursts=4), options, name=str(n)) for n in range(2)
    ]
    until(lambda: all(map(prepared, files)))
    opened.set()
    until(lambda: len(model.calls) == 2)
    time.sleep(0.1)
    assert len(model.calls) == 2, "nor is more than one batch left for later"
    assert not engine.idle()
    read.set()
    for file in files:
        assert [len(segment.words or ()) for segment in result(file).segments] == [3] * 4
    assert [len(call) for call in model.calls] == [2] * 4
    until(engine.idle)


@pytest.mark.parametrize("error", [ValueError("secret"), IndexError(), MemoryError()])
def test_words_that_make_no_sense_cost_no_text(
    engines: Make, tmp_path: Path, error: Exception
) -> None:
    def refuse(request: Request) -> None:
        if request.seconds > 5.0:
            raise error

    engine = engines(FakeModel(words_gate=refuse), word_times="attention")
    path = talk(tmp_path / "a.wav", seconds=[2.0, 6.0, 2.5])
    with capture_logs() as lines:
        found = result(engine.submit(path, ENGLISH, name="a"))
    assert [len(segment.words or ()) for segment in found.segments] == [3, 0, 3]
    assert all(segment.text for segment in found.segments)
    (line,) = [line for line in lines if line["event"] == "words.failed"]
    assert "secret" not in str(line)


def test_a_text_thread_that_dies_ends_the_engine(
    engines: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise KeyError("no such window")

    monkeypatch.setattr(Flow, "decoded", die)
    engine = engines(FakeModel())
    submission = engine.submit(talk(tmp_path / "a.wav"), ENGLISH, name="a")
    with pytest.raises(EngineError, match="no such window"):
        submission.future.result(PATIENCE)
    assert isinstance(engine.failure(), KeyError)


def test_a_device_that_is_gone_ends_the_engine(engines: Make, tmp_path: Path) -> None:
    model = FakeModel(broken_after=1)
    engine = engines(model)
    result(engine.submit(talk(tmp_path / "a.wav"), ENGLISH, name="a"))
    broken = [engine.submit(tmp_path / "a.wav", ENGLISH, name=str(n)) for n in range(3)]
    for submission in broken:
        with pytest.raises(EngineError, match="illegal memory access"):
            submission.future.result(PATIENCE)
    assert isinstance(engine.failure(), EngineError)
    assert engine.last_progress() is None
    with pytest.raises(EngineError, match="has stopped"):
        engine.submit(tmp_path / "a.wav", ENGLISH, name="late")


def test_a_device_that_hangs_shows_in_its_progress(engines: Make, tmp_path: Path) -> None:
    opened = threading.Event()
    model = FakeModel(gate=lambda: opened.wait(PATIENCE))
    engine = engines(model)
    assert engine.last_progress() is None
    hung = engine.submit(talk(tmp_path / "a.wav"), ENGLISH, name="a")
    assert model.inside.wait(PATIENCE)
    stood = engine.last_progress()
    assert stood is not None
    # More files, prepared meanwhile, do not pass for progress of the device.
    later = engine.submit(talk(tmp_path / "b.wav", bursts=2), ENGLISH, name="b")
    until(lambda: prepared(later))
    assert engine.last_progress() == stood
    assert time.monotonic() - stood < PATIENCE
    opened.set()
    result(hung)
    result(later)
    assert engine.last_progress() is None


def test_hours_without_speech_do_not_look_like_a_hang(engines: Make, tmp_path: Path) -> None:
    engine = engines(FakeModel())
    path = write_wav(tmp_path / "a.wav", np.zeros(16_000 * 400, dtype=np.float32))
    submission = engine.submit(path, ENGLISH, name="a")
    seen = set()
    while not submission.future.done():
        seen.add(engine.last_progress())
        time.sleep(0.005)
    recognition = result(submission)
    assert (recognition.segments, recognition.language) == ((), None)
    assert recognition.audio_seconds == 400.0
    # The child reports every half minute of audio.
    assert len(seen - {None}) >= 4


def test_a_cancelled_file_lets_go_of_everything(engines: Make, tmp_path: Path) -> None:
    opened = threading.Event()
    model = FakeModel(gate=lambda: opened.wait(PATIENCE))
    engine = engines(model)
    other = engine.submit(talk(tmp_path / "other.wav"), ENGLISH, name="other")
    gone = engine.submit(
        talk(tmp_path / "gone.wav", bursts=4), Options(language="en", prompt="gone"), name="gone"
    )
    until(lambda: prepared(gone) and prepared(other))
    gone.cancel()
    gone.cancel()
    with pytest.raises(CancelledError):
        gone.future.result(PATIENCE)
    assert engine.held_seconds() < 5.0
    opened.set()
    assert len(result(other).segments) == 1
    marked = model.context(Options(prompt="gone"))
    decoded = [request for call in model.calls for request in call if request.context == marked]
    # What was on the device already could not be called back; nothing else was decoded.
    assert len(decoded) <= len(model.calls[0])
    assert engine.failure() is None
    assert len(result(engine.submit(tmp_path / "gone.wav", ENGLISH, name="again")).segments) == 4


def test_a_caller_that_cancels_the_future_itself_breaks_nothing(
    engines: Make, tmp_path: Path
) -> None:
    opened = threading.Event()
    engine = engines(FakeModel(gate=lambda: opened.wait(PATIENCE)))
    submission = engine.submit(talk(tmp_path / "a.wav"), ENGLISH, name="a")
    until(lambda: prepared(submission))
    assert submission.future.cancel()
    opened.set()
    until(lambda: engine.last_progress() is None)
    assert engine.failure() is None
    result(engine.submit(tmp_path / "a.wav", ENGLISH, name="b"))


def test_a_stopped_engine_cancels_what_it_has_and_takes_nothing(
    engines: Make, tmp_path: Path
) -> None:
    opened = threading.Event()
    model = FakeModel(gate=lambda: opened.wait(PATIENCE))
    engine = engines(model)
    submissions = [
        engine.submit(talk(tmp_path / f"{n}.wav", bursts=2), ENGLISH, name=str(n)) for n in range(3)
    ]
    assert model.inside.wait(PATIENCE)
    stopping = threading.Thread(target=engine.stop)
    stopping.start()
    for submission in submissions:
        with pytest.raises(CancelledError):
            submission.future.result(PATIENCE)
    opened.set()
    stopping.join(PATIENCE)
    assert not stopping.is_alive()
    with pytest.raises(EngineError, match="stopped"):
        engine.submit(tmp_path / "0.wav", ENGLISH, name="late")


def test_a_resumed_file_decodes_only_the_rest(engines: Make, tmp_path: Path) -> None:
    # The first window is long enough to decide the language by itself.
    path = talk(tmp_path / "a.wav", seconds=[11.0, 3.0, 3.0, 3.0])
    detect = Options(words=True)
    whole = result(engines(FakeModel(), word_times="attention").submit(path, detect, name="a"))

    steps = threading.Semaphore(0)
    first = FakeModel(gate=lambda: steps.acquire(timeout=PATIENCE))
    engine = engines(first, windows=1, word_times="attention")
    submission = engine.submit(path, detect, name="a")
    steps.release(2)
    until(lambda: len(submission.partial().windows) == 2)
    partial = Partial.model_validate_json(submission.partial().model_dump_json())
    done, total = submission.progress()
    assert total is not None
    assert 0.0 < done < total
    submission.cancel()
    steps.release(100)

    second = FakeModel()
    resumed = result(
        engines(second, word_times="attention").submit(path, detect, name="a", resume=partial)
    )
    assert second.encoded_windows == 2
    assert (resumed.resumed, resumed.windows) == (2, 4)
    assert resumed.segments == whole.segments
    assert resumed.language == whole.language
    assert resumed.word_times == whole.word_times == "attention"


def test_words_of_one_result_are_found_in_one_way(engines: Make, tmp_path: Path) -> None:
    path = talk(tmp_path / "a.wav", bursts=2)
    engine = engines(FakeModel(), word_times="attention")
    partial = Partial(word_times="attention", windows=())
    assert result(engine.submit(path, ENGLISH, name="a", resume=partial)).resumed == 0
    silent = result(engine.submit(path, Options(language="en", words=False), name="b"))
    assert silent.word_times is None
    assert all(segment.words == () for segment in silent.segments)


def test_words_lie_in_their_segments(engines: Make, tmp_path: Path) -> None:
    engine = engines(FakeModel(), word_times="attention")
    # Two bursts in one window: words must move with the part that was cut out.
    pause = np.zeros(16_000 * 2, dtype=np.float32)
    bursts = [np.frombuffer(talk(tmp_path / f"{n}.wav").read_bytes()[44:], "<i2")[: 16_000 * 3]
              for n in range(2)]  # fmt: skip
    joined = np.concatenate([bursts[0] / 32_768, pause, bursts[1] / 32_768]).astype(np.float32)
    recognition = result(engine.submit(write_wav(tmp_path / "a.wav", joined), ENGLISH, name="a"))
    (segment,) = recognition.segments
    assert segment.end > 6.0
    times = [time for word in segment.words for time in (word.start, word.end)]
    assert len(times) == 6
    assert times == sorted(times)
    assert segment.start <= times[0]
    assert times[-1] <= segment.end


def test_what_is_held_stays_bounded_and_short_files_pass_a_long_one(
    engines: Make, tmp_path: Path
) -> None:
    opened = threading.Event()
    model = FakeModel(gate=lambda: opened.wait(PATIENCE))
    engine = engines(model, held_seconds=1.0)  # the least is 300
    long = engine.submit(talk(tmp_path / "long.wav", bursts=11, seconds=20.0), ENGLISH, name="long")
    # Half of 300 s, and the window that crosses the line.
    until(lambda: engine.held_seconds() >= 150.0)
    assert not prepared(long)
    short = [engine.submit(talk(tmp_path / f"{n}.wav"), ENGLISH, name=str(n)) for n in range(2)]
    until(lambda: all(prepared(each) for each in short))
    assert not prepared(long)
    most = engine.held_seconds()
    assert most <= 150.0 + 30.0 + 2 * 30.0
    opened.set()
    while not long.future.done():
        most = max(most, engine.held_seconds())
        time.sleep(0.005)
    assert most <= 300.0
    assert len(result(long).segments) == 11
    for each in short:
        assert len(result(each).segments) == 1


def test_a_vote_for_the_language_needs_its_windows_whatever_is_held(
    engines: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inflow, "MIN_HELD_SECONDS", 8.0)
    rankings = {6.0: ("de", 0.95), 3.0: ("fr", 0.9), 9.0: ("de", 0.95)}

    def language(request: Request) -> tuple[str, float]:
        return rankings[min(rankings, key=lambda seconds: abs(request.seconds - 0.8 - seconds))]

    model = FakeModel(language=language)
    engine = engines(model, held_seconds=8.0)
    path = talk(tmp_path / "a.wav", seconds=[6.0, 3.0, 9.0, 6.0])
    recognition = result(engine.submit(path, Options(), name="a"))
    assert recognition.language is not None
    assert recognition.language.code == "de"
    # The second was heard as French: it is decoded once more.
    assert (model.encoded_windows, engine.stats.second_attempts) == (5, 1)


def test_languages_mix_in_a_batch_without_another_encoder_pass(
    engines: Make, tmp_path: Path
) -> None:
    spoken = ["de", "fr", "ja", "en"]
    options = [Options(prompt=code) for code in spoken]
    opened = threading.Event()

    def language(request: Request) -> tuple[str, float]:
        return spoken[request.context[0]], 0.9

    model = FakeModel(language=language, gate=lambda: opened.wait(PATIENCE))
    engine = engines(model, num_workers=2)
    submissions = [
        engine.submit(talk(tmp_path / f"{n}.wav", bursts=2), each, name=str(n))
        for n, each in enumerate(options)
    ]
    until(lambda: all(prepared(each) for each in submissions))
    opened.set()
    for code, submission in zip(spoken, submissions, strict=True):
        found = result(submission).language
        assert found is not None
        assert (found.code, found.detected) == (code, True)
    assert engine.stats.encoded_windows == engine.stats.windows == 8
    assert engine.stats.encoder_calls == engine.stats.batches
    assert max(len({each.context for each in call}) for call in model.calls) >= 3


def test_a_suspect_shares_no_batch(engines: Make, tmp_path: Path) -> None:
    opened = threading.Event()
    model = FakeModel(gate=lambda: opened.wait(PATIENCE))
    engine = engines(model)
    suspect = Options(language="en", prompt="suspect")
    submissions = [
        engine.submit(talk(tmp_path / "0.wav", bursts=3), ENGLISH, name="0"),
        engine.submit(talk(tmp_path / "1.wav", bursts=3), suspect, name="1", alone=True),
        engine.submit(talk(tmp_path / "2.wav", bursts=3), ENGLISH, name="2"),
    ]
    until(lambda: all(prepared(each) for each in submissions))
    opened.set()
    for submission in submissions:
        result(submission)
    assert all(len({each.context for each in call}) == 1 for call in model.calls)


def test_children_that_are_killed_fail_only_what_they_hold(engines: Make, tmp_path: Path) -> None:
    opened = threading.Event()
    model = FakeModel(gate=lambda: opened.wait(PATIENCE))
    engine = engines(model, num_workers=2)
    safe = engine.submit(talk(tmp_path / "safe.wav", bursts=2), ENGLISH, name="safe")
    until(lambda: prepared(safe))
    victim = engine.submit(talk(tmp_path / "victim.wav", silence=900.0), ENGLISH, name="victim")
    until(lambda: victim.progress()[1] is not None)  # it is being decoded
    for pid in engine.children():
        os.kill(pid, signal.SIGKILL)
    failed = error(victim)
    assert failed.code is ErrorCode.DECODE_CRASHED
    assert "SIGKILL" in failed.message
    # The other child was idle: who comes next is not to blame.
    later = [engine.submit(tmp_path / "safe.wav", ENGLISH, name=str(n)) for n in range(2)]
    opened.set()
    for submission in (safe, *later):
        assert len(result(submission).segments) == 2
    assert engine.failure() is None


def test_short_windows_go_in_short_and_their_audits_belong_to_no_job(
    engines: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    positions: list[int] = []
    stock = FakeModel.decode

    def decode(self: FakeModel, requests: Sequence[Request], **how: Any) -> Any:
        positions.append(how["positions"])
        return stock(self, requests, **how)

    def text_of(request: Request) -> str:
        # Six words, a usual pace, unlike those of other windows: those would be taken for echoes
        # where they are the text before it.
        digest = hashlib.sha256(np.ascontiguousarray(request.sound).tobytes()).hexdigest()
        letters = digest.translate(str.maketrans("0123456789", "ghijklmnop"))
        return " ".join(letters[at : at + 5] for at in range(0, 30, 5))

    monkeypatch.setattr(FakeModel, "decode", decode)
    monkeypatch.setattr(FakeModel, "text_of", staticmethod(text_of))
    model = FakeModel()
    engine = engines(model, context="auto")
    path = talk(tmp_path / "a.wav", bursts=6, seconds=2.5)
    for name in "abcdef":
        recognition = result(engine.submit(path, ENGLISH, name=name))
        assert len(recognition.segments) == 6
        assert recognition.notes == ()
    # Texts are read beside the next batch, and only a text that is read can be audited.
    until(lambda: engine.stats.audits > 0 and engine.stats.waiting_windows == 0)
    assert min(positions) < FULL_POSITIONS
    stats = engine.stats
    assert (stats.short_windows, stats.short_failed) == (36, 0)
    # Some are decoded in full as well, whether or not their job is still there.
    assert stats.audits > 0
    assert FULL_POSITIONS in positions
    assert stats.windows == 36 + stats.audits
    assert engine.sample().extra() == {
        "short_windows": 36,
        "short_failed": 0,
        "audits": stats.audits,
    }


class Aligner:
    """Stands for the alignment models: ready after a while, or not to be had."""

    verdict: bool | None = None
    broken: bool = False
    asked: list[str]

    def __init__(self, device: str, *, model_dir: Path | None) -> None:
        del device, model_dir
        type(self).asked = []

    def request(self, language: str) -> None:
        self.asked.append(language)

    def ready(self, language: str) -> bool | None:
        del language
        return type(self).verdict

    def why_not(self, language: str) -> str:
        return f"there is none for {language!r}"

    def cure(self, language: str) -> str:
        del language
        return "Do something about it."

    def align(self, items: Sequence[Any]) -> list[list[Word]]:
        from worker.speech.words.align import AlignmentError

        if type(self).broken:
            raise RuntimeError("the device is lost")
        if any(len(item.samples) > 5 * 16_000 for item in items):
            raise AlignmentError("no numbers")
        return [
            [Word(word=item.text, start=item.start, end=item.end, score=0.99)] for item in items
        ]

    def close(self) -> None:
        pass


@pytest.fixture
def aligner(monkeypatch: pytest.MonkeyPatch) -> type[Aligner]:
    from worker.speech.words import align

    monkeypatch.setattr(Aligner, "verdict", None)
    monkeypatch.setattr(Aligner, "broken", False)
    monkeypatch.setattr(align, "Aligner", Aligner)
    return Aligner


def test_texts_wait_for_the_aligner_and_a_failing_segment_gets_its_words_all_the_same(
    engines: Make, tmp_path: Path, aligner: type[Aligner]
) -> None:
    engine = engines(FakeModel(), word_times="aligned")
    path = talk(tmp_path / "a.wav", seconds=[2.0, 6.0, 2.5])
    submission = engine.submit(path, Options(), name="a")
    until(lambda: engine.stats.windows == 3)
    assert not submission.future.done()
    aligner.verdict = True
    recognition = result(submission)
    assert recognition.word_times == "aligned"
    assert recognition.seconds["align"] > 0.0
    words = [segment.words for segment in recognition.segments]
    assert [len(each) for each in words] == [1, 3, 1]
    assert words[0][0].score == 0.99
    assert words[1][0].score is None
    # Shared out over the speech, which is 6 s from 7 s on, and not over the padding around it.
    assert words[1][0].start == pytest.approx(7.0, abs=0.1)
    assert words[1][-1].end == pytest.approx(13.0, abs=0.1)
    for segment in recognition.segments:
        assert segment.start <= segment.words[0].start
        assert segment.words[-1].end <= segment.end
    assert set(aligner.asked) == {"en"}


def test_where_no_aligner_is_to_be_had_attention_stands_in_and_says_so(
    engines: Make, tmp_path: Path, aligner: type[Aligner]
) -> None:
    engine = engines(FakeModel(), word_times="aligned")
    path = talk(tmp_path / "a.wav", bursts=2)
    submission = engine.submit(path, Options(), name="a")
    until(lambda: engine.stats.windows == 2)
    aligner.verdict = False
    # Refused before the file, or after its texts stood: the same comes out.
    for recognition in (result(submission), result(engine.submit(path, ENGLISH, name="b"))):
        assert recognition.word_times == "attention"
        assert recognition.notes == ("Word times come from attention: there is none for 'en'",)
        assert [len(segment.words) for segment in recognition.segments] == [3, 3]
    translated = engine.submit(path, Options(language="en", task="translate"), name="c")
    assert result(translated).word_times == "attention"


def test_without_a_network_no_file_waits_for_the_words_of_another(
    engines: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The real aligner, and a hub that accepts the connection and never answers."""
    use_caches(tmp_path / "caches", monkeypatch)
    monkeypatch.setattr(hosts, "_hosts", {})
    monkeypatch.setattr(hosts, "WAIT_SECONDS", 0.2)
    path = talk(tmp_path / "a.wav")
    with BlackHole() as hole, capture_logs() as logs:
        use_hub(hole.url, monkeypatch)
        engine = engines(FakeModel(), word_times="aligned", model_dir=tmp_path / "models")
        files = [
            engine.submit(path, Options(language=language), name=f"{language} {number}")
            for number in range(4)
            for language in ("nl", "ja", "pt", "ru", "pl")
        ]
        for submission in files:
            recognition = result(submission)
            assert recognition.word_times == "attention"
            (note,) = recognition.notes
            assert "is not on this machine, and 127.0.0.1:" in note
            assert note.endswith("can't be reached (no answer within 0.2 s).")
        assert hole.questions == 1
    said = [entry for entry in logs if entry["event"] == "words.attention"]
    assert [entry["language"] for entry in said] == ["nl", "ja", "pt", "ru", "pl"]
    assert all("or set word_times = 'attention'." in entry["message"] for entry in said)
    assert capfd.readouterr() == ("", "")


def test_an_align_thread_that_dies_ends_the_engine(
    engines: Make,
    tmp_path: Path,
    aligner: type[Aligner],
    caplog: pytest.LogCaptureFixture,
) -> None:
    aligner.verdict = aligner.broken = True
    engine = engines(FakeModel(), word_times="aligned")
    path = talk(tmp_path / "a.wav", bursts=2)
    submission = engine.submit(path, ENGLISH, name="a")
    with pytest.raises(EngineError, match="the device is lost"):
        submission.future.result(PATIENCE)
    assert isinstance(engine.failure(), RuntimeError)
    assert "engine.broken" in caplog.text
    with pytest.raises(EngineError, match="has stopped"):
        engine.submit(path, ENGLISH, name="late")


def test_an_engine_that_was_never_started_can_be_stopped() -> None:
    engine = Engine(EngineConfig(model="fake", device="cpu"))
    engine.stop()
    assert engine.failure() is None
    assert engine.children() == []
    assert engine.held_seconds() == 0.0
    assert engine.last_progress() is None
    assert engine.idle()
    with pytest.raises(RuntimeError, match="not started"):
        engine.info  # noqa: B018 # a property that raises
