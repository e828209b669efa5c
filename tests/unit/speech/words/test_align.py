"""The aligner: models come and go on other threads, and words come out right regardless."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from tests.fakes.align_models import small_model
from worker.results.transcript import Word
from worker.speech.words import align
from worker.speech.words.align import Aligner, AlignItem, AlignmentError
from worker.speech.words.align_models import ModelNotFetched, ModelNotHere, NoAlignModel
from worker.speech.words.wav2vec2 import AlignModel

JAPANESE = ["<pad>", "客", "観", "的", "実", "在", "の"]


def build(language: str) -> AlignModel:
    if language == "ja":
        return small_model(letters=JAPANESE, spaced=False)
    return small_model(norm="layer" if language == "nl" else "group")


class Loads:
    """A loader that notes its calls and does what the test says."""

    def __init__(self, make: Callable[[str], AlignModel] = build) -> None:
        self.make = make
        self.calls: list[str] = []
        self.threads: set[threading.Thread] = set()

    def __call__(self, language: str, device: str, model_dir: Path | None) -> AlignModel:
        self.calls.append(language)
        self.threads.add(threading.current_thread())
        return self.make(language)


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Opened by the test, and at its end in any case, so that no thread outlives it."""
    event = threading.Event()
    yield event
    event.set()


def settled(aligner: Aligner, language: str, seconds: float = 30.0) -> bool | None:
    """Ask for a language and wait for the answer."""
    aligner.request(language)
    end = time.monotonic() + seconds
    while aligner.ready(language) is None and time.monotonic() < end:
        time.sleep(0.002)
    return aligner.ready(language)


def segment(
    text: str, seconds: float = 2.0, *, language: str = "en", start: float = 10.0, seed: int = 0
) -> AlignItem:
    rng = np.random.default_rng([seed, len(text)])
    samples = (rng.normal(size=round(seconds * 16_000)) * 0.1).astype(np.float32)
    return AlignItem(samples, text, language, start, start + seconds)


def check(words: Sequence[Word], item: AlignItem) -> None:
    """What is promised of every answer."""
    assert "".join(word.word for word in words) == "".join(item.text.split())
    at = item.start
    for word in words:
        assert at <= word.start <= word.end <= item.end
        at = word.end


ITEMS = [
    segment("the cat sat on the mat", seed=1),
    segment("in 1984, for $20 (twenty)", 3.1, seed=2),
    segment("客観的実在の99、Aだ", 1.7, language="ja", start=0.0, seed=3),
    segment("", 1.0),
    segment("   ", 1.0),
    segment("een twee drie", 2.4, language="nl", start=5.25, seed=4),
    segment("7 8 9 %", 1.5, start=100.0, seed=5),
    segment("ünïcödé — “words” 🙂", 2.2, seed=6),
    segment("| || |", 1.0, language="ja", seed=7),
    segment("too short", 0.02, seed=8),
    segment("far more characters than these frames can hold", 0.2, seed=9),
    AlignItem(np.zeros(0, np.float32), "no sound", "en", 4.0, 4.0),
    segment("silence", 1.0),
]


def test_every_word_of_every_text_has_times_whatever_the_text() -> None:
    aligner = Aligner("cpu", cache_size=3, load=Loads())
    for language in ("en", "ja", "nl"):
        assert settled(aligner, language) is True
    found = aligner.align(ITEMS)
    assert len(found) == len(ITEMS)
    for words, item in zip(found, ITEMS, strict=True):
        check(words, item)
    assert [word.word for word in found[2]] == list("客観的実在の99、Aだ")
    assert all(word.score is not None for word in [*found[0], *found[1], *found[2], *found[6]])
    # What can't be aligned is spread and has no score.
    for index in (9, 10, 11):
        assert all(word.score is None for word in found[index])


def test_batch_mates_change_no_word() -> None:
    aligner = Aligner("cpu", cache_size=3, batch_seconds=6.0, load=Loads())
    for language in ("en", "ja", "nl"):
        settled(aligner, language)
    together = aligner.align(ITEMS)
    assert together == [aligner.align([item])[0] for item in ITEMS]
    assert aligner.align(ITEMS[::-1]) == together[::-1]


def test_segments_of_unlike_length_share_forward_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[int] = []
    emissions = AlignModel.emissions

    def counted(
        self: AlignModel, batch: Sequence[npt.NDArray[np.float32]], padded: int
    ) -> list[npt.NDArray[np.float32]]:
        passes.append(len(batch))
        return emissions(self, batch, padded)

    monkeypatch.setattr(AlignModel, "emissions", counted)
    aligner = Aligner("cpu", batch_seconds=30.0, load=Loads())
    settled(aligner, "en")
    items = [segment("some words", 2.0 + 0.1 * i, seed=i) for i in range(12)]
    for words, item in zip(aligner.align(items), items, strict=True):
        check(words, item)
    assert passes == [9, 3]


def test_many_items_are_aligned_in_portions() -> None:
    aligner = Aligner("cpu", load=Loads())
    settled(aligner, "en")
    items = [segment(f"item {'x' * (i % 7)}", 0.5, seed=i) for i in range(150)]
    for words, item in zip(aligner.align(items), items, strict=True):
        check(words, item)


def test_an_unlike_group_norm_gives_the_same_words_in_batches_of_equal_length() -> None:
    def odd(language: str) -> AlignModel:
        model = build(language)
        model.paddable = False
        return model

    padding, equal = Aligner("cpu", load=Loads()), Aligner("cpu", load=Loads(odd))
    settled(padding, "en")
    settled(equal, "en")
    items = [segment("some words", 1.0 + 0.5 * (i % 3), seed=i) for i in range(9)]
    assert padding.align(items) == equal.align(items)


def test_a_language_is_not_known_until_asked_for_and_loads_on_another_thread() -> None:
    loads = Loads()
    aligner = Aligner("cpu", load=loads)
    assert aligner.ready("en") is None
    assert aligner.why_not("en") == "The alignment model for 'en' was not asked for."
    with pytest.raises(AlignmentError, match="not asked for"):
        aligner.align([ITEMS[0]])
    assert loads.calls == []
    assert settled(aligner, "en") is True
    assert aligner.why_not("en") == ""
    aligner.request("en")
    assert loads.calls == ["en"]
    assert threading.current_thread() not in loads.threads


def test_a_request_returns_while_the_model_loads(gate: threading.Event) -> None:
    def slow(language: str) -> AlignModel:
        assert gate.wait(30)
        return build(language)

    loads = Loads(slow)
    aligner = Aligner("cpu", load=loads)
    aligner.request("en")
    aligner.request("en")
    assert aligner.ready("en") is None
    assert aligner.why_not("en") == "The alignment model for 'en' is loading."
    with pytest.raises(AlignmentError, match="is loading"):
        aligner.align([ITEMS[0]])
    gate.set()
    assert settled(aligner, "en") is True
    assert len(loads.calls) == 1


def test_a_failed_load_is_one_attempt_and_says_why() -> None:
    def fail(language: str) -> AlignModel:
        raise OSError("connection refused\nand a long story")

    loads = Loads(fail)
    aligner = Aligner("cpu", load=loads)
    assert settled(aligner, "fi") is False
    assert settled(aligner, "fi") is False
    assert loads.calls == ["fi"]
    why = "The alignment model for 'fi' could not be loaded (OSError: connection refused)."
    assert aligner.why_not("fi") == why
    with pytest.raises(AlignmentError, match="connection refused"):
        aligner.align([segment("sanoja", language="fi")])


def test_a_language_without_a_model_says_so() -> None:
    def none(language: str) -> AlignModel:
        raise NoAlignModel("There is no alignment model for the language 'cy'.")

    aligner = Aligner("cpu", load=Loads(none))
    assert settled(aligner, "cy") is False
    assert aligner.why_not("cy") == "There is no alignment model for the language 'cy'."


def test_a_load_that_takes_too_long_counts_as_failed_until_it_comes(gate: threading.Event) -> None:
    def slow(language: str) -> AlignModel:
        assert gate.wait(30)
        return build(language)

    aligner = Aligner("cpu", load_timeout=0.05, load=Loads(slow))
    assert settled(aligner, "en") is False
    assert aligner.why_not("en") == "The alignment model for 'en' did not load within 0.05 s."
    gate.set()
    end = time.monotonic() + 30
    while not aligner.ready("en") and time.monotonic() < end:
        time.sleep(0.002)
    assert aligner.ready("en") is True
    check(aligner.align([ITEMS[0]])[0], ITEMS[0])


class Far:
    """Models that are not on the disk before they are fetched, and the way there.

    Args:
        way: what happens on the way, by language; it may wait, or raise.
    """

    def __init__(self, way: Callable[[str, Callable[[], None]], object]) -> None:
        self.way = way
        self.here: set[str] = set()
        self.asked: list[str] = []
        self.loads = Loads(self._load)

    def fetch(self, language: str, model_dir: Path | None, arrived: Callable[[], None]) -> None:
        del model_dir
        self.asked.append(language)
        self.way(language, arrived)
        self.here.add(language)

    def aligner(self, **options: float) -> Aligner:
        return Aligner("cpu", load=self.loads, fetch=self.fetch, **options)  # type: ignore[arg-type]

    def _load(self, language: str) -> AlignModel:
        if language not in self.here:
            raise ModelNotHere(language)
        return build(language)


def settles(condition: Callable[[], bool], seconds: float = 30.0) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.002)
    return condition()


def test_only_what_is_not_on_the_disk_is_fetched() -> None:
    far = Far(lambda *_: None)
    far.here.add("en")
    aligner = far.aligner()
    assert settled(aligner, "nl") is True
    assert settled(aligner, "en") is True
    assert far.asked == ["nl"]
    assert far.loads.calls == ["nl", "nl", "en"]


def test_a_download_that_hangs_delays_no_other_language(gate: threading.Event) -> None:
    far = Far(lambda language, _: language != "nl" or gate.wait(30))
    far.here.add("en")
    aligner = far.aligner()
    aligner.request("nl")
    assert settles(lambda: far.asked == ["nl"])
    assert settled(aligner, "en") is True
    assert settled(aligner, "ja") is True
    assert aligner.ready("nl") is None


def test_results_wait_for_a_download_only_while_it_brings_something(
    gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(align, "SILENCE_SECONDS", 0.2)
    more = threading.Event()

    def bring(_: str, arrived: Callable[[], None]) -> None:
        while not more.wait(0.02):
            arrived()
        assert gate.wait(30)

    aligner = Far(bring).aligner()
    aligner.request("nl")
    end = time.monotonic() + 0.6
    while time.monotonic() < end:
        assert aligner.ready("nl") is None
        time.sleep(0.002)
    more.set()
    assert settled(aligner, "nl") is False
    assert aligner.why_not("nl") == (
        "The alignment model for 'nl' is being fetched, and nothing came for 0.2 s."
    )
    gate.set()
    assert settles(lambda: aligner.ready("nl") is True), "one that comes late is used"


def test_a_model_that_could_not_be_fetched_is_asked_for_again_later_and_nobody_waits(
    gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    network: list[str] = []

    def way(_: str, arrived: Callable[[], None]) -> None:
        del arrived
        if not network:
            raise ModelNotFetched("the hub can't be reached", "Let it be reached.")
        assert gate.wait(30)

    far = Far(way)
    aligner = far.aligner()
    assert settled(aligner, "nl") is False
    assert aligner.why_not("nl") == (
        "The alignment model for 'nl' is not on this machine, and the hub can't be reached."
    )
    assert aligner.cure("nl") == "Let it be reached."
    for _ in range(22):
        aligner.request("nl")
    assert far.asked == ["nl"]

    monkeypatch.setattr(align, "MODELS_SECONDS", 0.0)
    failed = far.aligner()
    assert settled(failed, "nl") is False
    network.append("is back")
    assert settled(failed, "nl") is False, "while it is fetched, too"
    failed.request("nl")
    assert settles(lambda: far.asked == ["nl", "nl", "nl"])
    gate.set()
    assert settles(lambda: failed.ready("nl") is True)
    assert (failed.why_not("nl"), failed.cure("nl")) == ("", "")
    assert len(far.asked) == 3


def test_the_least_recently_used_model_makes_room_and_may_come_back() -> None:
    loads = Loads()
    aligner = Aligner("cpu", cache_size=2, load=loads)
    for language in ("en", "nl"):
        assert settled(aligner, language) is True
    aligner.align([ITEMS[0]])  # en is used last
    assert settled(aligner, "ja") is True
    assert [aligner.ready(language) for language in ("en", "nl", "ja")] == [True, None, True]
    assert settled(aligner, "nl") is True
    assert loads.calls == ["en", "nl", "ja", "nl"]


def test_a_model_that_made_room_since_it_was_asked_about_is_awaited() -> None:
    loads = Loads()
    aligner = Aligner("cpu", cache_size=1, load=loads)
    assert settled(aligner, "en") is True
    assert settled(aligner, "nl") is True
    check(aligner.align([ITEMS[0]])[0], ITEMS[0])
    assert loads.calls == ["en", "nl", "en"]
    assert threading.current_thread() not in loads.threads


class LittleMemory(AlignModel):
    """Runs out of memory above so many segments a pass."""

    most = 1

    def emissions(
        self, batch: Sequence[npt.NDArray[np.float32]], padded: int
    ) -> list[npt.NDArray[np.float32]]:
        if len(batch) > self.most:
            raise torch.OutOfMemoryError("out of memory")
        return super().emissions(batch, padded)


def with_little_memory(most: int) -> Loads:
    def make(language: str) -> AlignModel:
        model = build(language)
        model.__class__ = LittleMemory
        assert isinstance(model, LittleMemory)
        model.most = most
        return model

    return Loads(make)


def test_a_batch_too_large_for_the_device_is_made_smaller() -> None:
    usual, small = Aligner("cpu", load=Loads()), Aligner("cpu", load=with_little_memory(2))
    settled(usual, "en")
    settled(small, "en")
    items = [segment("some words", 1.0 + 0.1 * i, seed=i) for i in range(11)]
    assert small.align(items) == usual.align(items)


def test_no_memory_for_one_segment_is_an_error_with_advice() -> None:
    aligner = Aligner("cpu", load=with_little_memory(0))
    settled(aligner, "en")
    with pytest.raises(AlignmentError, match=r"no memory for one segment of 2\.0 s: use a smaller"):
        aligner.align([ITEMS[0]])


def test_a_model_that_gives_no_numbers_is_an_error() -> None:
    def broken(language: str) -> AlignModel:
        model = build(language)
        with torch.no_grad():
            next(iter(model.module.parameters())).fill_(float("nan"))
        return model

    aligner = Aligner("cpu", load=Loads(broken))
    settled(aligner, "en")
    with pytest.raises(AlignmentError, match="gave no numbers"):
        aligner.align([ITEMS[0]])


@pytest.fixture
def switches_on() -> Iterator[None]:
    """TF32 and cuDNN's benchmark switched on, as at start-up; put back after the test."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = (matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark)
    matmul.allow_tf32 = cudnn.allow_tf32 = cudnn.benchmark = True
    yield
    matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark = before


@pytest.mark.usefixtures("switches_on")
def test_torchs_settings_are_left_alone() -> None:
    threads, grad = torch.get_num_threads(), torch.is_grad_enabled()
    aligner = Aligner("cpu", load=Loads())
    settled(aligner, "en")
    aligner.align([ITEMS[0]])
    assert torch.backends.cuda.matmul.allow_tf32
    assert torch.backends.cudnn.allow_tf32
    assert torch.backends.cudnn.benchmark
    assert (torch.get_num_threads(), torch.is_grad_enabled()) == (threads, grad)


def test_close_lets_go_of_the_models() -> None:
    aligner = Aligner("cpu", load=Loads())
    settled(aligner, "en")
    aligner.close()
    assert aligner.ready("en") is None


def test_a_cache_of_no_models_is_refused() -> None:
    with pytest.raises(ValueError, match="cache_size must be at least 1, not 0"):
        Aligner("cpu", cache_size=0)
