from __future__ import annotations

import numpy as np
import pytest

from worker.bench.kind_sets import EDGE_SECONDS, KINDS, Source, make_set
from worker.bench.kinds import find_gaps, speech_level
from worker.results.transcript import Word

RATE = 16_000


def clip(number: int, reader: str) -> Source:
    """A second of speech, a gap, another one; a word in each."""
    rng = np.random.default_rng(number)
    speech = [rng.standard_normal(RATE) * 0.1 for _ in range(2)]
    gap = rng.standard_normal(RATE // 4) * 1e-4
    samples = np.concatenate([speech[0], gap, speech[1]]).astype(np.float32)
    words = (
        Word(word=f"former{number},", start=0.0, end=1.0),
        Word(word=f"latter{number}", start=1.25, end=2.25),
    )
    text = f"former{number}, latter{number}"
    return Source(f"{reader}{number}", np.clip(samples, -1, 1), text, reader, words)


CLIPS = [clip(number, "anna" if number < 6 else "ben") for number in range(12)]


@pytest.mark.parametrize("kind", KINDS)
def test_sets_are_the_same_for_the_same_seed(kind: str) -> None:
    first, again = make_set(kind, CLIPS, 3), make_set(kind, CLIPS, 3)
    other = make_set(kind, CLIPS, 3, seed=1)
    assert 1 <= len(first) <= 3
    assert len({source.name for source in first}) == len(first)
    for one, two in zip(first, again, strict=True):
        assert (one.name, one.text) == (two.name, two.text)
        assert np.array_equal(one.samples, two.samples)
    assert [one.name for one in first] != [one.name for one in other]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_said_is_what_the_clips_say(kind: str) -> None:
    said = {word for source in CLIPS for word in source.text.split()}
    for source in make_set(kind, CLIPS, 20):
        assert source.samples.dtype == np.float32
        assert np.abs(source.samples).max() <= 1.0
        assert set(source.text.split()) <= said
        assert source.text


def by_name(name: str) -> Source:
    return next(source for source in CLIPS if source.name == name)


@pytest.mark.parametrize("kind", ["pauses", "pauses-digital"])
def test_pauses_are_put_in_gaps(kind: str) -> None:
    found = make_set(kind, CLIPS, 20)
    assert len(found) == len(CLIPS)
    for source in found:
        added = source.seconds - by_name(source.name).seconds
        assert 1.2 <= added <= 4.0
        (gap,) = find_gaps(source.samples)
        assert (gap.end - gap.start) / RATE == pytest.approx(added + 0.25, abs=0.05)
        silent = np.count_nonzero(source.samples == 0.0) / RATE
        assert silent == pytest.approx(added if kind == "pauses-digital" else 0.0, abs=0.01)


def test_words_are_cut_out_with_a_little_around_them() -> None:
    found = make_set("words", CLIPS, 20)
    assert len(found) == len(CLIPS)
    for number, source in enumerate(found):
        words = source.text.split()
        spoken = {1: 1.125, 2: 2.25}[len(words)]
        assert spoken - 0.01 <= source.seconds <= spoken + 2 * EDGE_SECONDS + 0.01
        if number % 2 == 0:
            assert len(words) == 1
    assert not make_set("words", [Source("a", CLIPS[0].samples, "no times")], 1)


def test_the_second_voice_is_the_quiet_one() -> None:
    found = make_set("quiet-second", CLIPS, 20)
    assert len(found) == 6
    for source in found:
        first, second = source.name.split("_")
        assert {first[:-1].rstrip("1"), second[:-1].rstrip("1")} == {"anna", "ben"}
        assert source.text == f"{by_name(first).text} {by_name(second).text}"
        size = len(by_name(first).samples)
        loud, quiet = source.samples[:size], source.samples[size:]
        lower = 20 * np.log10(speech_level(quiet) / speech_level(loud))
        assert -40.5 <= lower <= -19.5
        between = source.seconds - by_name(first).seconds - by_name(second).seconds
        assert 0.5 <= between <= 3.0


def test_quiet_files_are_quiet() -> None:
    for source in make_set("quiet", CLIPS, 20):
        assert -60.1 <= 20 * np.log10(np.abs(source.samples).max()) <= -39.9


def test_readers_take_turns() -> None:
    for source in make_set("speakers", CLIPS, 20):
        turns = len(source.text.split()) // 2
        assert turns in (4, 6)
        numbers = [int(word.strip(",")[6:]) for word in source.text.split()[::2]]
        readers = [number < 6 for number in numbers]
        assert readers == [readers[0], not readers[0]] * (turns // 2)


def test_two_sentences_are_one_reader_s() -> None:
    found = make_set("two-sentences", CLIPS, 20)
    assert len(found) == 6
    for source in found:
        first, second = map(by_name, source.name.split("_"))
        assert first.reader == second.reader
        assert 2.0 <= source.seconds - first.seconds - second.seconds <= 3.5


def test_repeats_are_said_twice() -> None:
    for source in make_set("repeats", CLIPS, 20):
        half = source.text[: len(source.text) // 2]
        assert source.text == f"{half} {half}"
        assert 1.0 <= source.seconds - 2 * by_name(source.name).seconds <= 3.0


def test_one_reader_is_paired_with_himself() -> None:
    alone = [source for source in CLIPS if source.reader == "anna"]
    assert len(make_set("quiet-second", alone, 20)) == 3
    assert len(make_set("speakers", alone, 20)) >= 1


def test_noise_of_every_kind_takes_part() -> None:
    ends = {source.name.split("_")[1] for source in make_set("noise", CLIPS, 6)}
    assert ends == {f"{colour}{snr}" for colour in ("white", "pink") for snr in (20, 10, 5)}


def test_an_unknown_kind() -> None:
    with pytest.raises(KeyError):
        make_set("songs", CLIPS, 1)
