"""Corrections go to new files, each whole, and none that was there is touched."""

from __future__ import annotations

import resource
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


def test_a_folder_is_made_for_what_is_saved(tmp_path: Path) -> None:
    edits = Edits(MADE, tmp_path / "new" / "out", "talk")
    edits.save(CORRECTIONS)
    assert (tmp_path / "new" / "out" / "talk.edited.json").is_file()


def test_a_folder_that_can_not_be_is_an_error_and_nothing_counts_as_saved(tmp_path: Path) -> None:
    (tmp_path / "gone").touch()
    edits = Edits(MADE, tmp_path / "gone", "talk")
    with pytest.raises(NotADirectoryError):
        edits.save(CORRECTIONS)
    assert edits.saved == Corrections()


def test_where_the_disk_is_full_the_last_save_stays_whole(tmp_path: Path) -> None:
    """The file system refuses the json, which is the largest and comes last."""
    others = tmp_path / "talk.edited.srt.part"
    others.write_text("another program's")
    edits = Edits(MADE, tmp_path, "talk")
    edits.save(CORRECTIONS)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert others.name in before
    largest_other = max(len(before[f"talk.edited.{ending}"]) for ending in ("srt", "txt", "vtt"))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest_other + 50, hard))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            edits.save(Corrections(segments={1: SegmentCorrections(words={1: "snowed."})}))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.filename == str(tmp_path / "talk.edited.json")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert edits.saved == CORRECTIONS
