from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.fakes.media import write_wav
from tests.fakes.tiny_model import base_model
from worker.bench.kind_files import align, read_sets, read_sources, write_set
from worker.bench.kind_sets import Source
from worker.bench.phrases import find_phrases
from worker.errors import SettingsError
from worker.speech.model.choices import Device
from worker.speech.model.device import find_device
from worker.speech.model.whisper import Whisper

RATE = 16_000


def ramp(seconds: float) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.linspace(-1.0, 1.0, round(seconds * RATE), dtype=np.float32)


def test_sets_are_read_as_they_were_written(tmp_path: Path) -> None:
    sources = [Source("b", ramp(0.5), 'so, "he" said'), Source("a", ramp(0.25), "and then")]
    written = write_set(tmp_path / "pauses", sources)
    assert [clip.path.name for clip in written] == ["001-b.wav", "002-a.wav"]
    assert read_sets(tmp_path) == {"pauses": written}
    found = read_sources([tmp_path / "pauses"])
    assert [(one.text, one.reader) for one in found] == [
        ('so, "he" said', "pauses"),
        ("and then", "pauses"),
    ]
    for source, one in zip(sources, found, strict=True):
        assert one.samples == pytest.approx(source.samples, abs=1e-4)


def test_a_set_whose_texts_nobody_knows(tmp_path: Path) -> None:
    write_set(tmp_path / "meetings", [Source("a", ramp(0.5), "")])
    (tmp_path / "bare").mkdir()
    write_wav(tmp_path / "bare" / "a.wav", np.zeros(RATE, dtype=np.int16))
    found = read_sets(tmp_path)
    assert [clip.reference for name in ("meetings", "bare") for clip in found[name]] == [None, None]
    with pytest.raises(SettingsError, match="has no text"):
        read_sources([tmp_path / "bare"])


def test_folders_that_hold_no_sets(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="is no folder"):
        read_sets(tmp_path / "missing")
    with pytest.raises(SettingsError, match="no folders in"):
        read_sets(tmp_path)


def test_long_recordings_give_their_pieces(tmp_path: Path) -> None:
    write_wav(tmp_path / "talk.wav", (ramp(3.0) * 32767).astype(np.int16))
    (tmp_path / "talk.csv").write_text("start,end,text\n0.5,1.0,one\n1.5,3.0,two three\n")
    first, second = read_sources([tmp_path])
    assert (first.name, first.text, first.seconds) == ("talk-1", "one", 0.5)
    assert (second.name, second.text, second.seconds) == ("talk-2", "two three", 1.5)
    assert first.samples == pytest.approx(ramp(3.0)[RATE // 2 : RATE], abs=1e-4)


def test_words_of_a_clip_are_found_by_its_text(speech_dir: Path) -> None:
    directory = base_model()
    device: Device = find_device("cpu")[0]
    model = Whisper(directory, device, "int8", 2)
    source = read_sources([speech_dir / "english"])[5]
    long = Source("long", np.zeros(31 * RATE, dtype=np.float32), "nobody speaks")
    aligned, untouched = align([source, long], model, "en")
    assert untouched == long
    assert " ".join(word.word for word in aligned.words) == source.text
    texts = [phrase.text for phrase in find_phrases(aligned.samples, aligned.words, 0.4, 2.5)]
    # The reader pauses before these words, and after them.
    assert "it is worth mention in passing" in texts
