from __future__ import annotations

from pydantic import BaseModel, ValidationError

from worker.errors import TransientError
from worker.trace import told, where


class Model(BaseModel):
    number: int


def _quote(text: str) -> ValidationError:
    try:
        Model.model_validate({"number": text})
    except ValidationError as error:
        return error
    raise AssertionError("it was taken")


def test_an_unexpected_error_is_told_by_its_place_and_not_by_its_words() -> None:
    error = _quote("what a customer said")
    assert "what a customer said" in str(error)
    assert "customer" not in told(error)
    assert told(error).startswith("ValidationError at ")
    assert "test_trace.py" in where(error)
    assert "in _quote" in where(error)


def test_our_own_errors_are_told_in_their_words() -> None:
    assert told(TransientError("the queue does not answer")) == "the queue does not answer"


def test_an_error_that_was_never_raised_has_no_place() -> None:
    assert where(ValueError("x")) == "an unknown place"
