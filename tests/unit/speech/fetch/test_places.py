"""Models lie in several folders, and new ones go where something can be written."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.model_hosts import public_folder, read_only, use_caches
from worker.speech.fetch.places import cache_directory, hub_places, writable


def test_the_setting_comes_first_and_the_caches_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_caches(tmp_path, monkeypatch)
    own = tmp_path / "cache" / "transcription-worker"
    assert cache_directory() == own
    assert hub_places(None) == (tmp_path / "hub", own / "models")
    assert hub_places(tmp_path / "hub") == hub_places(None)
    given = tmp_path / "given"
    assert hub_places(given) == (given, *hub_places(None))


def test_a_folder_that_can_only_be_read_is_passed_over() -> None:
    with public_folder() as folder:
        mounted, cache = folder / "mounted", folder / "cache"
        mounted.mkdir()
        cache.mkdir()
        cache.chmod(0o777)
        places = (mounted / "hub", folder / "mounted", cache / "not" / "yet")
        assert writable(places) == places[0]
        with read_only(mounted):
            assert writable(places) == places[2]
            assert writable(places[:2]) is None


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert writable([tmp_path / "file", tmp_path / "file" / "below"]) is None
