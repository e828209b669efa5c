"""Corrections go to new files, each whole, and none that was there is touched."""

from __future__ import annotations

import resource
from pathlib import Path

import pysubs2
import pytest

from tests.fakes.transcripts import segments, transcript
from worker.results.corrections import Corrections, SegmentCorrections
from worker.results.transcript import Transcript
from worker.viewer.finding import name_for_edits
from worker.viewer.saving import Edits, StaleError

MADE = transcript(*segments("Good mourning.", "It rained."))
CORRECTIONS = Corrections(segments={0: SegmentCorrections(words={1: "morning."})})

OTHERS = Corrections(segments={1: SegmentCorrections(words={1: "snowed."})})


def since(corrections: Corrections, version: int) -> Corrections:
    """Corrections that began with a saved state."""
    return corrections.model_copy(update={"version": version})


def test_a_json_subtitles_and_a_text_are_written(tmp_path: Path) -> None:
    edits = Edits(MADE, tmp_path, "talk")
    assert edits.saved == Corrections()
    saying = f"Saved talk.edited.json, .srt, .vtt, .txt in {tmp_path}"
    assert edits.save(CORRECTIONS) == (saying, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"talk.edited.{ending}" for ending in ("json", "srt", "txt", "vtt")
    ]
    saved = Transcript.model_validate_json((tmp_path / "talk.edited.json").read_bytes())
    assert saved.text == "Good morning. It rained."
    assert (tmp_path / "talk.edited.txt").read_text() == "Good morning.\nIt rained.\n"
    for ending in ("srt", "vtt"):
        cues = pysubs2.load(str(tmp_path / f"talk.edited.{ending}"))
        assert [cue.plaintext for cue in cues] == ["Good morning.", "It rained."]
    assert edits.saved == since(CORRECTIONS, 1)


def test_saving_again_replaces_what_this_run_saved_and_nothing_else(tmp_path: Path) -> None:
    earlier = tmp_path / "talk.edited.vtt"
    earlier.write_text("of another day")
    edits = Edits(MADE, tmp_path, "talk")
    edits.save(CORRECTIONS)
    edits.save(since(OTHERS, 1))
    assert earlier.read_text() == "of another day"
    assert (tmp_path / "talk.edited-2.txt").read_text() == "Good mourning.\nIt snowed.\n"
    assert not list(tmp_path.glob("*-3*"))


def test_a_page_that_does_not_know_the_last_save_is_refused(tmp_path: Path) -> None:
    edits = Edits(MADE, tmp_path, "talk")
    edits.save(CORRECTIONS)
    with pytest.raises(StaleError, match="another page saved corrections"):
        edits.save(OTHERS)
    assert (tmp_path / "talk.edited.txt").read_text() == "Good morning.\nIt rained.\n"
    assert edits.save(CORRECTIONS).version == 1, "the same once more: its answer got lost"
    assert edits.save(since(OTHERS, 1)).version == 2


@pytest.mark.parametrize("ending", ["srt", "json"])
def test_what_was_edited_by_hand_since_stays(tmp_path: Path, ending: str) -> None:
    edits = Edits(MADE, tmp_path, "talk")
    edits.save(CORRECTIONS)
    by_hand = tmp_path / f"talk.edited.{ending}"
    by_hand.write_text("polished by hand")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    said = edits.save(since(OTHERS, 1)).message
    assert said == (
        f"Saved talk.edited-2.json, .srt, .vtt, .txt in {tmp_path}; {by_hand.name} was changed by"
        " another program and is left as it is"
    )
    assert {name: (tmp_path / name).read_bytes() for name in before} == before
    assert (tmp_path / "talk.edited-2.txt").read_text() == "Good mourning.\nIt snowed.\n"
    again = edits.save(since(CORRECTIONS, 2)).message
    assert again == f"Saved talk.edited-2.json, .srt, .vtt, .txt in {tmp_path}"


@pytest.mark.parametrize("kind", ["link", "directory", "unreadable link"])
def test_what_took_the_place_of_a_saved_file_stays(tmp_path: Path, kind: str) -> None:
    edits = Edits(MADE, tmp_path, "talk")
    edits.save(CORRECTIONS)
    place = tmp_path / "talk.edited.vtt"
    place.unlink()
    if kind == "directory":
        place.mkdir()
    else:
        place.symlink_to("nowhere" if kind == "link" else place.name)
    assert edits.save(since(OTHERS, 1)).message.startswith("Saved talk.edited-2.json")
    assert place.is_symlink() or place.is_dir()


def test_what_was_removed_since_is_written_anew(tmp_path: Path) -> None:
    edits = Edits(MADE, tmp_path, "talk")
    edits.save(CORRECTIONS)
    (tmp_path / "talk.edited.srt").unlink()
    edits.save(since(OTHERS, 1))
    assert "snowed" in (tmp_path / "talk.edited.srt").read_text()
    assert not list(tmp_path.glob("*-2*"))


def test_a_long_name_in_any_script_is_saved(tmp_path: Path) -> None:
    edits = Edits(MADE, tmp_path, name_for_edits("長" * 81))
    edits.save(CORRECTIONS)
    Edits(MADE, tmp_path, name_for_edits("長" * 81)).save(CORRECTIONS)
    assert len(list(tmp_path.iterdir())) == 8


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
            edits.save(since(OTHERS, 1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.filename == str(tmp_path / "talk.edited.json")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert edits.saved == since(CORRECTIONS, 1)
