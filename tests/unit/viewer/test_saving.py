"""Corrections go to new files, each whole, and none that was there is touched."""

from __future__ import annotations

from pathlib import Path

import pysubs2
import pytest

from tests.fakes.transcripts import segments, transcript
from worker.results.corrections import Corrections, SegmentCorrections
from worker.results.transcript import Transcript
from worker.viewer.saving import Edits

MADE = transcript(*segments("Good mourning.", "It rained."))
CORRECTIONS = Corrections(segments={0: SegmentCorrections(words={1: "morning."})})


def test_a_json_subtitles_and_a_text_are_written(tmp_path: Path) -> None:
    edits = Edits(MADE, tmp_path, "talk")
    assert edits.saved == Corrections()
    assert edits.save(CORRECTIONS) == f"Saved talk.edited.json, .srt, .vtt, .txt in {tmp_path}"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"talk.edited.{ending}" for ending in ("json", "srt", "txt", "vtt")
    ]
    saved = Transcript.model_validate_json((tmp_path / "talk.edited.json").read_bytes())
    assert saved.text == "Good morning. It rained."
    assert (tmp_path / "talk.edited.txt").read_text() == "Good morning.\nIt rained.\n"
    for ending in ("srt", "vtt"):
        cues = pysubs2.load(str(tmp_path / f"talk.edited.{ending}"))
        assert [cue.plaintext for cue in cues] == ["Good morning.", "It rained."]
    assert edits.saved == CORRECTIONS


def test_saving_again_replaces_what_this_run_saved_and_nothing_else(tmp_path: Path) -> None:
    earlier = tmp_path / "talk.edited.vtt"
    earlier.write_text("of another day")
    edits = Edits(MADE, tmp_path, "talk")
    edits.save(CORRECTIONS)
    edits.save(Corrections(segments={1: SegmentCorrections(words={1: "snowed."})}))
    assert earlier.read_text() == "of another day"
    assert (tmp_path / "talk.edited-2.txt").read_text() == "Good mourning.\nIt snowed.\n"
    assert not list(tmp_path.glob("*-3*"))


def test_what_does_not_fit_writes_nothing(tmp_path: Path) -> None:
    edits = Edits(MADE, tmp_path, "talk")
    with pytest.raises(ValueError, match="no segment 9"):
        edits.save(Corrections(segments={9: SegmentCorrections(words={0: "x"})}))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_gone_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    edits = Edits(MADE, tmp_path / "gone", "talk")
    with pytest.raises(FileNotFoundError):
        edits.save(CORRECTIONS)
    assert edits.saved == Corrections()
