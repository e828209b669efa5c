"""How many windows fit a batch: the arithmetic of memory, without a card."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import MachineError
from worker.speech.model.choices import Device
from worker.speech.model.memory import (
    ALIGN_BYTES,
    CPU_WINDOWS,
    RESERVE_BYTES,
    SPEAKER_BYTES,
    STEP_BYTES,
    Budget,
    WindowCost,
    activation_bytes,
    budget,
    is_out_of_memory,
    is_stale,
    reserved_bytes,
    window_cost,
)
from worker.speech.model.weights import LARGE_V3, Dimensions

MB = 1_000_000
T4 = Device("cuda", 0, "Tesla T4", (7, 5))
CPU = Device("cpu", 0, "a processor")
BASE = Dimensions(encoder_layers=6, decoder_layers=6, width=512, heads=8, mels=80, vocabulary=51865)
TURBO = Dimensions(
    encoder_layers=32, decoder_layers=4, width=1280, heads=20, mels=128, vocabulary=51866
)


def on_card(free_bytes: int, dimensions: Dimensions = LARGE_V3, *, batch_size: int = 64,
            given_: bool = True, align: bool = True, speakers: bool = False,
            beam_size: int = 5, compute_type: str = "int8_float16",
            lanes: int = 1) -> Budget:  # fmt: skip
    return budget(
        dimensions,
        batch_size=batch_size,
        batch_size_given=given_,
        beam_size=beam_size,
        compute_type=compute_type,
        device=T4,
        free_bytes=free_bytes,
        reserved=reserved_bytes(align=align, speakers=speakers),
        cores=4,
        lanes=lanes,
    )


MEASURED = [
    # dimensions, seconds of the window, beam, tokens, sampled, MiB over the loaded model
    (LARGE_V3, 30, 5, 100, False, 376),
    (LARGE_V3, 30, 5, 176, False, 471),
    (LARGE_V3, 30, 5, 224, False, 514),
    (LARGE_V3, 30, 1, 100, False, 269),
    (LARGE_V3, 8, 5, 20, False, 95),
    (LARGE_V3, 30, 5, 40, True, 1229),
    (TURBO, 30, 5, 100, False, 146),
    (BASE, 30, 5, 101, False, 58),
]
"""On an H200, CTranslate2 4.8.5, int8_float16, batches of 32 to 128."""


@pytest.mark.parametrize(("dimensions", "seconds", "beam", "tokens", "sampled", "found"), MEASURED)
def test_a_window_takes_what_was_measured(
    dimensions: Dimensions, seconds: int, beam: int, tokens: int, sampled: bool, found: int
) -> None:
    cost = window_cost(dimensions, beam_size=beam, compute_type="int8_float16")
    taken = cost.bytes_written(seconds * 50, tokens, sampled=sampled)
    assert taken / (1 << 20) == pytest.approx(found, rel=0.04)


def test_a_short_decoder_takes_less_than_its_encoder() -> None:
    cost = window_cost(TURBO, beam_size=5, compute_type="float16")
    encoder = cost.encoder_per_position * 1500 + cost.encoder_per_position_squared * 1500**2
    assert cost.bytes(1500) == encoder
    assert encoder > cost.bytes(1500, 200) - cost.per_token * 200
    # Samples have caches of their own.
    assert cost.bytes(1500, sampled=True) > encoder


def test_int8_shrinks_weights_alone() -> None:
    as_float16 = window_cost(LARGE_V3, beam_size=5, compute_type="float16")
    assert window_cost(LARGE_V3, beam_size=5, compute_type="int8_float16") == as_float16
    as_float32 = window_cost(LARGE_V3, beam_size=5, compute_type="float32")
    assert as_float32.bytes(1500) - STEP_BYTES == 2 * (as_float16.bytes(1500) - STEP_BYTES)
    assert window_cost(LARGE_V3, beam_size=5, compute_type="int8") == as_float32


@pytest.mark.parametrize(
    ("compute_type", "size"),
    [
        ("float32", 4), ("float16", 2), ("bfloat16", 2), ("int8", 4),
        ("int8_float16", 2), ("int8_float32", 4), ("int8_bfloat16", 2), ("int16", 4),
    ],
)  # fmt: skip
def test_bytes_of_a_computed_value(compute_type: str, size: int) -> None:
    assert activation_bytes(compute_type) == size


def test_about_24_windows_fit_a_t4_beside_large_v3_int8() -> None:
    # 15 GB of which CUDA has some; the weights in int8 take 1.6 GB.
    free = 15_360 * (1 << 20) - 400 * (1 << 20) - 1_600 * MB
    capacity = on_card(free).capacity(1500)
    assert 22 <= capacity <= 26
    assert on_card(free, TURBO).capacity(1500) == 64
    # Short windows take less: more of them fit.
    assert on_card(free).capacity(300) > 2 * capacity


def test_a_card_keeps_room_for_models_that_tell_speakers_apart() -> None:
    free = 15_360 * (1 << 20) - 400 * (1 << 20) - 1_600 * MB
    without, beside = on_card(free).bytes, on_card(free, speakers=True).bytes
    assert without is not None
    assert beside == without - SPEAKER_BYTES
    assert reserved_bytes(align=False, speakers=False) == 0


def test_lanes_share_the_memory_of_a_card() -> None:
    free = 15_360 * (1 << 20) - 400 * (1 << 20) - 1_600 * MB
    assert on_card(free, lanes=2).capacity(1500) == on_card(free).capacity(1500) // 2


def test_a_prompt_takes_room_in_every_beam() -> None:
    # 223 tokens: 32 layers x keys and values x width x 2 bytes x 5 beams, and what copies it.
    cost = window_cost(LARGE_V3, beam_size=5, compute_type="int8_float16")
    assert cost.bytes(1500, 223) - cost.bytes(1500) == 223 * 32 * 2 * 1280 * 2 * 8
    free = 15_360 * (1 << 20) - 400 * (1 << 20) - 1_600 * MB
    assert 15 <= on_card(free).capacity(1500, 223) < on_card(free).capacity(1500, 32) <= 25
    assert on_card(free).capacity(1500, 0) == on_card(free).capacity(1500)


def test_on_a_card_only_full_batches_of_prompted_windows_are_enough_on_a_cpu_a_quarter() -> None:
    free = 15_360 * (1 << 20) - 400 * (1 << 20) - 1_600 * MB
    assert on_card(free).few(227) == on_card(free).capacity(1500, 227)
    assert on_cpu(64, 2, given_=False, lanes=2).few(227) == 1
    assert on_cpu(64, 32).few(227) == 8
    assert on_cpu(1, 2).few(227) == 1


def test_batch_size_is_an_upper_bound() -> None:
    assert on_card(80 << 30, batch_size=3).capacity(1500) == 3
    assert on_card(80 << 30, batch_size=3).capacity(200) == 3
    # As a default it bounds what windows cost: ten of 3 s are one of 30.
    assert on_card(80 << 30, batch_size=3, given_=False).capacity(150) == 30


def test_what_alignment_needs_is_kept_free() -> None:
    free = 8 << 30
    window = window_cost(LARGE_V3, beam_size=5, compute_type="int8_float16").bytes(1500)
    without = on_card(free, align=False).bytes
    assert without == free - RESERVE_BYTES
    assert on_card(free).bytes == without - ALIGN_BYTES
    assert on_card(free, align=False).capacity(1500) == without // window


def test_a_card_too_small_for_one_window_says_what_to_do() -> None:
    with pytest.raises(MachineError, match="use compute_type = int8_float16, model = turbo"):
        on_card(1_700 * (1 << 20))


def on_cpu(
    batch_size: int, cores: int, *, given_: bool = True, free: int = 64 << 30, lanes: int = 1
) -> Budget:
    return budget(
        BASE,
        batch_size=batch_size,
        batch_size_given=given_,
        beam_size=5,
        compute_type="int8",
        device=CPU,
        free_bytes=free,
        reserved=ALIGN_BYTES,
        cores=cores,
        lanes=lanes,
    )


def test_on_a_cpu_cores_and_memory_bound_a_batch() -> None:
    assert on_cpu(64, 2).capacity(1500) == CPU_WINDOWS
    assert on_cpu(64, 16).capacity(1500) == 16
    assert on_cpu(4, 16).capacity(1500) == 4
    window = window_cost(BASE, beam_size=5, compute_type="int8").bytes(1500)
    assert on_cpu(64, 16, free=4 * 3 * window).capacity(1500) == 3
    assert on_cpu(64, 16, free=0).capacity(1500) == 1


def test_lanes_share_memory_and_what_nobody_chose() -> None:
    assert on_cpu(64, 2, given_=False, lanes=2).capacity(1500) == CPU_WINDOWS // 2
    assert on_cpu(1, 2, given_=False, lanes=2).capacity(1500) == 1
    assert on_cpu(8, 2, given_=True, lanes=2).capacity(1500) == 8
    window = window_cost(BASE, beam_size=5, compute_type="int8").bytes(1500)
    assert on_cpu(64, 2, free=4 * 6 * window, lanes=2).capacity(1500) == 3


budgets = st.builds(
    Budget,
    windows=st.integers(1, 64),
    bytes=st.one_of(st.none(), st.integers(0, 1 << 34)),
    positions=st.one_of(st.none(), st.integers(0, 64 * 1500)),
    cost=st.builds(
        WindowCost,
        fixed=st.integers(0, 1 << 24),
        per_position=st.integers(1, 1 << 18),
        per_position_sampled=st.integers(0, 1 << 18),
        per_token=st.integers(0, 1 << 20),
        encoder_per_position=st.integers(0, 1 << 17),
        encoder_per_position_squared=st.integers(0, 64),
    ),
)


@given(budgets, st.integers(1, 1500), st.integers(1, 1500))
def test_longer_windows_never_fit_more_often(chosen: Budget, one: int, other: int) -> None:
    low, high = sorted((one, other))
    assert 1 <= chosen.capacity(high) <= chosen.capacity(low) <= chosen.windows


@given(budgets, st.integers(1, 1500), st.integers(0, 448), st.integers(0, 448))
def test_longer_prompts_never_fit_more_often(
    chosen: Budget, positions: int, one: int, other: int
) -> None:
    low, high = sorted((one, other))
    assert 1 <= chosen.capacity(positions, high) <= chosen.capacity(positions, low)
    assert 1 <= chosen.few(high) <= chosen.few(low)


@given(budgets, st.integers(1, 1500), st.integers(0, 448))
def test_sampling_never_takes_less_room(chosen: Budget, positions: int, prompt: int) -> None:
    most = chosen.capacity(positions, prompt)
    assert 1 <= chosen.capacity(positions, prompt, sampled=True) <= most


def test_sampling_takes_cross_attention_five_times() -> None:
    cost = window_cost(LARGE_V3, beam_size=5, compute_type="int8_float16")
    cross = 32 * 2 * 1500 * 1280 * 2
    assert cost.bytes(1500, sampled=True) - cost.bytes(1500) == 4 * cross
    free = 15_360 * (1 << 20) - 400 * (1 << 20) - 1_600 * MB
    assert 7 <= on_card(free).capacity(1500, sampled=True) <= 9


@given(st.integers(1, 1500), st.integers(1, 4096))
def test_no_call_has_more_values_than_a_cards_kernels_can_count(positions: int, most: int) -> None:
    fits = on_card(1 << 40, batch_size=most, given_=False).capacity(positions)
    assert fits * LARGE_V3.heads * positions**2 < 2**32
    assert fits * 3 * LARGE_V3.width * positions < 2**31


def test_95_windows_of_30_s_are_the_most_on_the_largest_card() -> None:
    assert on_card(1 << 40, batch_size=1024).capacity(1500) == 95
    assert on_card(1 << 40, batch_size=64).capacity(1500) == 64
    # A processor counts in 64 bits.
    assert on_cpu(1024, 1024, free=1 << 44).capacity(1500) == 1024


@pytest.mark.parametrize(
    ("error", "is_memory"),
    [
        (RuntimeError("CUDA failed with error out of memory"), True),
        (RuntimeError("CUDA Out Of Memory. Tried to allocate 2 GiB"), True),
        (MemoryError(), True),
        (RuntimeError("cuBLAS failed with status CUBLAS_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("cuBLAS failed with status CUBLAS_STATUS_NOT_INITIALIZED"), True),
        (RuntimeError("parallel_for failed: cudaErrorMemoryAllocation: out of memory"), True),
        (
            RuntimeError("parallel_for failed: cudaErrorInvalidDevice: invalid device ordinal"),
            False,
        ),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
        (ValueError("prompts must start at the same position"), False),
    ],
)
def test_out_of_memory_is_told_from_other_errors(error: Exception, is_memory: bool) -> None:
    assert is_out_of_memory(error) is is_memory


def test_the_echo_of_an_error_is_told_from_an_error() -> None:
    assert is_stale(
        RuntimeError("parallel_for failed: cudaErrorInvalidDevice: invalid device ordinal")
    )
    assert not is_stale(RuntimeError("CUDA failed with error out of memory"))
    assert not is_stale(RuntimeError("an illegal memory access was encountered"))
