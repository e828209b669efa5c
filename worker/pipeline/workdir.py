"""The worker's private folder for fetched files, and the removal of those of dead workers.

Names come from counters and process ids, never from a message. Each worker holds a file lock
inside its folder for as long as it lives, and the kernel drops that lock however the process
ends. So if the lock of a folder is free, its worker is dead. The process id in the name would not
say so: ids are used again.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from worker.errors import SettingsError
from worker.logs import get_logger

log = get_logger(__name__)

_LOCK = "lock"


class WorkDir:
    """A folder of this process alone, under a folder of this user alone.

    It is `<base>/transcription-worker-<uid>/<pid>-<random>/`. Several workers of one user share
    the middle folder; each that starts removes the folders of those that died.

    Args:
        base: the setting `work_dir`; None takes the system's temporary folder.

    Attributes:
        path: the folder.
        swept: how many folders of dead workers were removed at the start.

    Raises:
        SettingsError: the folder can't be used.
    """

    def __init__(self, base: Path | None) -> None:
        parent = base or Path(tempfile.gettempdir())
        self._root = parent / f"transcription-worker-{os.getuid()}"
        self._numbers = itertools.count(1)
        _private_folder(self._root, parent)
        # Making and sweeping exclude each other: a folder that is not yet locked would look
        # like a dead worker's.
        with _locked(self._root / _LOCK):
            self.swept = self._sweep()
            self.path = Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=self._root))
            self._lock = os.open(self.path / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def new(self) -> Path:
        """A new empty folder for one job; the caller removes it whatever happens."""
        folder = self.path / str(next(self._numbers))
        folder.mkdir(mode=0o700)
        return folder

    def remove(self, folder: Path) -> None:
        """Remove a job's folder. What can't be removed is logged; `close` tries again."""
        try:
            shutil.rmtree(folder)
        except FileNotFoundError:
            return
        except OSError as error:
            log.warning(
                "workdir.remove_failed",
                message=f"A temporary folder could not be removed: {error}",
                path=str(folder),
            )

    def close(self) -> None:
        """Remove all of this worker's files. Safe to call twice."""
        self.remove(self.path)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _sweep(self) -> int:
        """Remove dead workers' folders; returns how many."""
        swept = 0
        for entry in os.scandir(self._root):
            if not entry.is_dir(follow_symlinks=False):
                continue
            folder = Path(entry.path)
            if _alive(folder):
                continue
            self.remove(folder)
            swept += 1
            log.info(
                "workdir.swept",
                message="Removed the temporary files of a worker that died",
                path=str(folder),
            )
        return swept


def _alive(folder: Path) -> bool:
    try:
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False  # it died between making the folder and the lock, or while removing it
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    lock = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _private_folder(root: Path, parent: Path) -> None:
    """Make `root` for this user alone; refuse one that somebody else made in a shared place."""
    try:
        parent.mkdir(parents=True, exist_ok=True)
        root.mkdir(mode=0o700, exist_ok=True)
        found = root.lstat()
    except OSError as error:
        raise SettingsError(
            f"work_dir = {str(parent)!r} can't be used for temporary files: {error.strerror}; "
            "name a folder that the worker's user may write"
        ) from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise SettingsError(
            f"work_dir = {str(parent)!r} holds {root.name!r}, which is not a folder of the "
            "worker's user; remove it or set another work_dir"
        )
    if stat.S_IMODE(found.st_mode) & 0o077:
        root.chmod(0o700)
