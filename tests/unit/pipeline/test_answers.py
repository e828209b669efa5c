"""What follows for a message from the answers of its jobs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from worker.pipeline.answers import Answer, Settlement, settle

answers = st.lists(st.sampled_from(list(Answer)), max_size=6)


@given(answers)
def test_a_message_is_deleted_only_if_every_job_is_answered_for_good(given_: list[Answer]) -> None:
    settlement = settle(given_)
    assert (settlement is Settlement.DELETE) == all(answer.final for answer in given_)
    assert (settlement is Settlement.ABANDON) == (Answer.LOST in given_)
