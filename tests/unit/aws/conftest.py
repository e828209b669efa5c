"""What the tests of the AWS modules share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fakes.scripted import end_scripts


@pytest.fixture(autouse=True)
def _no_script_outlives_its_test() -> Iterator[None]:
    yield
    end_scripts()
