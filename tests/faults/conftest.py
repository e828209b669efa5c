"""What the fault tests share."""

from __future__ import annotations

from collections.abc import Callable

import pytest


@pytest.fixture
def figures(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Takes a run's figures; the summary at the end of the run prints them."""
    return lambda text: record_property("figure", text)
