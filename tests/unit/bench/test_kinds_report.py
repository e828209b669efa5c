from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import pytest

from worker.bench.kinds_report import ALL, Heard, Judged, judge, pool, to_json, to_markdown
from worker.bench.trial import Measurement

FOUR = ("one two three four", "five six seven eight", "nine ten", "eleven twelve")


def run(texts: Sequence[str]) -> Measurement:
    """One window a text, one of them short."""
    count = len(texts)
    return Measurement(2.0, 40.0, tuple(texts), count, 8, file_windows=count, short_windows=1)


def heard(
    said: Sequence[str] | None,
    runs: Mapping[str, Sequence[str]],
    kind: str = "pauses",
    failures: Mapping[str, str] | None = None,
) -> Heard:
    count = len(next(iter(runs.values()))) if runs else len(said or ())
    return Heard(
        kind,
        tuple(f"{number}.wav" for number in range(count)),
        40.0,
        None if said is None else tuple(said),
        {name: run(texts) for name, texts in runs.items()},
        failures or {},
    )


def judged(full: Sequence[str], auto: Sequence[str], said: Sequence[str] | None = FOUR) -> Judged:
    return judge(heard(said, {"full": full, "auto": auto}))


def test_the_same_texts_hold() -> None:
    found = judged(FOUR, FOUR)
    assert found.verdict == "holds"
    assert not found.fails
    assert found.words == (4, 4, 2, 2)
    assert found.errors == {"full": (0, 0, 0, 0), "auto": (0, 0, 0, 0)}
    assert found.worse() == []


def test_more_errors_than_the_bar_fail() -> None:
    found = judged(FOUR, (*FOUR[:3], "eleven"))
    assert found.interval is not None
    assert found.interval.difference == pytest.approx(100 / 12)
    assert (found.verdict, found.fails) == ("FAILS (above)", True)
    assert found.worse() == [("3.wav", 0, 1)]


def test_a_difference_below_the_bar_fails_if_it_is_sure() -> None:
    """A word more in each of many long files: little, but nothing that chance would do."""
    long = [" ".join(f"w{number}" for number in range(400))] * 12
    less = [text.removesuffix(" w399") for text in long]
    found = judged(long, less, long)
    assert found.interval is not None
    assert found.interval.difference == pytest.approx(0.25)
    assert found.verdict == "FAILS (interval)"
    # The same number of errors in one file may be chance.
    few = [" ".join(long[0].split()[:-12]), *long[1:]]
    assert judged(long, few, long).verdict == "holds"


def test_fewer_errors_hold() -> None:
    assert judged([text.split()[0] for text in FOUR], FOUR).verdict == "holds"


def test_without_texts_full_stands_in_and_nothing_is_judged() -> None:
    found = judged(FOUR, (*FOUR[:3], "eleven"), said=None)
    assert found.verdict == "no text"
    assert not found.fails
    assert found.errors == {"full": (0, 0, 0, 0), "auto": (0, 0, 0, 1)}
    assert pool([found, found]) is None
    full, auto = to_markdown([found]).splitlines()[2].split("|")[5:7]
    assert (full.strip(), auto.strip()) == ("-", "8.33")


def test_one_file_and_a_contestant_that_failed() -> None:
    assert judge(heard(["a b"], {"full": ["a b"], "auto": ["a"]})).verdict == "one file"
    alone = judge(heard(FOUR, {"full": FOUR}, failures={"auto": "it crashed"}))
    assert alone.verdict == "not measured"
    assert alone.worse() == []
    nobody = judge(heard(None, {}, failures={"full": "no", "auto": "no"}))
    assert nobody.verdict == "not measured"
    assert "pauses: auto was not measured: it crashed" in to_markdown([alone, nobody])


@pytest.mark.parametrize(
    ("said", "text", "twice"),
    [
        ("has never been", "has never been has never been", 1),
        ("has never been has never been", "has never been has never been", 0),
        ("has never been has never been", " ".join(["has never been"] * 4), 1),
        ("no no", "no no", 0),
        ("no no", "no no no", 1),
        ("so it was said", "so so so so so it was said", 1),
        ("in the end it was", "in the end in the end it was", 1),
        ("in the end in the end it was", "in the end in the end it was", 0),
        ("", "", 0),
    ],
)
def test_texts_that_say_twice_what_was_said_once(said: str, text: str, twice: int) -> None:
    found = judge(heard([said, "else"], {"full": [said, "else"], "auto": [text, "else"]}))
    assert found.repeating == {"full": 0, "auto": twice}


def test_all_kinds_are_judged_together() -> None:
    one, other = judged(FOUR, FOUR), judged(FOUR, (*FOUR[:3], "eleven"))
    unknown = judged(FOUR, FOUR, said=None)
    together = pool([one, unknown, other])
    assert together is not None
    assert together.heard.kind == ALL
    assert together.words == one.words * 2
    assert sum(together.errors["auto"]) == 1
    assert together.heard.seconds == 80.0
    assert together.heard.measurements["auto"].file_windows == 8
    assert pool([one, unknown]) is None


def test_the_table_shows_every_kind_and_marks_what_fails() -> None:
    good = judge(heard(FOUR, {"full": FOUR, "auto": FOUR}, "clips"))
    bad = judge(heard(FOUR, {"full": FOUR, "auto": ["", *FOUR[1:]], "whisperx": FOUR}))
    text = to_markdown([good, bad])
    header, _, clips, pauses, together = text.splitlines()[:5]
    assert header.count("errors %") == 3
    assert "whisperx: s" in header
    assert "holds" in clips
    assert "| 25 " in clips  # one window of four was short
    assert "FAILS (above)" in pauses
    assert "+33.33" in pauses
    assert together.startswith("| all with text")
    assert "- pauses, 0.wav: 0 errors with full, 4 with auto" in text
    assert len({line.count("|") for line in (header, clips, pauses, together)}) == 1


def test_programs_get_every_text() -> None:
    document = json.loads(to_json([judged(FOUR, (*FOUR[:3], "elf"))], {"command": "x"}))
    (kind,) = document["kinds"]
    assert kind["verdict"] == "FAILS (above)"
    assert kind["contestants"]["auto"]["texts"][3] == "elf"
    assert kind["contestants"]["auto"]["errors"] == [0, 0, 0, 2]
    assert kind["auto_over_full"]["difference"] == pytest.approx(200 / 12)
