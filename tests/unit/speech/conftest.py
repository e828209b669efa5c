"""What the tests of speech share: a small model, written once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes import tiny_model as tiny


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a Whisper of 128 mel bands with random weights. Not to be changed."""
    return tiny.tiny_model(tmp_path_factory.mktemp("models") / "tiny")
