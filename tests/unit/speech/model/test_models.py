"""Names become directories; damaged weights and absent networks become sentences."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from tests.fakes.tiny_model import base_model
from worker.errors import MachineError, SettingsError
from worker.speech.model import models
from worker.speech.model.weights import LARGE_V3, Dimensions

TURBO = Dimensions(
    encoder_layers=32, decoder_layers=4, width=1280, heads=20, mels=128, vocabulary=51866
)


def test_a_directory_is_taken_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"is a directory without model\.bin"):
        models.resolve(str(tmp_path))
    (tmp_path / "model.bin").touch()
    assert models.resolve(str(tmp_path)) == tmp_path


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(SettingsError, match=r"model = 'huge-v9' is no directory.*large-v3"):
        models.resolve("huge-v9")


@pytest.mark.parametrize("name", ["a/b/c", "org/bad name!", "/nowhere/at/all"])
def test_a_name_that_no_hub_could_have(name: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no hub name"):
        models.resolve(name, tmp_path)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """No network; the repositories that were asked of it."""
    asked: list[str] = []
    stock = huggingface_hub.snapshot_download

    def download(repository: str, *, local_files_only: bool, **options: Any) -> str:
        if local_files_only:
            return str(stock(repository, local_files_only=True, **options))
        asked.append(repository)
        raise ConnectionError("no network")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    return asked


def test_without_a_network_the_error_says_what_was_looked_for_and_what_to_do(
    offline: list[str], tmp_path: Path
) -> None:
    with pytest.raises(MachineError) as caught:
        models.resolve("large-v3", tmp_path)
    text = str(caught.value)
    for part in (
        "model 'large-v3' can't be had",
        "Systran/faster-whisper-large-v3",
        "packaged weights",
        str(tmp_path),
        "on the hub (ConnectionError)",
        "give the directory as `model`",
    ):
        assert part in text
    assert offline == ["Systran/faster-whisper-large-v3"]


def in_the_cache(cache: Path, *files: str) -> Path:
    """A snapshot as the hub's client keeps it."""
    place = cache / "models--Systran--faster-whisper-tiny"
    snapshot = place / "snapshots" / "0123"
    snapshot.mkdir(parents=True)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text("0123")
    for name in files:
        (snapshot / name).touch()
    return snapshot


def test_the_hubs_cache_is_enough(offline: list[str], tmp_path: Path) -> None:
    snapshot = in_the_cache(tmp_path, "model.bin", "config.json", "tokenizer.json")
    assert models.resolve("tiny", tmp_path) == snapshot
    assert offline == []


def test_a_download_that_broke_off_is_not_taken_for_a_model(
    offline: list[str], tmp_path: Path
) -> None:
    in_the_cache(tmp_path, "config.json")
    with pytest.raises(MachineError, match="can't be had"):
        models.resolve("tiny", tmp_path)
    assert offline == ["Systran/faster-whisper-tiny"]


class Package:
    """Two packages as the weights come in, with sums that fit or don't."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        files = {
            ("weights_one", "model.bin.part1"): b"first half, ",
            ("weights_two", "model.bin.part2"): b"second half",
            ("weights_one", "config.json"): b"{}",
            ("weights_one", "tokenizer.json"): b"{}",
            ("weights_one", "vocabulary.txt"): b"a\nb\n",
        }
        for (package, name), data in files.items():
            folder = root / package / "data"
            folder.mkdir(parents=True, exist_ok=True)
            (folder.parent / "__init__.py").touch()
            (folder / name).write_bytes(data)
        sums = {
            "model.bin": hashlib.sha256(b"first half, second half").hexdigest(),
            "config.json": hashlib.sha256(b"{}").hexdigest(),
            "tokenizer.json": hashlib.sha256(b"{}").hexdigest(),
            "vocabulary.txt": hashlib.sha256(b"a\nb\n").hexdigest(),
        }
        monkeypatch.syspath_prepend(str(root))
        monkeypatch.setattr(models, "_PACKAGED_PARTS", ("weights_one", "weights_two"))
        monkeypatch.setattr(models, "_PACKAGED_SHA256", sums)
        monkeypatch.setenv("XDG_CACHE_HOME", str(root / "cache"))


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Package:
    return Package(tmp_path, monkeypatch)


def test_packaged_weights_are_joined_once(package: Package) -> None:
    directory = models.resolve("base")
    assert (directory / "model.bin").read_bytes() == b"first half, second half"
    assert directory.is_relative_to(package.root / "cache")
    before = (directory / "model.bin").stat().st_mtime_ns
    assert models.resolve("base") == directory
    assert (directory / "model.bin").stat().st_mtime_ns == before
    assert [entry.name for entry in directory.parent.iterdir()] == [directory.name]
    # Found without being imported.
    assert "weights_one" not in sys.modules


@pytest.mark.parametrize("name", ["model.bin.part2", "config.json"])
def test_damaged_packaged_weights_are_refused_and_leave_nothing(
    package: Package, name: str
) -> None:
    place = "weights_two" if name.endswith("part2") else "weights_one"
    (package.root / place / "data" / name).write_bytes(b"other bytes")
    with pytest.raises(MachineError, match=r"packaged weights are damaged.*reinstall"):
        models.resolve("base")
    assert list((package.root / "cache" / "transcription-worker").iterdir()) == []


def test_another_process_may_join_them_meanwhile(
    package: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    stock = Path.rename

    def late(self: Path, target: Path) -> Path:
        # The other process was faster: its copy lies there already.
        if not target.is_dir():
            target.mkdir(parents=True)
            for file in self.iterdir():
                (target / file.name).write_bytes(file.read_bytes())
        return stock(self, target)

    monkeypatch.setattr(Path, "rename", late)
    assert (models.resolve("base") / "model.bin").read_bytes() == b"first half, second half"
    del package


def test_the_real_packaged_weights_pass_their_sums() -> None:
    directory = base_model()
    assert (directory / "model.bin").stat().st_size == 145_217_532


def test_an_identity_tells_weights_apart(tmp_path: Path) -> None:
    def identity(weights: bytes, config: bytes | None) -> str:
        directory = tmp_path / hashlib.sha256(weights + (config or b"-")).hexdigest()
        directory.mkdir()
        (directory / "model.bin").write_bytes(weights)
        if config is not None:
            (directory / "config.json").write_bytes(config)
        return models.identity(directory)

    big = b"\0" * (3 << 20)
    found = [
        identity(b"weights", b"{}"),
        identity(b"weights", b"{ }"),
        identity(b"weights", None),
        identity(b"weightz", b"{}"),
        identity(big, b"{}"),
        identity(big[:-1] + b"x", b"{}"),
        identity(big[:-1], b"{}"),
    ]
    assert len(set(found)) == len(found)


@pytest.mark.parametrize(
    ("name", "dimensions", "able"),
    [
        ("large-v3", LARGE_V3, True),
        ("turbo", TURBO, False),
        ("deepdml/faster-whisper-large-v3-turbo-ct2", LARGE_V3, False),
        ("/models/mine", TURBO, False),
        ("Systran/faster-distil-whisper-large-v3", LARGE_V3, False),
        ("/srv/turbo-worker/models/large-v3", LARGE_V3, True),
    ],
)
def test_whether_a_model_translates(name: str, dimensions: Dimensions, able: bool) -> None:
    assert models.translates(name, dimensions) is able
