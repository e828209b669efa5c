"""Decoding that survives: memory that runs out, one bad window, a device that is gone."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.model import FakeModel
from worker.errors import EngineError, ErrorCode, JobError
from worker.speech.engine.decoder import OUT_OF_MEMORY_ADVICE, Decoder
from worker.speech.engine.limits import PATIENCE
from worker.speech.model.decoding import Decoded, Request
from worker.speech.model.memory import Budget, WindowCost
from worker.speech.windows import FULL_POSITIONS

COST = WindowCost(per_position=100)


def window(number: int) -> Request:
    """A window that is told from others by its context."""
    return Request(
        sound=np.full((80, 10), number, dtype=np.float32),
        seconds=1.0 + number,
        language="en",
        task="transcribe",
        context=(number,),
    )


def decoder(model: FakeModel, windows: int = 64) -> Decoder:
    def probe() -> object:
        return model.decode([window(999)], positions=FULL_POSITIONS, beam_size=5, temperature=0.0)

    return Decoder(model, Budget(windows, None, None, COST), beam_size=5, probe=probe)


def decode(found: Decoder, count: int) -> list[tuple[int, Decoded | JobError]]:
    pairs = [(number, window(number)) for number in range(count)]
    return found.decode(pairs, positions=FULL_POSITIONS, temperature=0.0)


def test_a_batch_is_one_call() -> None:
    model = FakeModel()
    outcomes = decode(decoder(model), 8)
    assert [tag for tag, _ in outcomes] == list(range(8))
    assert all(isinstance(outcome, Decoded) for _, outcome in outcomes)
    assert (model.encoder_calls, model.encoded_windows) == (1, 8)
    assert [len(call) for call in model.calls] == [8]


def test_nothing_is_no_call() -> None:
    model = FakeModel()
    assert decode(decoder(model), 0) == []
    assert model.encoder_calls == 0


@given(st.integers(1, 64), st.integers(1, 64), st.booleans())
def test_out_of_memory_loses_no_window_and_is_remembered(
    count: int, fits: int, stale: bool
) -> None:
    model = FakeModel(fits=fits, stale=stale)
    found = decoder(model)
    outcomes = decode(found, count)
    assert [tag for tag, _ in outcomes] == list(range(count))
    assert all(isinstance(outcome, Decoded) for _, outcome in outcomes)
    capacity = found.capacity(FULL_POSITIONS, 0, 0.0)
    if count <= fits:
        assert (capacity, found.out_of_memory) == (64, 0)
    else:
        assert 1 <= capacity <= fits
        assert found.out_of_memory >= 1
    # What is remembered fits from then on.
    tried = found.out_of_memory
    decode(found, min(count, capacity))
    assert found.out_of_memory == tried


def test_the_echo_of_an_error_splits_no_batch_and_blames_no_window() -> None:
    model = FakeModel(fits=2, stale=True)
    outcomes = decode(decoder(model), 3)
    assert all(isinstance(outcome, Decoded) for _, outcome in outcomes)
    # Three at once, the first alone (an echo) and again, then the other two.
    assert [len(call) for call in model.calls] == [3, 1, 1, 2]


def test_memory_that_runs_out_while_sampling_says_nothing_about_beam_search() -> None:
    found = decoder(FakeModel(fits=lambda temperature: 2 if temperature else 64))
    pairs = [(number, window(number)) for number in range(8)]
    found.decode(pairs, positions=FULL_POSITIONS, temperature=0.4)
    assert found.capacity(FULL_POSITIONS, 0, 0.4) == found.capacity(FULL_POSITIONS, 0, 0.2) == 2
    assert found.capacity(FULL_POSITIONS, 0, 0.0) == 64
    assert found.capacity(400, 0, 0.4) == 64


def test_a_remembered_size_grows_again_while_all_goes_well() -> None:
    room = [1]
    model = FakeModel(fits=lambda _: room[0])
    found = decoder(model)
    decode(found, 8)
    assert found.capacity(FULL_POSITIONS, 0, 0.0) == 1
    room[0] = 64
    for _ in range(40 * PATIENCE):
        decode(found, found.capacity(FULL_POSITIONS, 0, 0.0))
    assert found.capacity(FULL_POSITIONS, 0, 0.0) > 8


def test_a_window_that_failed_once_beside_a_working_probe_is_tried_again() -> None:
    errors = [RuntimeError("cuBLAS failed with status CUBLAS_STATUS_EXECUTION_FAILED")]
    model = FakeModel(
        poison=lambda request: errors.pop() if errors and request.context == (0,) else None
    )
    ((_, outcome),) = decode(decoder(model), 1)
    assert isinstance(outcome, Decoded)


@pytest.mark.parametrize(
    "error", [RuntimeError("CUDA failed with error out of memory"), MemoryError("bad_alloc")]
)
def test_a_window_too_large_for_the_device_fails_its_job_with_advice(error: Exception) -> None:
    def too_large(request: Request) -> Exception | None:
        return error if request.context == (3,) else None

    outcomes = dict(decode(decoder(FakeModel(poison=too_large)), 8))
    failed = outcomes.pop(3)
    assert isinstance(failed, JobError)
    assert failed.code is ErrorCode.OUT_OF_MEMORY
    assert failed.message == OUT_OF_MEMORY_ADVICE
    assert "int8_float16" in failed.message
    assert "other processes on the card" in failed.message
    assert all(isinstance(outcome, Decoded) for outcome in outcomes.values())


@given(st.integers(1, 33), st.data())
def test_one_bad_window_is_found_and_only_its_job_fails(count: int, data: st.DataObject) -> None:
    bad = data.draw(st.sets(st.integers(0, count - 1), max_size=3))
    model = FakeModel(poison=_bad(bad))
    outcomes = dict(decode(decoder(model), count))
    assert set(outcomes) == set(range(count))
    for number, outcome in outcomes.items():
        if number in bad:
            assert isinstance(outcome, JobError)
            assert outcome.code is ErrorCode.ENGINE_FAILED
            assert "cuBLAS" in outcome.message
        else:
            assert isinstance(outcome, Decoded)
            assert outcome.text == FakeModel.text_of(window(number))
    # Halving: each bad window costs at most two calls a level, its probe and one more try.
    assert model.encoder_calls <= 1 + len(bad) * (2 * 6 + 2)


def _bad(numbers: set[int]) -> Callable[[Request], Exception | None]:
    def poison(request: Request) -> Exception | None:
        return RuntimeError("cuBLAS failed") if request.context[0] in numbers else None

    return poison


@pytest.mark.parametrize("count", [1, 2, 8])
def test_a_device_that_is_broken_is_no_windows_fault(count: int) -> None:
    model = FakeModel(broken_after=0)
    with pytest.raises(EngineError, match="the device is broken: an illegal memory access"):
        decode(decoder(model), count)


def test_a_device_that_breaks_on_a_window_is_told_from_a_bad_window() -> None:
    model = FakeModel(broken_after=3)
    found = decoder(model)
    for _ in range(3):
        assert isinstance(decode(found, 1)[0][1], Decoded)
    with pytest.raises(EngineError):
        decode(found, 4)


def test_a_failure_says_no_text() -> None:
    outcomes = decode(decoder(FakeModel(poison=_bad({0}))), 1)
    failed = outcomes[0][1]
    assert isinstance(failed, JobError)
    assert re.fullmatch(
        r"A window of the audio can't be decoded \(RuntimeError: cuBLAS failed\); "
        r"report it with the file\.",
        failed.message,
    )


def test_what_an_alignment_model_takes_is_taken_off_the_next_batches() -> None:
    taken = [0]
    found = Decoder(
        FakeModel(),
        Budget(64, 10_000, None, WindowCost(per_position=1)),
        beam_size=5,
        probe=lambda: None,
        taken=lambda: taken[0],
    )
    assert found.capacity(100, 0, 0.0) == 64
    taken[0] = 9_000
    decode(found, 2)
    assert found.capacity(100, 0, 0.0) == 10
    taken[0] = 20_000
    decode(found, 2)
    assert found.capacity(100, 0, 0.0) == 1
    taken[0] = 0
    decode(found, 2)
    assert found.capacity(100, 0, 0.0) == 64
