"""Loading: choices are made, told and put into every result; a model of nonsense is refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.fakes.model import FakeModel, load_fake
from tests.fakes.tiny_model import TINY
from worker.errors import ErrorCode, JobError, MachineError, SettingsError
from worker.speech.api import Options
from worker.speech.config import EngineConfig
from worker.speech.media.reader import AudioReader
from worker.speech.model import loaded as loading
from worker.speech.model import whisper
from worker.speech.model.decoding import Decoded, Request
from worker.speech.model.loaded import fingerprint, load
from worker.speech.model.selftest import KnownRecording, recording
from worker.speech.model.whisper import Whisper


@pytest.fixture
def config(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> EngineConfig:
    monkeypatch.setattr(whisper, "MAX_LENGTH", 24)  # random weights never end by themselves
    monkeypatch.setattr("worker.speech.model.device.cuda_cards", lambda: 0)
    return EngineConfig(
        model=str(tiny_model),
        compute_type="int8_float16",
        batch_size=3,
        batch_size_given=True,
        beam_size=2,
        cpu_threads=2,
        self_test=False,
    )


def test_a_model_of_128_bands_is_loaded_as_it_is(config: EngineConfig) -> None:
    found = load(config)
    assert isinstance(found.model, Whisper)
    assert found.model.mels == 128
    assert found.dimensions == TINY
    assert found.probe is not None
    assert found.probe.sound.dtype == np.int16
    assert found.info.model == config.model
    assert (found.info.device, found.info.beam_size) == ("cpu", 2)
    assert found.info.batch_size == found.budget.capacity(1500) == 3
    # What was not asked for stands in every result.
    assert found.info.compute_type == found.compute_type == "int8"
    device, compute_type = found.info.notes
    assert device == "device = auto chose the CPU: no CUDA device can be used"
    assert compute_type.startswith("Quantization fallback: int8_float16 -> int8")


def test_a_fallback_is_a_warning_only_to_those_who_chose_the_type(
    config: EngineConfig, caplog: pytest.LogCaptureFixture
) -> None:
    for given, level in ((False, "INFO"), (True, "WARNING")):
        caplog.clear()
        with caplog.at_level("INFO", "worker"):
            load(replace(config, compute_type_given=given))
        levels = {
            record.msg["event"]: record.levelname
            for record in caplog.records
            if isinstance(record.msg, dict)
        }
        assert levels["device.compute_type"] == level
        assert levels["device.chosen"] == "INFO", "nobody asked for a card"


def test_a_model_that_hears_nonsense_does_not_start(
    config: EngineConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = np.zeros(480_000, dtype=np.float32)
    recording = KnownRecording(silent, "call 1 A 7.0 8.0 new jersey")
    monkeypatch.setattr(loading, "known_recording", lambda: recording)
    with pytest.raises(MachineError, match="self-test failed on cpu"):
        load(replace(config, self_test=True))


@pytest.mark.skipif(recording() is None, reason="needs the recording in pyannote-audio")
def test_the_recording_of_the_self_test_is_decoded_once(
    config: EngineConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[object] = []

    class Counted(AudioReader):
        def __init__(self, *arguments: Any, **named: Any) -> None:
            opened.append(arguments[0])
            super().__init__(*arguments, **named)

    monkeypatch.setattr("worker.speech.media.reader.AudioReader", Counted)
    with pytest.raises(MachineError, match="self-test failed"):  # its weights are random
        load(replace(config, self_test=True))
    assert opened == [recording()]


T4_BUG = "parallel_for failed: cudaErrorInvalidDevice: invalid device ordinal"


def failing_words(monkeypatch: pytest.MonkeyPatch, error: RuntimeError) -> None:
    """Makes every search for words fail, as CTranslate2's issue 2064 says of a T4."""

    def fail(*_: object) -> object:
        raise error

    monkeypatch.setattr("worker.speech.words.attention.align", fail)


def test_a_card_that_finds_no_words_does_full_windows_alone(
    config: EngineConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    able = load(config)
    assert able.config.context == "auto"
    in_full = load(replace(config, context="full"))
    failing_words(monkeypatch, RuntimeError(T4_BUG))
    found = load(config)
    assert found.config.context == "full"
    # Checkpoints are those of full windows, whoever chose them.
    assert found.fingerprint == in_full.fingerprint != able.fingerprint
    assert "context = full" in found.info.notes[-1]
    with pytest.raises(MachineError, match="word_times = 'aligned' or 'none'"):
        load(replace(config, word_times="attention"))


def test_words_that_fail_cost_no_text(
    config: EngineConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = load(config)
    requests = [replace(found.probe, want_words=True), found.probe]

    def decode() -> list[Decoded]:
        return found.model.decode(requests, positions=1500, beam_size=2, temperature=0.0)

    before = decode()
    failing_words(monkeypatch, RuntimeError(T4_BUG))
    after = decode()
    assert [window.text for window in after] == [window.text for window in before]
    assert [window.words_failed for window in after] == [True, False]
    assert before[0].with_words().words
    assert after[0].with_words().words == ()
    # Memory is the batch's trouble: it is to be halved.
    failing_words(monkeypatch, RuntimeError("CUDA failed with error out of memory"))
    with pytest.raises(RuntimeError, match="out of memory"):
        decode()


def test_start_makes_every_call_that_the_engine_makes(
    config: EngineConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[str, int]] = []
    for name in ("_rows", "_try_align"):
        real = getattr(whisper, name)

        def note(
            *arguments: object, name: str = name, real: Callable[..., object] = real
        ) -> object:
            made.append((name, 1))
            return real(*arguments)

        monkeypatch.setattr(whisper, name, note)
    decode = Whisper.decode

    def noted(self: Whisper, requests: Sequence[Request], **how: Any) -> list[Decoded]:
        made.append((f"{how['positions']} at {how['temperature']}", len(requests)))
        made.append(("languages", len({request.language for request in requests})))
        made.append(("lengths", len({request.sound.shape for request in requests})))
        return decode(self, requests, **how)

    monkeypatch.setattr(Whisper, "decode", noted)
    load(config)
    assert {("750 at 0.0", 1), ("125 at 0.0", 4), ("125 at 0.4", 2)} <= set(made)
    assert {("languages", 2), ("lengths", 2), ("_rows", 1), ("_try_align", 1)} <= set(made)


def test_a_gpu_that_is_not_there_is_not_replaced_by_the_cpu(config: EngineConfig) -> None:
    with pytest.raises(MachineError, match="device = 'cuda'"):
        load(replace(config, device="cuda"))


def test_without_whisperx_loading_says_what_it_does_instead(
    config: EngineConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "whisperx_installed", lambda: False)
    unasked = load(config)
    assert unasked.config.word_times == "attention"
    assert not [note for note in unasked.info.notes if "whisperx" in note]
    asked = load(replace(config, word_times_given=True))
    assert "word times come from attention (pip install" in asked.info.notes[0]
    # A checkpoint of one is a checkpoint of the other, and of whoever chose attention.
    chosen = load(replace(config, word_times="attention"))
    assert unasked.fingerprint == asked.fingerprint == chosen.fingerprint
    # What is refused is refused before a model is looked for.
    with pytest.raises(SettingsError, match="transcriber = 'standard' needs the extra"):
        load(replace(config, transcriber="standard", model="no-such-model"))


def test_wrong_settings_are_told_apart_from_a_wrong_machine(config: EngineConfig) -> None:
    with pytest.raises(SettingsError, match="no known name"):
        load(replace(config, model="no-such-model"))
    with pytest.raises(SettingsError, match="compute_type = 'int3'"):
        load(replace(config, compute_type="int3"))


def test_the_fingerprint_changes_with_what_changes_texts_and_nothing_else(
    config: EngineConfig, tiny_model: Path, tmp_path: Path
) -> None:
    first = fingerprint(config, tiny_model, "int8")
    assert len(first) == 32
    same = replace(config, batch_size=64, num_workers=8, max_wait=3.0, held_seconds=9.0, model="x")
    assert fingerprint(same, tiny_model, "int8") == first
    other = tmp_path / "model"
    other.mkdir()
    (other / "model.bin").write_bytes(b"other weights")
    different = [
        fingerprint(config, tiny_model, "float32"),
        fingerprint(config, other, "int8"),
        fingerprint(replace(config, beam_size=1), tiny_model, "int8"),
        fingerprint(replace(config, vad="pyannote"), tiny_model, "int8"),
        fingerprint(replace(config, context="full"), tiny_model, "int8"),
        fingerprint(replace(config, word_times="none"), tiny_model, "int8"),
        fingerprint(replace(config, transcriber="standard"), tiny_model, "int8"),
    ]
    assert len({first, *different}) == len(different) + 1


def test_languages_are_refused_that_the_model_can_t_detect(config: EngineConfig) -> None:
    multilingual = load_fake(EngineConfig(model="base"), FakeModel())
    multilingual.check(Options(language_options=("de", "yue"), multilingual=True))
    with pytest.raises(JobError, match="give only one of the two"):
        multilingual.check(Options(language="de", multilingual=True))
    tiny = load(config)
    tiny.check(Options(language_options=("de", "en")))
    with pytest.raises(JobError, match=r"language_options has 'xx', .*leave that out") as caught:
        tiny.check(Options(language_options=("de", "xx")))
    assert caught.value.code is ErrorCode.LANGUAGE_NOT_SUPPORTED


def test_each_window_in_its_own_language_is_refused_where_there_is_one() -> None:
    english = FakeModel()
    english.multilingual, english.languages = False, frozenset({"en"})
    unable = {
        ErrorCode.LANGUAGE_NOT_SUPPORTED: load_fake(EngineConfig(model="base.en"), english),
        ErrorCode.TASK_NOT_SUPPORTED: load_fake(EngineConfig(transcriber="standard"), FakeModel()),
    }
    for code, loaded in unable.items():
        loaded.check(Options(language_options=("en",), carry_context="on"))
        with pytest.raises(JobError, match=r"multilingual = true can't .*or use") as told:
            loaded.check(Options(multilingual=True))
        assert told.value.code is code
    with pytest.raises(JobError, match="language_options has 'de'"):
        load_fake(EngineConfig(model="base.en"), english).check(Options(language_options=("de",)))


def test_translation_is_refused_where_it_means_nothing() -> None:
    able = load_fake(EngineConfig(model="base"), FakeModel())
    able.check(Options(task="translate"))
    # Known by its name, or by a decoder far shallower than its encoder.
    named = load_fake(EngineConfig(model="turbo"), FakeModel())
    shallow = replace(able, dimensions=replace(able.dimensions, decoder_layers=2))
    for unable in (named, shallow):
        unable.check(Options(task="transcribe"))
        with pytest.raises(JobError, match=r"task = 'translate'.*use large-v3 or medium") as caught:
            unable.check(Options(task="translate"))
        assert caught.value.code is ErrorCode.TASK_NOT_SUPPORTED


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (Options(diarize=True), "diarize = true"),
        (Options(channel_identification=True), "channel_identification = true"),
        (Options(audio_stream="all"), "audio_stream = 'all'"),
    ],
)
def test_the_standard_transcriber_refuses_what_is_more_than_one_plain_text(
    options: Options, what: str
) -> None:
    standard = load_fake(EngineConfig(transcriber="standard"), FakeModel())
    with pytest.raises(
        JobError, match=f"{what} can't be done .* use transcriber = 'optimized'"
    ) as e:
        standard.check(options)
    assert e.value.code is ErrorCode.TASK_NOT_SUPPORTED
    load_fake(EngineConfig(), FakeModel()).check(options)
    standard.check(Options(audio_stream=1))
