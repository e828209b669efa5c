"""What a person typed to be transcribed, as files: paths, directories and patterns.

A path is taken whatever its name. Below a directory, at any depth, a file is taken if its
extension is one of media (`EXTENSIONS`): most directories of recordings hold other files too, and
each would be an error. Hidden files and directories are left out there, links to directories aren't
followed. A pattern (`*`, `?`, `[...]`, `**` for any depth) means what it means to a shell.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from worker.errors import ErrorCode
from worker.redact import printable

__all__ = [
    "EXTENSIONS",
    "RAW_EXTENSIONS",
    "FileFailure",
    "MediaFile",
    "find_files",
    "readable_size",
]

# fmt: off
EXTENSIONS = frozenset({
    "3g2", "3gp", "3gpp", "aac", "ac3", "aif", "aifc", "aiff", "amr", "ape", "asf", "au", "avi",
    "caf", "f4v", "flac", "flv", "gsm", "m2ts", "m4a", "m4b", "m4v", "mka", "mkv", "mov", "mp2",
    "mp3", "mp4", "mpeg", "mpg", "mts", "mxf", "oga", "ogg", "ogm", "ogv", "opus", "ra", "rm",
    "snd", "spx", "tta", "voc", "w64", "wav", "wave", "weba", "webm", "wma", "wmv", "wv",
})
"""Of files with sound that FFmpeg knows. Not `ts`, which is TypeScript more often than MPEG."""

RAW_EXTENSIONS = frozenset({
    "al", "alaw", "mulaw", "pcm", "raw", "s16", "s16le", "sln", "sw", "ul", "ulaw",
})
"""Of files without a header, as telephone systems and SoX name them."""
# fmt: on


@dataclass(frozen=True, slots=True)
class FileFailure:
    """What could not be transcribed, and why.

    Attributes:
        path: the file, or what was typed.
        message: one sentence.
        code: for programs (see `errors.ErrorCode`); None where it never came to the engine.
    """

    path: Path
    message: str
    code: str | None = None

    def __str__(self) -> str:
        code = f"{self.code}: " if self.code else ""
        return printable(f"{self.path}: {code}{self.message}")


@dataclass(frozen=True, slots=True)
class MediaFile:
    """A file to be transcribed.

    Attributes:
        path: where it is.
        place: the same, from where it was looked for: `talk.mp3` if it was typed, and
            `monday/talk.mp3` below the directory that was typed.
        size: bytes.
    """

    path: Path
    place: PurePath
    size: int


def find_files(
    typed: Sequence[Path], *, raw: bool = False
) -> tuple[list[MediaFile], list[FileFailure]]:
    """The files, each once, in the order typed; and what isn't there or can't be read.

    Args:
        typed: paths of files and directories, and patterns.
        raw: whether files have no header: directories are then searched for those.
    """
    found: dict[str, MediaFile] = {}
    failures: list[FileFailure] = []
    for item in typed:
        try:
            pairs = list(_expanded(item, RAW_EXTENSIONS if raw else EXTENSIONS, failures))
        except OSError as error:  # a name too long, a directory above that can't be entered
            failures.append(FileFailure(item, f"it can't be read: {error.strerror}"))
            continue
        for path, place in pairs:
            key = os.path.normpath(path.absolute())
            if key in found:
                continue
            size = readable_size(path)
            if isinstance(size, FileFailure):
                failures.append(size)
            elif size:
                found[key] = MediaFile(path, place, size)
            else:
                # Said here, since the engine speaks to who uploads.
                failures.append(FileFailure(path, "the file has no bytes", ErrorCode.EMPTY_FILE))
    return list(found.values()), failures


def _expanded(
    item: Path, extensions: frozenset[str], failures: list[FileFailure]
) -> Iterator[tuple[Path, PurePath]]:
    """(path, place) of each file that one of the things typed means."""
    if item.is_dir():
        yield from _below(item, item, extensions, failures)
    elif os.path.lexists(item) or not glob.has_magic(str(item)):
        yield item, PurePath(item.name)
    else:
        root = _fixed_part(item)
        # Not pathlib's: its patterns match hidden files.
        matches = sorted(glob.glob(str(item), recursive=True))  # noqa: PTH207
        if not matches:
            failures.append(FileFailure(item, "no file matches this pattern"))
        for match in map(Path, matches):
            if match.is_dir():
                yield from _below(match, root, extensions, failures, may_be_empty=True)
            else:
                yield match, PurePath(os.path.relpath(match, root))


def _below(
    folder: Path,
    root: Path,
    extensions: frozenset[str],
    failures: list[FileFailure],
    *,
    may_be_empty: bool = False,
) -> Iterator[tuple[Path, PurePath]]:
    """(path, place from `root`) of each media file below a directory."""
    known = len(failures)

    def unreadable(error: OSError) -> None:
        where = Path(error.filename)
        failures.append(FileFailure(where, f"the directory can't be read: {error.strerror}"))

    empty = True
    for parent, folders, names in os.walk(folder, onerror=unreadable):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if name.startswith(".") or PurePath(name).suffix[1:].lower() not in extensions:
                continue
            empty = False
            path = Path(parent, name)
            yield path, PurePath(os.path.relpath(path, root))
    if empty and not may_be_empty and len(failures) == known:
        failures.append(
            FileFailure(folder, "the directory holds no media file, by the extensions of its files")
        )


def _fixed_part(pattern: Path) -> Path:
    """The directory that a pattern looks below: what stands before its first part with a sign."""
    parts: list[str] = []
    for part in pattern.parts:
        if glob.has_magic(part):
            break
        parts.append(part)
    return Path(*parts)


def readable_size(path: Path) -> int | FileFailure:
    """Bytes of a file that can be opened; or why it can't."""
    try:
        if not path.is_file():
            what = "it is no regular file" if path.exists() else "there is no such file"
            return FileFailure(path, what)
        with path.open("rb") as file:
            return os.fstat(file.fileno()).st_size
    except OSError as error:
        return FileFailure(path, f"it can't be read: {error.strerror}")
