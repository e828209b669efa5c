"""A process's private folder for temporary files, and the removal of those of dead ones.

Below, "worker" stands for each process that has one: `run`, and `transcribe` and `view` as well.

Names come from counters and process ids, never from a message. Who lives is told by BSD locks
(flock(2)), which the kernel drops however a process ends; the process id in a name would not say
it, because ids are used again. A live worker holds two:

- an exclusive one on its own folder: if that lock is free, the worker is dead;
- a shared one on the folder above it, together with the other workers of its user. Who gets it for
  itself alone is the last of them, and removes that folder if it is empty.

They are on the folders themselves because systemd-tmpfiles looks for them there: it leaves a locked
folder alone with everything below it, however old that is (tmpfiles.d(5), at "Age"). Other cleaners
and `rm -r` know of no locks. So a folder that vanished all the same is made again for the next job.

A lock on a folder is seen on this machine alone: `work_dir` belongs on a local disk.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import shutil
import stat
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

from worker.errors import SettingsError, TransientError
from worker.logs import get_logger

log = get_logger(__name__)

_ATTEMPTS = 10
"""Each fails only if somebody removes the new folder in the moment before it is locked."""


class WorkDir:
    """A folder of this process alone, under a folder of this user alone.

    It is `<base>/transcription-worker-<uid>/<pid>-<random>/`. Several workers of one user share
    the middle folder; each that starts removes the folders of those that died.

    Args:
        base: the setting `work_dir`; None takes the system's temporary folder.

    Attributes:
        path: the folder. Another one after it vanished and was made again.
        swept: how many folders of dead workers were removed.

    Raises:
        SettingsError: the folder can't be used.
    """

    def __init__(self, base: Path | None) -> None:
        self._parent = base or Path(tempfile.gettempdir())
        self._root = self._parent / f"transcription-worker-{os.geteuid()}"
        self._numbers = itertools.count(1)
        self._making = threading.Lock()
        self._locks: tuple[int, ...] = ()
        self._closed = False
        self.swept = 0
        self.path = self._make()

    def new(self) -> Path:
        """A new empty folder for one job; the caller removes it whatever happens.

        Raises:
            TransientError: the worker's folder has vanished and can't be made again now.
            OSError: the job's folder can't be made.
        """
        with self._making:
            name = str(next(self._numbers))
            try:
                return _folder(self.path / name)
            except (FileNotFoundError, NotADirectoryError):
                if self._closed:
                    raise
                return _folder(self._make_again() / name)

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
        """Remove all of this worker's files, and the folder above if it was the last there.

        Safe to call twice, and in a signal handler.
        """
        self._closed = True
        self.remove(self.path)
        self._unlock()
        self._remove_root()

    def _remove_root(self) -> None:
        """Remove the folder above, unless another worker uses it or something lies in it."""
        lock = None
        # A worker that starts has a shared lock on it before it makes anything there.
        with suppress(OSError):
            lock = _locked(self._root, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if lock is not None:
                self._root.rmdir()
        if lock is not None:
            os.close(lock)  # only now: who waited for it sees that the folder is gone

    def _make_again(self) -> Path:
        vanished = self.path
        self._unlock()
        try:
            self.path = self._make()
        except SettingsError as error:  # it could be used when the worker started
            raise TransientError(str(error)) from error
        log.warning(
            "workdir.vanished",
            message="Somebody removed the worker's folder of temporary files, with the inputs of "
            f"jobs in it; it is made again: {self.path}",
            path=str(vanished),
        )
        return self.path

    def _make(self) -> Path:
        """Make this worker's folder, locked, and remove those of dead workers."""
        for _ in range(_ATTEMPTS):
            try:
                there = _private_folder(self._root, self._parent)
                path = self._made_and_locked() if there else None
                if path is not None:
                    self.swept += self._sweep()
                    return path
            except OSError as error:
                raise SettingsError(
                    f"work_dir = {str(self._parent)!r} can't be used for temporary files: "
                    f"{error.strerror}; name a folder on a local disk"
                ) from None
        raise SettingsError(
            f"work_dir = {str(self._parent)!r} can't be used for temporary files: what is made "
            "there is removed at once; name another folder"
        )

    def _made_and_locked(self) -> Path | None:
        """A new folder, with both locks held; None if it or the one above it was removed."""
        above = _locked(self._root, fcntl.LOCK_SH)
        if above is None:
            return None
        own = None
        try:
            path = Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=self._root))
            # Between these two lines a worker that starts may take it for a dead one's.
            own = _locked(path, fcntl.LOCK_EX)
        except FileNotFoundError:
            return None
        finally:
            if own is None:
                os.close(above)
        if own is None:
            return None
        self._locks = (own, above)
        return path

    def _unlock(self) -> None:
        locks, self._locks = self._locks, ()
        for lock in locks:
            os.close(lock)

    def _sweep(self) -> int:
        """Remove dead workers' folders; returns how many."""
        swept = 0
        for entry in os.scandir(self._root):
            if not entry.is_dir(follow_symlinks=False):
                continue
            folder = Path(entry.path)
            try:
                lock = _locked(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                continue  # its worker lives, or it is none of ours
            if lock is None:
                continue  # gone meanwhile
            self.remove(folder)
            os.close(lock)  # only now: who was just making it sees that it is gone
            swept += 1
            log.info(
                "workdir.swept",
                message="Removed the temporary files of a worker that died",
                path=str(folder),
            )
        return swept


def _folder(path: Path) -> Path:
    path.mkdir(mode=0o700)
    return path


def _locked(folder: Path, operation: int) -> int | None:
    """A descriptor of a folder that holds a lock on it; None if it is gone, or another by then.

    Args:
        folder: to lock.
        operation: as flock(2) takes it. Without LOCK_NB it waits for whoever has the lock: a
            worker that removes the folder, or systemd-tmpfiles on its way through it.

    Raises:
        BlockingIOError: another process has the lock, and the operation says not to wait.
        OSError: it can't be opened or locked.
    """
    try:
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lock, operation)
        if os.path.samestat(os.fstat(lock), folder.lstat()):
            return lock
    except FileNotFoundError:
        pass
    except BaseException:
        os.close(lock)
        raise
    os.close(lock)
    return None


def _private_folder(root: Path, parent: Path) -> bool:
    """Make `root` for this user alone; refuse one that somebody else made in a shared place.

    Returns whether it is there: the last of the other workers may remove it at any time.
    """
    try:
        parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            root.mkdir(mode=0o700)
    except OSError as error:
        raise SettingsError(
            f"work_dir = {str(parent)!r} can't be used for temporary files: {error.strerror}; "
            "name a folder that the worker's user may write"
        ) from None
    try:
        found = root.lstat()
    except FileNotFoundError:
        return False
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise SettingsError(
            f"work_dir = {str(parent)!r} holds {root.name!r}, which is not a folder of the "
            "worker's user; remove it or set another work_dir"
        )
    if stat.S_IMODE(found.st_mode) & 0o077:
        with suppress(FileNotFoundError):  # `_made_and_locked` notices
            root.chmod(0o700)
    return True
