"""Files of many channels in the engine: surveyed, transcribed each on its own, ended as one."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from typing import NoReturn

import pytest

from tests.fakes.engine_parts import Parts, end, parts, window
from worker.errors import EngineError, ErrorCode, JobError
from worker.results.transcript import Segment
from worker.speech.api import Options, Partial, Recognition, WindowText
from worker.speech.children.framing import Frame, FrameError
from worker.speech.config import QUEUED_SECONDS
from worker.speech.engine.channels import ChannelSubmission, SurveyFeed
from worker.speech.engine.file import File, Group
from worker.speech.engine.inflow import FILE_SHARE, MIN_HELD_SECONDS, FileFeed
from worker.speech.engine.selections import kind_of, selection_of
from worker.speech.media.selection import Selection, Survey, Surveyed
from worker.speech.prepare.frames import PrepareTask, end_frame, surveyed_frame

PATIENCE = 30.0


@dataclass
class Call:
    """A file whose channels are transcribed each on its own; the test plays the prepare pool."""

    engine: Parts
    resume: Partial | None = None
    labels: tuple[str, ...] = ()
    alone: bool = False
    files: list[File] = field(default_factory=list)
    feeds: list[FileFeed] = field(default_factory=list)
    selections: list[Selection] = field(default_factory=list)

    def __post_init__(self) -> None:
        shared = self.engine.shared
        self.submission = ChannelSubmission(
            shared, "channels", self.labels, resume=self.resume, add=self._add
        )
        self.survey = SurveyFeed(shared, self.submission, PrepareTask("call", survey="channels"))
        with shared.changed:
            shared.surveys.add(self.submission)

    def _add(self, selection: Selection, kept: Partial | None, group: Group) -> File:
        assert self.engine.shared.changed._is_owned()  # type: ignore[attr-defined]
        file, feed = self.engine.file(resume=kept)
        file.group, file.alone = group, self.alone
        self.files.append(file)
        self.feeds.append(feed)
        self.selections.append(selection)
        return file

    def surveyed(self, *same_as: int | None) -> None:
        """The child has found channels."""
        found = tuple(Surveyed(Selection(None, n), same) for n, same in enumerate(same_as))
        self.survey.frame({"kind": "opened", "stated_seconds": 60.0}, b"")
        self.survey.frame({"kind": "progress", "seconds": 30.0}, b"")
        self.survey.frame(*surveyed_frame(Survey(found, (), {"decode": 0.5})))

    def speak(self, *starts: float) -> None:
        """Each channel speaks for three seconds, at its time, and ends after forty."""
        for feed, start in zip(self.feeds, starts, strict=True):
            window(feed, 0, 3.0, start=start)
            end(feed, 40.0)


def kept(*texts: str) -> Partial:
    windows = tuple(
        WindowText(index=n, start=30.0 * n, end=30.0 * n + 2, text=text, avg_logprob=-0.1)
        for n, text in enumerate(texts)
    )
    return Partial(windows=windows)


def test_what_of_a_file_is_read_is_what_is_asked_for() -> None:
    assert (kind_of(Options()), selection_of(Options())) == (None, Selection())
    second = Options(audio_stream=1)
    assert (kind_of(second), selection_of(second)) == (None, Selection(1))
    first = Options(audio_stream=0, channel_identification=True)
    assert (kind_of(first), selection_of(first)) == ("channels", Selection(0))
    every = Options(audio_stream="all")
    assert (kind_of(every), selection_of(every)) == ("tracks", Selection())


def test_each_channel_is_a_file_and_their_results_are_one() -> None:
    engine = parts()
    call = Call(engine, labels=("agent",))
    assert call.submission.progress() == (0.0, None)
    call.surveyed(None, 0, None)
    assert call.selections == [Selection(None, 0), Selection(None, 2)]
    assert call.submission.progress() == (0.0, 60.0)
    call.speak(5.0, 2.0)
    assert len(engine.decode()) == 2
    result = call.submission.future.result(0)
    assert [(each.channel, each.start) for each in result.segments] == [("ch_2", 2.0), ("agent", 5)]
    assert result.channels is not None
    assert [each.label for each in result.channels] == ["agent", "ch_1", "ch_2"]
    assert result.seconds == {"decode": 1.0, "transcribe": 1.0}
    assert call.submission.progress() == (40.0, 40.0)
    assert engine.shared.stats.audio_seconds == 40.0, "the file's seconds count once"
    assert engine.shared.empty()


def test_a_survey_counts_as_a_file_that_waits_and_its_frames_as_progress() -> None:
    engine = parts()
    now = 100.0
    engine.shared.clock = lambda: now
    assert engine.shared.last_progress() is None
    call = Call(engine)
    assert engine.inflow.held_seconds() == QUEUED_SECONDS
    assert not engine.shared.empty()
    call.survey.frame({"kind": "progress", "seconds": 30.0}, b"")
    assert engine.shared.last_progress() == 100.0
    assert call.survey.has_room()
    call.survey.wait_for_room()
    call.surveyed(None, None)
    assert engine.inflow.held_seconds() == 2 * QUEUED_SECONDS
    call.submission.cancel()
    assert engine.inflow.held_seconds() == 0.0
    assert engine.shared.last_progress() is None


def test_channels_together_hold_no_more_than_a_file_may() -> None:
    engine = parts(held_seconds=1.0)
    call = Call(engine)
    call.surveyed(None, None)
    _, other = engine.file(name="other")
    count = 0
    while call.feeds[count % 2].has_room():
        window(call.feeds[count % 2], count // 2, 20.0)
        count += 1
    assert MIN_HELD_SECONDS / FILE_SHARE <= count * 20.0 < MIN_HELD_SECONDS / FILE_SHARE + 20.0
    assert not call.feeds[0].has_room()
    assert not call.feeds[1].has_room()
    assert other.has_room()


def test_channels_that_run_alone_share_batches_with_each_other_only() -> None:
    engine = parts()
    call = Call(engine, alone=True)
    call.surveyed(None, None)
    _, other = engine.file(name="other")
    call.speak(0.0, 5.0)
    window(other, 0, 3.0)
    end(other, 40.0)
    first = engine.decode()
    assert {item.job for item in first} == {file.number for file in call.files}
    assert len(engine.decode()) == 1
    assert len(call.submission.future.result(0).segments) == 2


def test_one_channel_that_fails_fails_the_file_and_ends_the_others() -> None:
    engine = parts()
    call = Call(engine, labels=("agent", "caller"))
    call.surveyed(None, None)
    window(call.feeds[0], 0, 3.0)
    call.feeds[1].failed(JobError(ErrorCode.DECODE_CRASHED, "The decoder died; convert it."))
    error = call.submission.future.exception(0)
    assert isinstance(error, JobError)
    assert error.code is ErrorCode.DECODE_CRASHED
    assert error.message == "caller: The decoder died; convert it."
    assert all(file.gone for file in call.files)
    assert not call.feeds[0].wanted()
    assert engine.batch() is None
    assert engine.shared.empty()


def test_the_only_channel_fails_as_the_file_does() -> None:
    call = Call(parts())
    call.surveyed(None)
    call.feeds[0].failed(JobError(ErrorCode.DECODE_CRASHED, "The decoder died."))
    assert str(call.submission.future.exception(0)) == "The decoder died."


def test_a_file_that_can_not_be_surveyed_fails_with_the_reason() -> None:
    engine = parts()
    call = Call(engine)
    call.survey.failed(JobError(ErrorCode.NOT_MEDIA, "no decoder knows it"))
    error = call.submission.future.exception(0)
    assert isinstance(error, JobError)
    assert error.message == "no decoder knows it"
    assert not call.survey.wanted()
    assert engine.shared.empty()
    call.surveyed(None, None)
    assert call.files == []


@pytest.mark.parametrize(
    "frame",
    [
        ({"kind": "surveyed", "found": [], "notes": [], "seconds": {}}, b""),
        end_frame(40.0, 1.0, {}),
    ],
)
def test_a_survey_that_makes_no_sense_begins_nothing(frame: Frame) -> None:
    call = Call(parts())
    with pytest.raises(FrameError):
        call.survey.frame(*frame)
    assert call.files == []
    assert call.survey.wanted()


@pytest.mark.parametrize("surveyed", [False, True])
def test_a_cancelled_file_lets_go_of_everything(surveyed: bool) -> None:
    engine = parts()
    call = Call(engine)
    if surveyed:
        call.surveyed(None, None)
        window(call.feeds[0], 0, 3.0)
    call.submission.cancel()
    call.submission.cancel()
    assert not call.survey.wanted()
    assert not any(feed.wanted() for feed in call.feeds)
    assert engine.batch() is None
    assert engine.shared.empty()
    with pytest.raises(CancelledError):
        call.submission.future.result(0)


@pytest.mark.parametrize("surveyed", [False, True])
def test_an_engine_that_stops_cancels_it(surveyed: bool) -> None:
    engine = parts()
    call = Call(engine)
    if surveyed:
        call.surveyed(None, None)
    engine.flow.stop()
    assert call.submission.future.cancelled()
    assert engine.shared.empty()
    call.surveyed(None, None)
    assert len(call.files) == (2 if surveyed else 0)


@pytest.mark.parametrize("surveyed", [False, True])
def test_an_engine_that_breaks_fails_it_and_what_is_done_can_be_kept(surveyed: bool) -> None:
    engine = parts()
    call = Call(engine)
    if surveyed:
        call.surveyed(None, None)
        window(call.feeds[1], 0, 3.0)
        engine.decode()
    engine.flow.broken(RuntimeError("the device is gone"))
    error = call.submission.future.exception(0)
    assert isinstance(error, EngineError)
    assert str(error) == "the engine has stopped: the device is gone"
    assert all(file.gone for file in call.files)
    assert call.submission.partial().finished == (1 if surveyed else 0)


def test_a_caller_that_cancels_the_future_itself_breaks_nothing() -> None:
    engine = parts()
    call = Call(engine)
    call.surveyed(None, None)
    assert call.submission.future.cancel()
    call.speak(0.0, 5.0)
    engine.decode()
    assert engine.shared.empty()
    failed = Call(engine)
    assert failed.submission.future.cancel()
    failed.survey.failed(JobError(ErrorCode.NOT_MEDIA, "no decoder knows it"))
    assert engine.shared.empty()


class Garbled(list[Segment]):
    """Segments that can't be read."""

    def __iter__(self) -> NoReturn:
        raise ValueError("garbled")


def test_results_that_can_not_be_put_together_are_told_and_not_waited_for() -> None:
    call = Call(parts())
    call.surveyed(None, None)
    for file in call.files:
        file.future.set_result(Recognition(40.0, None, Garbled(), None, {}, 1))
    assert isinstance(call.submission.future.exception(0), ValueError)


def test_a_result_is_told_with_the_engine_s_lock_and_may_be_asked_from_another_thread() -> None:
    """What a worker does at a result: another thread reads it and cancels what is left."""
    engine = parts()
    call = Call(engine)
    asked: list[Partial] = []

    def ask() -> None:
        asked.append(call.submission.partial())
        call.submission.cancel()

    thread = threading.Thread(target=ask)
    call.submission.future.add_done_callback(lambda _: thread.start())
    call.surveyed(None, None)
    call.speak(0.0, 5.0)
    engine.decode()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert asked[0].finished == 2
    assert len(call.submission.future.result(0).segments) == 2


def test_each_channel_is_resumed_from_its_own_windows() -> None:
    engine = parts()
    resume = Partial(channels=(kept("first"), Partial(), kept("third")))
    call = Call(engine, resume=resume)
    assert call.submission.partial() == Partial()
    call.surveyed(None, 0, None, None)
    assert [len(feed.task.done) for feed in call.feeds] == [1, 1, 0]
    header = {"kind": "window", "index": 0, "spans": [[0, 32_000]], "speech": [[]], "done": True}
    call.feeds[1].frame(header, b"")
    made = call.submission.partial().channels
    assert [each.windows for each in made] == [(), (), kept("third").windows, ()]
    assert made[1] == Partial()
    call.feeds[0].frame(header, b"")
    window(call.feeds[2], 0, 3.0)
    for feed in call.feeds:
        end(feed, 40.0)
    assert len(engine.decode()) == 1
    result = call.submission.future.result(0)
    assert sorted(each.text for each in result.segments) == ["first", "so it is", "third"]
    assert result.resumed == 2


def test_windows_of_a_file_that_was_one_are_of_no_use_to_its_channels() -> None:
    call = Call(parts(), resume=kept("a", "b"))
    call.surveyed(None, None)
    assert [feed.task.done for feed in call.feeds] == [(), ()]


def test_windows_of_channels_are_of_no_use_to_a_file_that_is_one() -> None:
    engine = parts()
    _, feed = engine.file(resume=Partial(channels=(kept("a"), kept("b"))))
    assert feed.task.done == ()
    window(feed, 0, 3.0)
    end(feed, 40.0)
    assert len(engine.decode()) == 1
