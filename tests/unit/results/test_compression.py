"""How much a text repeats itself is what Whisper would say."""

import pytest
from faster_whisper.transcribe import get_compression_ratio

from worker.results.compression import compression_ratio


@pytest.mark.parametrize("text", ["Hello.", "Thank you. " * 20, "สวัสดีครับ สวัสดีครับ"])
def test_it_is_what_faster_whisper_counts(text: str) -> None:
    assert compression_ratio(text) == round(get_compression_ratio(text), 4)


def test_half_a_surrogate_pair_is_counted() -> None:
    assert compression_ratio("\ud800") > 0
