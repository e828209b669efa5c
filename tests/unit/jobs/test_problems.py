"""The sentences that refuse a wrong value, whatever field it is of."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from worker.jobs.problems import explained


class Request(BaseModel):
    """Fields of kinds that a job may have, with their bounds."""

    model_config = ConfigDict(strict=True)

    speakers: int | None = Field(default=None, ge=1, le=20)
    tags: tuple[str, ...] = Field(default=(), strict=False)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("speakers", 0, "field 'speakers' is 0: it must be at least 1"),
        ("speakers", 21, "field 'speakers' is 21: it must be at most 20"),
        ("speakers", "two", "field 'speakers' is 'two': it must be a whole number"),
        ("speakers", 2.5, "field 'speakers' is a number: it must be a whole number"),
        ("tags", "a", "field 'tags' is 'a': it must be a list"),
        ("tags", [1], "field 'tags' item 1 is a number: it must be text"),
    ],
)
def test_a_sentence_names_the_field_its_value_and_the_fix(
    name: str, value: object, said: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        Request.model_validate({name: value})
    (problem,) = caught.value.errors()
    assert explained(problem, private=()) == said


def test_a_number_of_many_digits_is_shortened() -> None:
    with pytest.raises(ValidationError) as caught:
        Request.model_validate({"speakers": 10**100})
    (problem,) = caught.value.errors()
    assert len(explained(problem, private=())) < 100


def test_a_private_number_is_not_shown() -> None:
    with pytest.raises(ValidationError) as caught:
        Request.model_validate({"speakers": 21})
    (problem,) = caught.value.errors()
    said = explained(problem, private={"speakers"})
    assert said == "field 'speakers' is a number: it must be at most 20"
