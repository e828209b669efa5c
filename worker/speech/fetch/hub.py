"""Repositories of the Hugging Face hub: found on this machine, or fetched.

What is found is never asked for: a snapshot that has all it needs is used without the network,
whatever is newest on the hub. `HF_ENDPOINT`, `HF_TOKEN`, `HF_HOME` and `HF_HUB_OFFLINE` do here
what they do for every program that uses the hub's client.

Importing this module costs nothing; the client is imported where it is used.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from worker.logs import get_logger
from worker.redact import quoted
from worker.speech.fetch import hosts, judging
from worker.speech.fetch.download import Download, OnDownload
from worker.speech.fetch.hosts import NotFetched, NotFetchedNow
from worker.speech.fetch.places import NOWHERE, writable

__all__ = [
    "Gated",
    "Unsuitable",
    "advice",
    "fetch",
    "find",
    "find_any",
    "folder_name",
    "has_token",
    "host",
    "reach",
    "refuse_if_offline",
    "snapshots",
    "total",
]

log = get_logger(__name__)

_LISTING_SECONDS = 10.0
"""How long the list of a repository's files may take."""


class Gated(NotFetched):
    """The repository is shown only to accounts that accepted its conditions."""


class Unsuitable(LookupError):
    """The repository has none of the files that were wanted; says which."""


def folder_name(repository: str) -> str:
    """The folder of a repository in the hub's cache, such as `models--owner--name`.

    Raises:
        huggingface_hub.errors.HFValidationError: no repository can have such a name.
    """
    from huggingface_hub.file_download import repo_folder_name

    return repo_folder_name(repo_id=repository, repo_type="model")


def has_token() -> bool:
    """Whether a token of the hub is set: `HF_TOKEN`, or what its client keeps of a login."""
    from huggingface_hub import get_token

    return get_token() is not None


def host() -> str:
    """The name of the hub that is asked: `HF_ENDPOINT`'s, or the public one's."""
    from huggingface_hub import constants

    return hosts.name_of(constants.ENDPOINT)


def refuse_if_offline() -> None:
    """Keep off the network where the environment says so, whichever host it is about.

    Raises:
        NotFetched: `HF_HUB_OFFLINE` or `TRANSFORMERS_OFFLINE` is set.
    """
    if _offline():
        raise NotFetched("HF_HUB_OFFLINE keeps this process off the network")


def advice(host: str) -> str:
    """What to do to have something from a host, as the beginning of a sentence."""
    if _offline():
        begin = "Unset HF_HUB_OFFLINE and let"
    elif _no_url():
        begin = "Correct HF_ENDPOINT and let"
    else:
        begin = "Let"
    return f"{begin} this machine reach {host} once"


def reach(repository: str, seconds: float | None = None) -> None:
    """Make sure that the hub can be reached, by a question about a repository.

    Args:
        repository: `owner/name`; whether the hub has it doesn't matter.
        seconds: how long the hub may take to answer (see `hosts.reach`).

    Raises:
        NotFetched: it can't be reached, what answers is no hub, or `HF_ENDPOINT` is no URL.
    """
    import huggingface_hub

    if why := _no_url():
        raise NotFetched(why)
    hosts.reach(huggingface_hub.hf_hub_url(repository, "config.json"), _ask, seconds)


def _offline() -> bool:
    from huggingface_hub import constants

    return constants.HF_HUB_OFFLINE


def _no_url() -> str:
    """What is wrong with `HF_ENDPOINT`, as a clause; nothing if it is a URL."""
    from huggingface_hub import constants

    if constants.ENDPOINT.startswith(("http://", "https://")) and host():
        return ""
    return f"HF_ENDPOINT = {quoted(host())} is no URL: begin it with https://"


def find(
    repository: str, places: Sequence[Path], complete: Callable[[Collection[str]], bool]
) -> Path | None:
    """The snapshot of a repository on this machine; the network is not asked.

    Args:
        repository: `owner/name`.
        places: folders in the layout of the hub's cache.
        complete: whether these names of files are all that is needed.

    Returns:
        The main revision's folder in the first place that has it complete; where none does, the
        newest complete folder of another revision; None if there is none.

    Raises:
        huggingface_hub.errors.HFValidationError: no repository can have such a name.
    """
    for snapshot in snapshots(repository, places):
        # A link whose file is missing is what a download leaves that broke off.
        if complete([path.name for path in _entries(snapshot) if os.access(path, os.R_OK)]):
            if not _is_main(snapshot):
                log.info(
                    "model.revision",
                    message=f"{repository} is not here in its main revision; another one is used",
                    directory=str(snapshot),
                )
            return snapshot
    return None


def snapshots(repository: str, places: Sequence[Path]) -> list[Path]:
    """The folders of a repository's revisions on this machine, complete or not, the best first.

    Args:
        repository: `owner/name`.
        places: folders in the layout of the hub's cache.

    Returns:
        The main revision's, in the order of the places; then others, the newest first.

    Raises:
        huggingface_hub.errors.HFValidationError: no repository can have such a name.
    """
    folder = folder_name(repository)
    found = [path for place in places for path in _entries(place / folder / "snapshots")]
    others = [path for path in found if not _is_main(path)]
    others.sort(key=lambda path: (path.lstat().st_mtime, path), reverse=True)
    return [*filter(_is_main, found), *others]


def _is_main(snapshot: Path) -> bool:
    """Whether the main branch names a revision."""
    from huggingface_hub import constants

    main = snapshot.parents[1] / "refs" / constants.DEFAULT_REVISION
    return snapshot.name == _text(main)


def find_any(
    repositories: Sequence[str], places: Sequence[Path], complete: Callable[[Collection[str]], bool]
) -> bool:
    """Whether one of these repositories, none with a name that can't be, is on this machine.

    Each place is looked through once, and costs no more where it has none of them. See `find`.
    """
    there = {path.name for place in places for path in _entries(place)}
    if not any(name.startswith("models--") for name in there):
        return False
    return any(
        find(repository, places, complete) is not None
        for repository in repositories
        if folder_name(repository) in there
    )


def fetch(
    repository: str,
    places: Sequence[Path],
    choose: Callable[[Sequence[str]], Sequence[str]],
    seconds: float | None = None,
    begins: OnDownload | None = None,
) -> Path:
    """Fetch a repository's files; what an earlier download left is gone on with.

    Args:
        repository: `owner/name`.
        places: folders in the layout of the hub's cache; the first that can be written gets them.
        choose: of the names of all its files, those to fetch.
        seconds: how long the hub may take to answer at all (see `hosts.reach`).
        begins: called before the download.

    Returns:
        The folder of the main revision.

    Raises:
        Unsuitable: `choose` chose none.
        Gated: the hub has it, and gives it only to whoever accepted its conditions.
        NotFetchedNow: the hub can't be reached, or breaks off.
        NotFetched: the hub doesn't have it, or no folder can be written.
    """
    import huggingface_hub
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError
    from huggingface_hub.utils import logging as hub_logging
    from huggingface_hub.utils.tqdm import disable_progress_bars

    refuse_if_offline()
    place = writable(places)
    if place is None:
        raise NotFetched(NOWHERE)
    reach(repository, seconds)
    # Whoever wants to show a download can follow it by `begins`, in words and places of its own.
    disable_progress_bars()
    if "HF_HUB_VERBOSITY" not in os.environ:
        # Each attempt is a warning to it; what came of them all is said by whoever asked.
        hub_logging.set_verbosity(logging.ERROR)
    try:
        listed = _listed(repository, _LISTING_SECONDS)
        chosen = _chosen(repository, listed, choose)
        log.info(
            "model.download",
            message=f"{repository} is being fetched from {host()}",
            bytes=_sum(chosen),
            directory=str(place),
        )
        if begins is not None:
            blobs = place / folder_name(repository) / "blobs"
            begins(Download(repository, _sum(chosen), blobs))
        return Path(
            huggingface_hub.snapshot_download(repository, allow_patterns=[*chosen], cache_dir=place)
        )
    except Unsuitable:
        raise
    except GatedRepoError as error:
        raise _gated(repository) from error
    except RepositoryNotFoundError as error:
        raise _not_there(repository) from error
    except Exception as error:  # whatever the client raises, the files are not here
        why = f"the download from {host()} failed ({judging.explain(error)})"
        raise NotFetchedNow(why) from error


def total(
    repository: str, choose: Callable[[Sequence[str]], Sequence[str]], seconds: float
) -> int | None:
    """Bytes that `fetch` would fetch; nothing is fetched.

    Args:
        repository: `owner/name`.
        choose: as for `fetch`.
        seconds: how long the hub may take to answer at all, and then to list.

    Returns:
        None where the hub doesn't say.

    Raises:
        Unsuitable: `choose` chose none.
        NotFetched: the hub can't be reached, or doesn't have it.
    """
    from huggingface_hub.errors import RepositoryNotFoundError

    refuse_if_offline()
    reach(repository, seconds)
    try:
        listed = _listed(repository, seconds)
    except RepositoryNotFoundError as error:
        raise _not_there(repository) from error
    except Exception as error:  # whatever the client raises, there is no list
        raise NotFetched(f"{host()} doesn't list it ({judging.explain(error)})") from error
    return _sum(_chosen(repository, listed, choose))


def _not_there(repository: str) -> NotFetched:
    return NotFetched(f"{host()} has no {repository}, or shows it only with a token (HF_TOKEN)")


def _gated(repository: str) -> Gated:
    token = "HF_TOKEN is of no account that did" if has_token() else "HF_TOKEN is not set"
    return Gated(
        f"{host()} gives {repository} only to accounts that accepted its conditions, and {token}"
    )


def _ask(url: str, seconds: float) -> str:
    """Asks the hub about a file, by its client's session: proxies and certificates are the same."""
    from huggingface_hub.utils._headers import build_hf_headers
    from huggingface_hub.utils._http import get_session

    answer = get_session().head(
        url, headers=build_hf_headers(), timeout=seconds, allow_redirects=False
    )
    return judging.judge_hub(
        answer.status_code, {name.lower(): value for name, value in answer.headers.items()}
    )


def _listed(repository: str, seconds: float) -> dict[str, int | None]:
    """A repository's files with their sizes in bytes, as far as the hub says.

    Raises whatever the hub's client does.
    """
    from huggingface_hub import HfApi

    found = HfApi().model_info(repository, files_metadata=True, timeout=seconds)
    return {sibling.rfilename: sibling.size for sibling in found.siblings or ()}


def _chosen(
    repository: str,
    listed: Mapping[str, int | None],
    choose: Callable[[Sequence[str]], Sequence[str]],
) -> dict[str, int | None]:
    """The chosen files with their sizes in bytes, as far as they are known. Raises Unsuitable."""
    if not (chosen := choose(list(listed))):
        raise Unsuitable(f"{repository} on {host()} has no such files")
    return {name: listed[name] for name in chosen}


def _sum(sizes: Mapping[str, int | None]) -> int | None:
    """Of all sizes; None where one isn't known."""
    known = [size for size in sizes.values() if size is not None]
    return sum(known) if len(known) == len(sizes) else None


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return None


def _entries(folder: Path) -> list[Path]:
    """What is in a folder; nothing if it isn't there or can't be read."""
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []
