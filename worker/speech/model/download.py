"""A model on its way from the hub: what it is, how large, and how much of it is here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

__all__ = ["Download", "OnDownload", "announce"]

ASK_SECONDS = 5.0
"""How long the hub may take to say how large a model is."""


@dataclass(frozen=True, slots=True)
class Download:
    """A download that begins.

    Attributes:
        repository: on the hub.
        size: bytes; None where the hub doesn't say.
        folder: where the hub's client keeps what it fetches.
    """

    repository: str
    size: int | None
    folder: Path

    def fetched(self) -> int:
        """Bytes that are here by now, unfinished files included."""
        fetched = 0
        for path in self.folder.glob("blobs/*"):
            with suppress(OSError):  # renamed meanwhile
                fetched += path.stat().st_size
        return fetched


OnDownload = Callable[[Download], None]
"""Called before a download begins, on the thread that will wait for it."""


def announce(
    repository: str, model_dir: Path | None, wanted: Iterable[str], on_download: OnDownload
) -> None:
    """Say that a model will be downloaded; the hub's client then draws no bars of its own.

    Args:
        repository: on the hub.
        model_dir: the hub's cache; its default place if None.
        wanted: patterns of the files that will be fetched.
        on_download: who is told.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.constants import HF_HUB_CACHE
    from huggingface_hub.file_download import repo_folder_name
    from huggingface_hub.utils.tqdm import disable_progress_bars

    size: int | None = None
    with suppress(Exception):  # whatever is wrong, the download itself will say it
        info = HfApi().model_info(repository, files_metadata=True, timeout=ASK_SECONDS)
        size = sum(
            file.size or 0
            for file in info.siblings or ()
            if any(fnmatch(file.rfilename, pattern) for pattern in wanted)
        )
    disable_progress_bars()
    folder = Path(model_dir or HF_HUB_CACHE) / repo_folder_name(
        repo_id=repository, repo_type="model"
    )
    on_download(Download(repository, size or None, folder))
