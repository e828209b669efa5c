"""The counters of an engine, and which of them a status document shows beside the usual ones."""

from __future__ import annotations

from worker.speech.api import EngineStats


def test_an_engine_shows_no_extra_counters_before_there_is_anything_to_count() -> None:
    assert EngineStats(windows=5, batches=2).extra() == {}


def test_short_windows_show_how_many_failed_even_if_none_did() -> None:
    assert EngineStats(prompted_windows=7).extra() == {"prompted_windows": 7, "looks": 0}
    assert EngineStats(short_windows=3).extra() == {"short_windows": 3, "short_failed": 0}


def test_audits_and_the_memory_of_a_card_are_shown_where_they_are_known() -> None:
    stats = EngineStats(
        short_windows=9, short_failed=2, audits=1, gpu_used_bytes=0, gpu_bytes=80 << 30
    )
    assert stats.extra() == {
        "short_windows": 9,
        "short_failed": 2,
        "audits": 1,
        "gpu_used_bytes": 0,
        "gpu_bytes": 80 << 30,
    }
