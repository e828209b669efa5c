"""What the fault tests share."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest


@pytest.fixture
def figures(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Shows a run's figures to whoever runs it, whatever pytest captures."""

    def show(text: str) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\n    {text}\n")

    return show
