from __future__ import annotations

import json
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from worker.pipeline import checkpoint
from worker.pipeline.checkpoint import Checkpoint
from worker.pipeline.record import Record, Run
from worker.results.transcript import Language, Word
from worker.speech.api import Partial, WindowText
from worker.speech.engine.segments import segments

records = st.builds(
    Record,
    failures=st.integers(0, 5),
    deaths=st.integers(0, 5),
    suspect=st.booleans(),
    running=st.sampled_from([None, Run.TOGETHER, Run.ALONE]),
)


def _windows(*indices: int, text: str = "x") -> Partial:
    return Partial(
        windows=tuple(
            WindowText(index=i, start=30.0 * i, end=30.0 * i + 30, text=text, avg_logprob=-0.1)
            for i in indices
        )
    )


def _document() -> Checkpoint:
    return Checkpoint(job_id="j", request_hash="h", etag="e", fingerprint="f")


@given(records, st.sets(st.integers(0, 9)))
def test_a_checkpoint_survives_storage(record: Record, indices: set[int]) -> None:
    kept = _document().with_record(record, partial=_windows(*sorted(indices)), failure="why")
    read = checkpoint.parse(kept.dump())
    assert read == kept
    assert read is not None
    assert read.record == record
    assert read.last_failure == "why"
    assert read.worthless == (record.clean and not indices)


def test_windows_keep_their_language_and_what_they_carry() -> None:
    window = WindowText(
        index=0, start=0, end=9, text="ja", avg_logprob=-0.1, language="nl", carried=(7, 8)
    )
    kept = _document().with_record(Record(), partial=Partial(windows=(window,)))
    read = checkpoint.parse(kept.dump())
    assert read is not None
    assert read.partial is not None
    assert read.partial.windows == (window,)


def test_windows_of_the_release_before_languages_are_read() -> None:
    kept = _document().with_record(Record(), partial=_windows(0))
    document = json.loads(kept.dump())
    for later in ("language", "carried"):
        del document["partial"]["windows"][0][later]
    read = checkpoint.parse(json.dumps(document).encode())
    assert read == kept


OLDER = b"""{"schema_version": 1, "job_id": "j", "request_hash": "h", "etag": "e",
  "fingerprint": "f", "failures": 1, "deaths": 2, "suspect": true, "running": "alone",
  "last_failure": "why", "partial": {"language": {"code": "en", "probability": 0.9,
  "detected": true}, "word_times": "attention", "windows": [{"index": 0, "start": 0.0,
  "end": 2.5, "text": "So it is.", "avg_logprob": -0.2, "words": [{"word": "So", "start": 0.1,
  "end": 0.5, "score": null}], "language": "en", "carried": [7], "dropped_seconds": 0.0}]}}"""
"""As a release wrote it whose windows didn't say how sure the model was."""


def test_windows_that_do_not_say_how_sure_the_model_was_are_read() -> None:
    read = checkpoint.parse(OLDER)
    assert read is not None
    assert read.record == Record(failures=1, deaths=2, suspect=True, running=Run.ALONE)
    windows = read.windows_for("f")
    assert windows is not None
    (segment,) = segments(windows.windows, 3.0)
    assert segment.text == "So it is."
    assert (segment.no_speech_prob, segment.temperature) == (None, None)


class _OlderPartial(Partial):
    """The windows as that release reads them: it knows no more than these."""

    @model_validator(mode="before")
    @classmethod
    def _no_more(cls, partial: Any) -> Any:
        known = set(json.loads(OLDER)["partial"]["windows"][0])
        assert all(set(window) <= known for window in partial["windows"])
        return partial


def test_that_release_reads_the_record_in_a_checkpoint_of_this_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(checkpoint, "Partial", _OlderPartial)
    older = checkpoint.parse(OLDER)
    assert older is not None
    assert older.partial is not None
    kept = _document().with_record(Record(deaths=2, suspect=True), partial=_windows(0))
    read = checkpoint.parse(kept.dump())
    assert read is not None
    assert read.partial is None
    assert read.record == Record(deaths=2, suspect=True)


class _Frozen(BaseModel):
    """The windows as a release reads them that knows neither channels nor speakers."""

    model_config = ConfigDict(extra="forbid")


class _FrozenWord(_Frozen):
    word: str
    start: float
    end: float
    score: float | None = None
    vocabulary_filter_match: Literal[True] | None = None


class _FrozenWindow(_Frozen):
    index: int
    start: float
    end: float
    text: str
    avg_logprob: float
    no_speech_prob: float | None = None
    temperature: float | None = None
    words: tuple[_FrozenWord, ...] = ()
    speech: tuple[tuple[float, float], ...] = ()
    language: str | None = None
    carried: tuple[int, ...] = ()
    dropped_seconds: float = 0.0


class _FrozenPartial(_Frozen):
    language: Language | None = None
    word_times: Literal["aligned", "attention"] | None = None
    windows: tuple[_FrozenWindow, ...] = ()


def test_windows_of_a_job_without_channels_are_read_by_a_release_that_knows_none() -> None:
    window = WindowText(
        index=0,
        start=0.0,
        end=2.0,
        text="So it is.",
        avg_logprob=-0.1,
        words=(Word(word="So", start=0.0, end=1.0, score=0.5),),
        language="en",
        carried=(7,),
    )
    partial = Partial(
        language=Language(code="en", probability=0.9, detected=True),
        word_times="attention",
        windows=(window,),
    )
    merged = checkpoint.merged(_windows(1), partial)
    written = json.loads(_document().with_record(Record(), partial=merged).dump())["partial"]
    read = _FrozenPartial.model_validate(written)
    assert [each.index for each in read.windows] == [0, 1]
    assert "channels" not in written
    with_channels = Partial(channels=(partial,)).model_dump(mode="json")
    with pytest.raises(ValidationError, match="channels"):
        _FrozenPartial.model_validate(with_channels)


channels = st.lists(st.sets(st.integers(0, 5), max_size=3), max_size=4).map(
    lambda found: Partial(channels=tuple(_windows(*sorted(indices)) for indices in found))
)


@given(records, channels)
def test_windows_of_channels_survive_storage(record: Record, partial: Partial) -> None:
    kept = _document().with_record(record, partial=partial)
    read = checkpoint.parse(kept.dump())
    assert read == kept
    assert read is not None
    assert read.windows_for("f") == partial
    assert read.worthless == (record.clean and not partial.finished)


@given(channels, channels)
def test_windows_of_channels_are_merged_channel_by_channel(kept: Partial, new: Partial) -> None:
    merged = checkpoint.merged(kept, new)
    assert merged is not None
    assert len(merged.channels) == max(len(kept.channels), len(new.channels))
    for number, channel in enumerate(merged.channels):
        before, since = kept.channels[number : number + 1], new.channels[number : number + 1]
        assert channel == checkpoint.merged(*(before or [None]), *(since or [None]))
    assert checkpoint.merged(kept, Partial()) == kept, "nothing of it was surveyed this time"


@pytest.mark.parametrize("depth", [2, 200, 300])
def test_channels_of_channels_are_none_and_lose_no_record(depth: int) -> None:
    kept = _document().with_record(Record(deaths=1, suspect=True), partial=_windows())
    nested = b'{"channels":[' * depth + b'{"windows":[]}' + b"]}" * depth
    body = kept.dump().replace(_windows().model_dump_json().encode(), nested)
    assert nested in body
    read = checkpoint.parse(body)
    assert read is not None
    assert read.partial is None
    assert read.record == Record(deaths=1, suspect=True)


@given(st.binary(max_size=200))
def test_damaged_checkpoints_are_none(body: bytes) -> None:
    assert checkpoint.parse(body) is None
    assert checkpoint.parse(None) is None


def test_a_later_version_s_checkpoint_is_none_and_unknown_fields_are_no_trouble() -> None:
    body = _document().dump()
    assert checkpoint.parse(body.replace(b'"schema_version":1', b'"schema_version":2')) is None
    assert checkpoint.parse(body[:-1] + b', "later": 1}') == _document()


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters(exclude_categories=[])),  # with halves of surrogate pairs
)
any_json = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
near_windows = st.fixed_dictionaries(
    {"windows": st.one_of(any_json, st.lists(any_json, max_size=3))},
    optional={"language": any_json, "word_times": any_json, "later": any_json},
)


@given(records, st.one_of(any_json, near_windows))
def test_the_record_is_read_whatever_stands_where_the_windows_should(
    record: Record, partial: Any
) -> None:
    document = json.loads(_document().with_record(record, partial=None, failure="why").dump())
    read = checkpoint.parse(json.dumps(document | {"partial": partial}).encode())
    assert read is not None
    assert read.record == record
    assert read.last_failure == "why"


@pytest.mark.parametrize("field", ["last_failure", "fingerprint"])
@given(record=records, value=st.one_of(any_json, st.just("half a pair: \ud800")))
def test_the_record_is_read_whatever_stands_where_texts_should(
    field: str, record: Record, value: Any
) -> None:
    kept = _document().with_record(record, partial=_windows(0))
    document = json.loads(kept.dump()) | {field: value}
    read = checkpoint.parse(json.dumps(document).encode())
    assert read is not None
    assert read.record == record
    assert read.of(job_id="j", request_hash="h", etag="e")


@given(records, st.dictionaries(st.text(max_size=8).map("later-{}".format), any_json))
def test_keys_that_a_later_release_adds_change_nothing(
    record: Record, later: dict[str, Any]
) -> None:
    kept = _document().with_record(record, partial=_windows(0, 1), failure="why")
    read = checkpoint.parse(json.dumps(json.loads(kept.dump()) | later).encode())
    assert read == kept


@pytest.mark.parametrize("where", ["partial", "window"])
def test_windows_with_keys_that_are_not_known_are_decoded_again(where: str) -> None:
    kept = _document().with_record(Record(deaths=2, suspect=True), partial=_windows(0, 1))
    document = json.loads(kept.dump())
    changed = document["partial"] if where == "partial" else document["partial"]["windows"][1]
    changed["speaker"] = "A"
    read = checkpoint.parse(json.dumps(document).encode())
    assert read is not None
    assert read.windows_for("f") is None
    assert read.record == Record(deaths=2, suspect=True)


@given(any_json.filter(lambda value: value is not None and value != "alone"))
def test_a_mark_of_an_unknown_kind_is_still_the_mark_of_a_run(running: Any) -> None:
    document = json.loads(_document().dump()) | {"running": running, "deaths": 1}
    read = checkpoint.parse(json.dumps(document).encode())
    assert read is not None
    assert read.record.running is Run.TOGETHER
    assert read.record.found() == Record(deaths=1, suspect=True)


def test_it_belongs_to_one_job_on_one_content_and_its_windows_to_one_engine() -> None:
    kept = _document().with_record(Record(), partial=_windows(0))
    assert kept.of(job_id="j", request_hash="h", etag="e")
    assert not kept.of(job_id="j", request_hash="h", etag="other")
    assert not kept.of(job_id="j", request_hash="other", etag="e")
    assert kept.windows_for("f") == _windows(0)
    assert kept.windows_for("another engine") is None


def test_the_last_failure_stays_until_there_is_another() -> None:
    kept = _document().with_record(Record(), partial=None, failure="first")
    assert kept.with_record(Record(), partial=None).last_failure == "first"


def test_windows_of_two_runs_are_merged_and_the_newer_counts() -> None:
    merged = checkpoint.merged(_windows(0, 1, text="old"), _windows(1, 2, text="new"))
    assert merged is not None
    assert [(w.index, w.text) for w in merged.windows] == [(0, "old"), (1, "new"), (2, "new")]
    assert checkpoint.merged(None, None) is None
    assert checkpoint.merged(_windows(3), None) == _windows(3)
