"""Loading WhisperX's alignment models: from the disk or, only if asked, from the network.

Which model serves which language is read from WhisperX's tables (see `whisperx_tables`), and the
files lie where WhisperX would put them, so a directory filled by either serves both. Its own
loader is not used because it prints to stdout, where a result may be going, and can't be kept
off the network for torchaudio's models.

Importing this module costs nothing; torch, torchaudio and transformers are imported where a model
is loaded.
"""

from __future__ import annotations

import os
import shutil
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from worker.speech.words.whisperx_tables import read_tables

if TYPE_CHECKING:
    from torch import nn

    from worker.speech.words.wav2vec2 import AlignModel

__all__ = ["ModelNotHere", "NoAlignModel", "download", "import_libraries", "load_align_model"]

_TORCHAUDIO_URL = "https://download.pytorch.org/torchaudio/models/"
_NETWORK_TIMEOUT = 30.0  # seconds without a byte


class NoAlignModel(LookupError):
    """WhisperX names no alignment model for the language."""


class ModelNotHere(FileNotFoundError):
    """The model's files are not on this machine, and the network was not to be used."""


def import_libraries() -> None:
    """Import what loading any alignment model needs: torch and torchaudio, more than a second.

    May run while another thread imports torch, because torch comes first here: torchaudio begins
    with `torch.hub`, and where one thread is about to import a submodule of a package that another
    is importing, Python lets one of them see a half-made module, and the import fails.
    """
    import torch  # noqa: F401
    import torchaudio  # noqa: F401

    import worker.speech.words.wav2vec2  # noqa: F401


def load_align_model(
    language: str, device: str, model_dir: Path | None, offline: bool
) -> AlignModel:
    """Load WhisperX's default alignment model for a language.

    A model of the hub needs transformers, whose import takes seconds: never call this on a
    thread that others wait for.

    Args:
        language: Whisper language code.
        device: torch's name for where its weights go.
        model_dir: where the files lie or go; None for the caches of torch and of the hub.
        offline: whether to use only what is on this machine.

    Raises:
        NoAlignModel: there is none for the language.
        ModelNotHere: `offline`, and the files are not here.
        OSError, RuntimeError, ValueError: the files can't be had or read.
    """
    tables = read_tables()
    kind: Literal["torchaudio", "huggingface"]
    if name := tables.torchaudio.get(language):
        kind, (module, dictionary) = "torchaudio", _load_torchaudio(name, model_dir, offline)
    elif name := tables.hub.get(language):
        kind, (module, dictionary) = "huggingface", _load_hub(name, model_dir, offline)
    else:
        raise NoAlignModel(f"There is no alignment model for the language {language!r}.")
    from worker.speech.words.wav2vec2 import AlignModel

    # On a card in float16: half of the memory, and half of what is copied there.
    placed = (module.half() if device.startswith("cuda") else module).to(device)
    spaced = language not in tables.without_spaces
    return AlignModel(placed, dictionary, kind=kind, name=name, spaced=spaced)


def download(url: str, target: Path) -> None:
    """Fetch a file whole or not at all.

    Args:
        url: http or https; never a user's.
        target: the file to write; its directory is made.

    Raises:
        OSError: the network failed, or sent fewer bytes than it promised.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with (
            urllib.request.urlopen(url, timeout=_NETWORK_TIMEOUT) as response,  # noqa: S310
            part.open("wb") as file,
        ):
            shutil.copyfileobj(response, file)
            promised = response.headers.get("Content-Length")
            if promised is not None and file.tell() != int(promised):
                raise OSError(f"{url} ended after {file.tell()} of {promised} bytes")
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _load_torchaudio(
    name: str, model_dir: Path | None, offline: bool
) -> tuple[nn.Module, dict[str, int]]:
    """One of torchaudio's bundles with its dictionary; its files lie flat in the directory."""
    import torch
    import torchaudio

    bundle = getattr(torchaudio.pipelines, name)
    directory = model_dir or Path(torch.hub.get_dir()) / "checkpoints"
    path = directory / bundle._path
    if not path.exists():
        if offline:
            raise ModelNotHere(f"{path} does not exist")
        # torch.hub would announce the download on stdout and wait for it without a limit.
        download(_TORCHAUDIO_URL + bundle._path, path)
    module = bundle.get_model(dl_kwargs={"model_dir": str(directory), "progress": False})
    return module, {label.lower(): code for code, label in enumerate(bundle.get_labels())}


def _load_hub(name: str, model_dir: Path | None, offline: bool) -> tuple[nn.Module, dict[str, int]]:
    """One of the hub's models with its dictionary; its files lie in the hub's cache layout."""
    from huggingface_hub.utils.tqdm import disable_progress_bars
    from transformers import Wav2Vec2ForCTC, Wav2Vec2Processor

    disable_progress_bars()
    # Without this, transformers asks a service to convert a repository that has no safetensors.
    os.environ.setdefault("DISABLE_SAFETENSORS_CONVERSION", "true")
    where = {"cache_dir": model_dir, "local_files_only": offline}
    try:
        # Untyped in transformers.
        processor = Wav2Vec2Processor.from_pretrained(name, **where)  # type: ignore[no-untyped-call]
        module = Wav2Vec2ForCTC.from_pretrained(name, **where)
    except OSError as error:
        if offline:
            raise ModelNotHere(f"{name} is not on this machine") from error
        raise
    vocabulary: dict[str, int] = processor.tokenizer.get_vocab()
    return module, {char.lower(): code for char, code in vocabulary.items()}
