"""Loading WhisperX's alignment models from the disk, and fetching those that aren't there.

Which model serves which language is read from WhisperX's tables (see `whisperx_tables`), and the
files lie where WhisperX would put them, so a directory filled by either serves both. Its own
loader is not used because it prints to stdout, where a result may be going, and can't be kept
off the network for torchaudio's models.

Importing this module costs nothing; torch, torchaudio and transformers are imported where a model
is loaded, once its files are known to be here: torch alone takes 300 MB.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from fnmatch import filter as matching
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from worker.speech.fetch import files, hosts, hub, judging, places
from worker.speech.fetch.download import Download, telling
from worker.speech.fetch.hosts import NotFetched
from worker.speech.words.whisperx_tables import read_tables

if TYPE_CHECKING:
    from torch import nn

    from worker.speech.words.wav2vec2 import AlignModel

__all__ = [
    "ModelNotFetched",
    "ModelNotHere",
    "NoAlignModel",
    "any_model_here",
    "fetch_align_model",
    "hosts_out_of_reach",
    "import_libraries",
    "load_align_model",
]

_TORCHAUDIO_URL = "https://download.pytorch.org/torchaudio/models/"

_TORCHAUDIO_FILES = MappingProxyType(
    {
        "WAV2VEC2_ASR_BASE_960H": "wav2vec2_fairseq_base_ls960_asr_ls960.pth",
        "VOXPOPULI_ASR_BASE_10K_DE": "wav2vec2_voxpopuli_base_10k_asr_de.pt",
        "VOXPOPULI_ASR_BASE_10K_ES": "wav2vec2_voxpopuli_base_10k_asr_es.pt",
        "VOXPOPULI_ASR_BASE_10K_FR": "wav2vec2_voxpopuli_base_10k_asr_fr.pt",
        "VOXPOPULI_ASR_BASE_10K_IT": "wav2vec2_voxpopuli_base_10k_asr_it.pt",
    }
)
"""Of the bundles that WhisperX names: `torchaudio.pipelines.BUNDLE._path`, without importing it."""

_ARRIVALS = "align-arrivals"
"""The thread that tells of a download's growth."""

_SETTINGS_FILES = (
    "added_tokens.json",
    "config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "special_tokens_map.json",
    "tokenizer_config.json",
    "vocab.json",
)
_NEEDED_FILES = frozenset({"config.json", "preprocessor_config.json", "vocab.json"})
_WEIGHTS = ("model*.safetensors*", "pytorch_model*.bin*")
"""Patterns of files with weights, the preferred first: a repository may have both."""


class NoAlignModel(LookupError):
    """WhisperX names no alignment model for the language."""


class ModelNotHere(FileNotFoundError):
    """The model's files are not on this machine."""


class ModelNotFetched(NotFetched):
    """The model's files are not on this machine and can't be fetched.

    Args:
        why: a clause, to follow an `and`.
        cure: what a person can do about it, a sentence.
    """

    def __init__(self, why: str, cure: str) -> None:
        super().__init__(why)
        self.cure = cure


def import_libraries() -> None:
    """Import what loading any alignment model needs: torch and torchaudio, a second and 300 MB.

    May run while another thread imports torch, because torch comes first here: torchaudio begins
    with `torch.hub`, and where one thread is about to import a submodule of a package that another
    is importing, Python lets one of them see a half-made module, and the import fails.
    """
    import torch  # noqa: F401
    import torchaudio  # noqa: F401

    import worker.speech.words.wav2vec2  # noqa: F401


def any_model_here(model_dir: Path | None) -> bool:
    """Whether an alignment model of any language is on this machine; imports no library for it.

    Args:
        model_dir: as for `load_align_model`.
    """
    try:
        tables = read_tables()
    except LookupError:
        return False  # whoever asks for a model learns why there is none
    known = [_TORCHAUDIO_FILES[name] for name in tables.torchaudio.values()
             if name in _TORCHAUDIO_FILES]  # fmt: skip
    folders = places.torch_places(model_dir)
    if any(os.access(folder / file, os.R_OK) for folder in folders for file in known):
        return True
    return hub.find_any([*tables.hub.values()], places.hub_places(model_dir), _complete)


def hosts_out_of_reach() -> list[str]:
    """Why alignment models can't be fetched; takes `hosts.WAIT_SECONDS` for each host at most.

    Returns:
        A clause for each of their hosts that can't be reached.

    Raises:
        NotFetched: the environment keeps this process off the network.
        LookupError: WhisperX's tables can't be read.
    """
    hub.refuse_if_offline()
    repository = next(iter(read_tables().hub.values()))
    file = next(iter(_TORCHAUDIO_FILES.values()))
    found = []
    for reach in (
        partial(hosts.reach, _TORCHAUDIO_URL + file, files.ask),
        partial(hub.reach, repository),
    ):
        try:
            reach()
        except NotFetched as error:
            found.append(str(error))
    return found


def load_align_model(language: str, device: str, model_dir: Path | None) -> AlignModel:
    """Load WhisperX's default alignment model for a language; the network is not asked.

    A model of the hub needs transformers, whose import takes seconds: never call this on a
    thread that others wait for.

    Args:
        language: Whisper language code.
        device: torch's name for where its weights go.
        model_dir: where the files may lie, beside the caches (see `places`).

    Raises:
        NoAlignModel: there is none for the language.
        ModelNotHere: the files are not here.
        OSError, RuntimeError, ValueError: the files can't be read.
    """
    kind, name = _named(language)
    if kind == "torchaudio":
        module, dictionary = _load_torchaudio(name, _find_torchaudio(name, model_dir))
    else:
        module, dictionary = _load_hub(_find_hub(name, model_dir))
    from worker.speech.words.wav2vec2 import AlignModel

    # On a card in float16: half of the memory, and half of what is copied there.
    placed = (module.half() if device.startswith("cuda") else module).to(device)
    spaced = language not in read_tables().without_spaces
    return AlignModel(placed, dictionary, kind=kind, name=name, spaced=spaced)


def fetch_align_model(language: str, model_dir: Path | None, arrived: Callable[[], None]) -> None:
    """Fetch the files of a language's alignment model; takes minutes on a slow network.

    Where its host can't be reached, that is known within seconds.

    Args:
        language: Whisper language code.
        model_dir: where the files go if it can be written; a cache otherwise (see `places`).
        arrived: called on any thread: the host has answered, or more bytes have come.

    Raises:
        NoAlignModel: there is none for the language.
        ModelNotFetched: the files can't be had.
    """
    kind, name = _named(language)
    fetch = _fetch_torchaudio if kind == "torchaudio" else _fetch_hub
    fetch(name, model_dir, arrived)


def _named(language: str) -> tuple[Literal["torchaudio", "huggingface"], str]:
    """Where the language's model comes from, and its name there. Raises NoAlignModel."""
    tables = read_tables()
    if name := tables.torchaudio.get(language):
        return "torchaudio", name
    if name := tables.hub.get(language):
        return "huggingface", name
    raise NoAlignModel(f"There is no alignment model for the language {language!r}.")


def _torchaudio_file(name: str) -> str:
    """The name of a bundle's file. Raises NoAlignModel: it is of another WhisperX."""
    if (file := _TORCHAUDIO_FILES.get(name)) is None:
        raise NoAlignModel(
            f"Nothing is known of the alignment model {name}: install the version of WhisperX that "
            "config/requirements.lock names."
        )
    return file


def _find_torchaudio(name: str, model_dir: Path | None) -> Path:
    """The folder with a bundle's file. Raises ModelNotHere, NoAlignModel."""
    file = _torchaudio_file(name)
    folders = places.torch_places(model_dir)
    folder = next((folder for folder in folders if (folder / file).is_file()), None)
    if folder is None:
        raise ModelNotHere(f"{file} is in none of {places.listed(folders)}")
    return folder


def _load_torchaudio(name: str, folder: Path) -> tuple[nn.Module, dict[str, int]]:
    """One of torchaudio's bundles with its dictionary."""
    import_libraries()
    import torchaudio

    bundle = getattr(torchaudio.pipelines, name)
    module = bundle.get_model(dl_kwargs={"model_dir": str(folder), "progress": False})
    return module, {label.lower(): code for code, label in enumerate(bundle.get_labels())}


def _fetch_torchaudio(name: str, model_dir: Path | None, arrived: Callable[[], None]) -> None:
    path = _torchaudio_file(name)
    folders = places.torch_places(model_dir)
    url = _TORCHAUDIO_URL + path
    try:
        _fetch_file(url, path, folders, arrived)
    except NotFetched as error:
        cure = _cure(hosts.name_of(url), f"the file {path}", folders)
        raise ModelNotFetched(str(error), cure) from error


def _fetch_file(url: str, path: str, folders: Sequence[Path], arrived: Callable[[], None]) -> None:
    """Fetch a file into the first folder that can be written. Raises NotFetched."""
    hub.refuse_if_offline()
    folder = places.writable(folders)
    if folder is None:
        raise NotFetched(places.NOWHERE)
    hosts.reach(url, files.ask)
    arrived()
    try:
        with telling(folder, arrived, _ARRIVALS):
            # torch.hub would announce the download on stdout and wait for it without a limit.
            files.download(url, folder / path)
    except Exception as error:  # whatever the client raises, the file is not here
        why = f"the download from {hosts.name_of(url)} failed ({judging.explain(error)})"
        raise NotFetched(why) from error


def _find_hub(name: str, model_dir: Path | None) -> Path:
    """The folder with a repository's files. Raises ModelNotHere."""
    folders = places.hub_places(model_dir)
    snapshot = hub.find(name, folders, _complete)
    if snapshot is None:
        raise ModelNotHere(f"{name} is in none of {places.listed(folders)}")
    return snapshot


def _load_hub(snapshot: Path) -> tuple[nn.Module, dict[str, int]]:
    """One of the hub's models with its dictionary."""
    import_libraries()
    from transformers import Wav2Vec2ForCTC, Wav2Vec2Processor

    # A folder instead of the name: then nothing is asked of the hub, and no lock is written.
    # Untyped in transformers.
    processor = Wav2Vec2Processor.from_pretrained(snapshot)  # type: ignore[no-untyped-call]
    module = Wav2Vec2ForCTC.from_pretrained(snapshot)
    vocabulary: dict[str, int] = processor.tokenizer.get_vocab()
    return module, {char.lower(): code for char, code in vocabulary.items()}


def _fetch_hub(name: str, model_dir: Path | None, arrived: Callable[[], None]) -> None:
    folders = places.hub_places(model_dir)
    with ExitStack() as watching:

        def begins(download: Download) -> None:
            arrived()
            watching.enter_context(telling(download.folder, arrived, _ARRIVALS))

        try:
            hub.fetch(name, folders, _wanted, begins=begins)
        except NotFetched as error:
            cure = _cure(hub.host(), f"the folder {hub.folder_name(name)}", folders)
            raise ModelNotFetched(str(error), cure) from error


def _wanted(names: Sequence[str]) -> list[str]:
    """Of a repository's files, what loading its model needs."""
    weights = (matching(names, pattern) for pattern in _WEIGHTS)
    chosen = next((found for found in weights if found), [])
    return [*chosen, *(name for name in names if name in _SETTINGS_FILES)] if chosen else []


def _complete(names: Collection[str]) -> bool:
    return set(names) >= _NEEDED_FILES and any(matching(names, pattern) for pattern in _WEIGHTS)


def _cure(host: str, what: str, folders: Sequence[Path]) -> str:
    return (
        f"{hub.advice(host)}, or copy {what} from one that has it into "
        f"{places.writable(folders) or folders[0]}, or set word_times = 'attention'."
    )
