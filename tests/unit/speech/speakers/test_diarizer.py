from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pyannote.audio import Model
from pyannote.audio.pipelines import SpeakerDiarization

from tests.diarization_error import errors, mean_rate, measured, read_rttm, right_numbers
from tests.fakes.voices import new_pipeline, packaged_diarizer, talk_of_two
from worker.results.speakers import Diarization, Voice
from worker.speech.model.memory import is_out_of_memory
from worker.speech.model.selftest import recording
from worker.speech.speakers.campplus import DIMENSION
from worker.speech.speakers.diarizer import Diarizer
from worker.speech.windows import SAMPLE_RATE

TWO_HOURS = """
import resource, sys
import numpy as np
from tests.fakes.voices import new_pipeline
from worker.speech.speakers.campplus import DIMENSION
from worker.speech.speakers.diarizer import Diarizer
path, count = sys.argv[1], int(sys.argv[2])
samples = np.memmap(path, np.int16, mode="r")
diarizer = Diarizer(new_pipeline(), name="packaged", device="cpu", chunks_a_call=8)
found = diarizer.find(samples, min_speakers=None, max_speakers=None, progress=lambda _: None)
print(len({voice.speaker for voice in found.voices}))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def find(
    samples: NDArray[np.int16],
    *,
    least: int | None = None,
    most: int | None = None,
    diarizer: Diarizer | None = None,
) -> Diarization:
    tells = diarizer or packaged_diarizer()
    return tells.find(samples, min_speakers=least, max_speakers=most, progress=lambda _: None)


def speakers(voices: Sequence[Voice]) -> set[str]:
    return {voice.speaker for voice in voices}


@pytest.fixture(scope="module")
def two() -> Diarization:
    """The recording of two women, and how far the work was each time it was told."""
    return find(talk_of_two())


def test_two_women_on_the_telephone_are_told_apart(two: Diarization) -> None:
    path = recording()
    assert path is not None
    reference = read_rttm(path.with_suffix(".rttm"))
    one = errors("sample", reference, two.voices, 30.0)
    assert (one.found, one.speakers) == (2, 2)
    assert one.rate < 0.05
    assert two.diarizer == "packaged"


def test_exclusive_turns_never_overlap(two: Diarization) -> None:
    assert any(
        one.end > other.start for one, other in zip(two.voices, two.voices[1:], strict=False)
    )
    for one, other in zip(two.exclusive, two.exclusive[1:], strict=False):
        assert one.end <= other.start
    assert speakers(two.exclusive) == speakers(two.voices)


def test_progress_rises_to_one() -> None:
    told: list[float] = []
    packaged_diarizer().find(
        talk_of_two()[: 14 * SAMPLE_RATE], min_speakers=None, max_speakers=1, progress=told.append
    )
    assert told == sorted(told)
    assert len(told) >= 3
    assert (told[0] > 0, told[-1]) == (True, 1.0)
    assert any(0.95 < share < 1 for share in told), "said nothing while it clustered"


def test_bounds_on_the_number_of_speakers_are_kept() -> None:
    samples = talk_of_two()[8 * SAMPLE_RATE : 20 * SAMPLE_RATE]
    found = find(samples, most=1)
    assert speakers(found.voices) == {"SPEAKER_00"}
    assert len(speakers(find(samples, least=3).voices)) == 3


@pytest.mark.parametrize("samples", [0, 1, SAMPLE_RATE, 11 * SAMPLE_RATE])
def test_where_nobody_speaks_there_is_no_voice(samples: int) -> None:
    assert find(np.zeros(samples, np.int16)) == Diarization("packaged", (), ())


def test_noise_is_nobody() -> None:
    noise = np.random.default_rng(1).normal(0, 3000, 12 * SAMPLE_RATE).astype(np.int16)
    assert find(noise).voices == ()


def test_a_recording_shorter_than_a_chunk_has_voices_within_it() -> None:
    samples = talk_of_two()[10 * SAMPLE_RATE : 13 * SAMPLE_RATE]
    found = find(samples)
    assert found.voices
    assert all(0 <= voice.start < voice.end <= 3.0 for voice in found.voices)


class Another(Model):
    """An embedding model that isn't known to be CAM++, and shares no frames."""

    def __init__(self, inner: Model) -> None:
        super().__init__()
        self.inner = inner

    @property
    def dimension(self) -> int:
        return DIMENSION

    def forward(self, waveforms: torch.Tensor, **weights: Any) -> torch.Tensor:
        return torch.as_tensor(self.inner(waveforms, **weights))


def test_turns_are_those_of_pyannotes_own_apply(monkeypatch: pytest.MonkeyPatch) -> None:
    """With pyannote's clustering, as other models than the packaged ones have it."""
    monkeypatch.setenv("PYANNOTE_METRICS_ENABLED", "0")
    pipeline = new_pipeline()
    pipeline._embedding.model_ = Another(pipeline._embedding.model_)
    samples = talk_of_two()[8 * SAMPLE_RATE : 21 * SAMPLE_RATE + 700]
    seconds = len(samples) / SAMPLE_RATE
    waveform = torch.from_numpy(samples.astype(np.float32) / 32768)[None]
    theirs = SpeakerDiarization.apply(
        pipeline, {"waveform": waveform, "sample_rate": SAMPLE_RATE, "uri": "talk"}
    )
    ours = find(samples, diarizer=Diarizer(pipeline, name="", device="cpu", chunks_a_call=1))
    for voices, annotation in (
        (ours.voices, theirs.speaker_diarization),
        (ours.exclusive, theirs.exclusive_speaker_diarization),
    ):
        tracks = annotation.itertracks(yield_label=True)
        # pyannote's last turn may end in the silence that fills the last chunk.
        turns = [Voice(one.start, min(one.end, seconds), label) for one, _, label in tracks]
        assert sorted(voices) == sorted(turns)


class LittleMemory:
    """Lets a model run with a few chunks at a time; more are too much for the memory.

    Args:
        module: the model.
        most: chunks; may be changed.
    """

    def __init__(self, module: torch.nn.Module, most: int) -> None:
        self.calls: list[int] = []
        self.most = most
        module.register_forward_pre_hook(self._refuse)

    def _refuse(self, module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        self.calls.append(len(inputs[0]))
        if len(inputs[0]) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def test_chunks_are_halved_where_memory_runs_out() -> None:
    samples = talk_of_two()[8 * SAMPLE_RATE : 22 * SAMPLE_RATE]  # three chunks
    pipeline = new_pipeline()
    little = LittleMemory(pipeline._segmentation.model, 1)
    diarizer = Diarizer(pipeline, name="packaged", device="cpu", chunks_a_call=8)
    found = find(samples, most=1, diarizer=diarizer)
    assert little.calls == [3, 1, 1, 1]
    assert found.exclusive[0].end == pytest.approx(find(samples, most=1).exclusive[0].end, abs=0.02)
    little.most = 0
    little.calls.clear()
    with pytest.raises((RuntimeError, MemoryError)) as raised:
        find(samples, diarizer=diarizer)
    assert is_out_of_memory(raised.value)
    assert little.calls == [3, 1]


def test_on_a_card_every_call_has_the_same_shape() -> None:
    samples = talk_of_two()[8 * SAMPLE_RATE : 22 * SAMPLE_RATE]
    pipeline = new_pipeline()
    enough = LittleMemory(pipeline._segmentation.model, 2)
    diarizer = Diarizer(pipeline, name="packaged", device="cuda:0", chunks_a_call=2)
    found = find(samples, most=1, diarizer=diarizer)
    assert enough.calls == [2, 2]
    assert found == find(samples, most=1)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_eight_conversations(speech_dir: Path) -> None:
    references = sorted((speech_dir / "speakers").glob("*.rttm"))
    found = [measured(packaged_diarizer(), reference) for reference in references]
    assert len(found) == 8
    assert mean_rate(found) < 0.07
    assert right_numbers(found) >= 6


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_two_hours_stay_under_two_gigabytes(tmp_path: Path) -> None:
    path = tmp_path / "two-hours.pcm"
    talk = talk_of_two()
    with path.open("wb") as file:
        for _ in range(240):
            talk.tofile(file)
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", TWO_HOURS, str(path), "240"],
        capture_output=True,
        text=True,
        check=True,
    )
    number, peak = run.stdout.splitlines()[-2:]
    assert int(number) >= 2
    assert int(peak) * 1024 < 2e9
