"""Names become directories; damaged weights and absent networks become sentences."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.fakes.model_hosts import (
    REFUSED,
    UNRESOLVED,
    BlackHole,
    HubServer,
    cached,
    public_folder,
    read_only,
    use_caches,
    use_hub,
)
from tests.fakes.tiny_model import base_model
from worker.errors import MachineError, SettingsError
from worker.speech.fetch import hosts
from worker.speech.fetch.download import Download
from worker.speech.model import models
from worker.speech.model.weights import LARGE_V3, Dimensions
from worker.speech.model.whereabouts import find

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


@pytest.mark.parametrize("name", ["c.flac", "./c.flac", "s/c.flac"])
def test_a_file_is_said_to_be_one(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s").mkdir()
    for file in ("c.flac", "s/c.flac", "tiny"):
        (tmp_path / file).touch()
    with pytest.raises(SettingsError, match="is a file: give a directory of CTranslate2 Whisper"):
        models.resolve(name)
    assert models.repository_of("tiny") == TINY, "a name stays one"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A hub with the weights of a model; nothing is in the caches."""
    use_caches(tmp_path / "caches", monkeypatch)
    monkeypatch.setattr(hosts, "_hosts", {})
    with HubServer(WEIGHTS) as running:
        use_hub(running.url, monkeypatch)
        yield running


WEIGHTS = {
    "model.bin": b"weights" * 1000,
    "config.json": b'{"of": "the model"}',
    "tokenizer.json": b'{"of": "the tokenizer"}',
    "vocabulary.txt": b"a",
    "README.md": b"read me",
}
TINY = "Systran/faster-whisper-tiny"


def test_a_name_is_fetched_once_and_then_found_without_a_question(
    hub: HubServer, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with capture_logs():
        directory = models.resolve("tiny", tmp_path)
    assert capfd.readouterr() == ("", ""), "no progress where nobody looks"
    assert {path.name for path in directory.iterdir()} == set(WEIGHTS) - {"README.md"}
    asked = len(hub.requests)
    assert models.resolve("tiny", tmp_path) == directory
    assert len(hub.requests) == asked


@pytest.mark.parametrize("kind", ["black hole", "refused", "unresolved"])
def test_without_a_network_one_sentence_says_what_was_looked_for_and_what_to_do(
    kind: str,
    hub: HubServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(models, "_HUB_SECONDS", 0.2)
    downloads: list[Download] = []
    with BlackHole() as hole:
        url = {"black hole": hole.url, "refused": REFUSED, "unresolved": UNRESOLVED}[kind]
        use_hub(url, monkeypatch)
        for _ in range(2):
            with pytest.raises(MachineError) as caught:
                models.resolve("large-v3", tmp_path, on_download=downloads.append)
        assert hole.questions == (kind == "black hole")
    assert downloads == []
    text = str(caught.value)
    for part in (
        "model 'large-v3' can't be had",
        "Systran/faster-whisper-large-v3",
        "packaged weights",
        str(tmp_path),
        f"and {hosts.name_of(url)} can't be reached (",
        "the folder models--Systran--faster-whisper-large-v3",
        "give a directory of CTranslate2 weights as `model`",
    ):
        assert part in text
    assert capfd.readouterr() == ("", "")


def test_what_may_be_meant_as_a_path_is_said_to_lead_nowhere(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_hub(REFUSED, monkeypatch)
    with pytest.raises(
        MachineError, match="there is no such directory, and the repository models/larg"
    ):
        models.resolve("models/larg", tmp_path)
    with pytest.raises(MachineError, match="can't be had: Systran/faster-whisper-tiny is neither"):
        models.resolve("tiny", tmp_path)


def test_an_endpoint_that_is_no_url_is_named_with_the_cure(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_hub("user:secret@mirror.local:8080/hub", monkeypatch)
    with pytest.raises(MachineError) as caught:
        models.resolve("tiny", tmp_path)
    assert "and HF_ENDPOINT = '" in str(caught.value)
    assert (
        "' is no URL: begin it with https://. Correct HF_ENDPOINT and let this machine reach "
        "mirror.local:8080 once, or" in str(caught.value)
    )
    assert "secret" not in str(caught.value)


def test_a_download_is_announced_with_its_size_and_its_folder(
    hub: HubServer, tmp_path: Path
) -> None:
    downloads: list[Download] = []
    for _ in range(2):
        directory = models.resolve("tiny", tmp_path, on_download=downloads.append)
    (download,) = downloads
    size = sum(len(content) for name, content in WEIGHTS.items() if name != "README.md")
    assert (download.repository, download.size) == (TINY, size)
    assert download.folder == directory.parent.parent / "blobs"
    assert download.fetched() == size


def test_the_hubs_cache_is_enough(hub: HubServer, tmp_path: Path) -> None:
    snapshot = cached(tmp_path, TINY, WEIGHTS)
    assert models.resolve("tiny", tmp_path) == snapshot
    assert hub.requests == []


@pytest.mark.parametrize(
    "missing", ["model.bin", "config.json", "tokenizer.json", "vocabulary.txt"]
)
def test_a_download_that_broke_off_is_gone_on_with(
    missing: str, hub: HubServer, tmp_path: Path
) -> None:
    left = {name: content for name, content in WEIGHTS.items() if name != missing}
    snapshot = cached(tmp_path, TINY, left)
    assert models.resolve("tiny", tmp_path) == snapshot
    assert (snapshot / missing).read_bytes() == WEIGHTS[missing]
    fetched = {path.rpartition("/")[2] for method, path, _ in hub.requests if method == "GET"}
    assert fetched & set(WEIGHTS) == {missing}


def test_weights_that_can_only_be_read_serve(hub: HubServer) -> None:
    with public_folder() as folder:
        snapshot = cached(folder / "models", TINY, WEIGHTS)
        with read_only(folder):
            assert models.resolve("tiny", folder / "models") == snapshot
    assert hub.requests == []


def test_a_repository_of_other_weights_is_refused_before_they_are_fetched(
    hub: HubServer, tmp_path: Path
) -> None:
    del hub.files["model.bin"]
    with pytest.raises(SettingsError, match=r"there is no model\.bin in owner/other on 127"):
        models.resolve("owner/other", tmp_path)
    assert list(tmp_path.glob("models--*")) == []


@pytest.mark.parametrize("wrong", ["other weights", "no host", "no name", "no hub name"])
def test_who_looks_and_who_loads_are_told_the_same(
    wrong: str, hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if wrong == "other weights":
        del hub.files["model.bin"]
    if wrong == "no host":
        use_hub(REFUSED, monkeypatch)
    name = {"no name": "larg", "no hub name": "a/b/c"}.get(wrong, "owner/other")
    said = []
    for ask in (models.resolve, find):
        with pytest.raises((SettingsError, MachineError)) as caught:
            ask(name, tmp_path)
        said.append((type(caught.value), str(caught.value)))
    assert said[0] == said[1]


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
