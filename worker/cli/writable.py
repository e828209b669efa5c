"""Whether files can be made in a directory: said before a long run, not after it."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from pathlib import Path

__all__ = ["Directories", "file_problem", "too_long", "writable"]


def writable(directory: Path) -> str | None:
    """What is against making files in a directory, if anything; it need not be there yet."""
    return Directories().problem(directory)


class Directories:
    """The same of many directories: each is tried once."""

    def __init__(self) -> None:
        self._known: dict[Path, str | None] = {}

    def problem(self, directory: Path, *, make: bool = True) -> str | None:
        """What is against it, if anything.

        Args:
            directory: the one.
            make: whether it will be made if it isn't there.
        """
        if directory not in self._known:
            self._known[directory] = self._try(directory, make=make)
        return self._known[directory]

    def _try(self, directory: Path, *, make: bool) -> str | None:
        try:
            if not stat.S_ISDIR(directory.stat().st_mode):
                return f"{directory} is not a directory"
            # The one way to know: permissions say nothing of quotas and read-only file systems.
            with tempfile.TemporaryFile(dir=directory):
                return None
        except FileNotFoundError:
            if directory.exists():  # as /proc is, where nothing can be made
                return f"no file can be made in {directory}"
            if not make or directory == directory.parent:
                return f"there is no directory {directory}"
            return self.problem(directory.parent) or too_long(directory)
        except NotADirectoryError:
            return self.problem(directory.parent) or f"{directory.parent} is not a directory"
        except OSError as error:
            return error.strerror


def file_problem(path: Path) -> str | None:
    """What is against writing a file, apart from its directory."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return too_long(path)
    except NotADirectoryError:
        return None  # `Directories` tells
    except OSError as error:  # a name that is too long, or a circle of links
        return error.strerror
    if stat.S_ISDIR(mode):
        return "it is a directory"
    return None if os.access(path, os.W_OK, effective_ids=True) else "it is read-only"


def too_long(path: Path) -> str | None:
    """Whether the file system takes the name of what isn't there yet."""
    place = next(parent for parent in path.absolute().parents if parent.exists())
    if len(os.fsencode(path.name)) > os.pathconf(place, "PC_NAME_MAX"):
        return os.strerror(errno.ENAMETOOLONG)
    return None
