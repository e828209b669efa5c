"""Which file writes which results, and what is against it, before anything is done.

Results have the name of their file: `talk.mp3` writes `talk.json`, `talk.srt`, `talk.openai.json`,
... What was found below a directory keeps its place there. Files that would write the same results
keep more of their names: the directories that differ (`monday/talk.json`, `friday/talk.json`), or
the extension (`talk.mp3.json`, `talk.wav.json`).
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Literal

from worker.cli.media_files import FileFailure, MediaFile
from worker.cli.writable import Directories, file_problem
from worker.errors import SettingsError
from worker.redact import printable
from worker.results.names import FORMAT_NAMES, SHAPE_NAMES, Format, ending
from worker.results.plural import counted

__all__ = ["Existing", "Plan", "Taken", "Target", "plan", "result_names"]

Existing = Literal["refuse", "skip", "overwrite"]
"""What becomes of results that are there already."""

_NAMED = 3
"""Existing results that a refusal names."""


@dataclass(frozen=True, slots=True)
class Target:
    """A file and the results that it is to write.

    Attributes:
        file: what is transcribed.
        stem: the results' path without their extensions.
        results: those to be written.
    """

    file: MediaFile
    stem: Path
    results: Mapping[Format, Path]

    def result(self, fmt: Format) -> Path:
        """The path of the result in a format, whether it is to be written or not."""
        return _result(self.stem, fmt)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run will do.

    Attributes:
        targets: to be transcribed.
        skipped: files that have all their results already.
        failures: files that can't have theirs, and why.
    """

    targets: Sequence[Target]
    skipped: Sequence[MediaFile]
    failures: Sequence[FileFailure]


def plan(
    files: Sequence[MediaFile],
    output_dir: Path,
    formats: Sequence[Format],
    *,
    existing: Existing = "refuse",
) -> Plan:
    """What is to be done, and what can't be.

    Args:
        files: to be transcribed.
        output_dir: where the results go; it need not be there yet.
        formats: to be written.
        existing: what becomes of results that are there already. With `skip` none of them is
            touched: a file that has some of its results gets those that it lacks.

    Raises:
        SettingsError: the directory can't be written, two files would write the same result, or
            results exist that are neither to be skipped nor overwritten.
    """
    directories = Directories()
    if (problem := directories.problem(output_dir)) is not None:
        raise SettingsError(f"--output-dir {output_dir} can't be written: {problem}")
    names = result_names(files)
    inputs = {file.path.resolve() for file in files}
    targets: list[Target] = []
    skipped: list[MediaFile] = []
    failures: list[FileFailure] = []
    there: list[Path] = []
    with_results = 0
    for file, name in zip(files, names, strict=True):
        whole = _target(file, output_dir / name, formats)
        problem = _problem(whole, inputs, directories)
        if problem is not None:
            failures.append(FileFailure(file.path, problem))
            continue
        old = [path for path in whole.results.values() if os.path.lexists(path)]
        there += old
        with_results += bool(old)
        if existing == "skip" and len(old) == len(formats):
            skipped.append(file)
        else:
            kept = old if existing == "skip" else []
            missing = [fmt for fmt in formats if whole.results[fmt] not in kept]
            targets.append(_target(file, whole.stem, missing))
    if there and existing == "refuse":
        raise SettingsError(_refusal(there, with_results, len(files)))
    return Plan(targets, skipped, failures)


def result_names(files: Sequence[MediaFile]) -> list[PurePath]:
    """The results' names of each file, without extension, from the output directory (pure).

    Raises:
        SettingsError: two files would write the same results whatever is done.
    """
    names = [_without_extension(file.place) for file in files]
    for group in _clashes(names):
        paths = [Path(os.path.normpath(files[i].path.absolute())) for i in group]
        common = os.path.commonpath([path.parent for path in paths])
        for i, path in zip(group, paths, strict=True):
            names[i] = _without_extension(PurePath(path).relative_to(common))
        for same in _clashes([names[i] for i in group]):
            for i in (group[k] for k in same):
                names[i] = names[i].with_name(files[i].path.name)
    for one, two, *_ in _clashes(names):
        both = max(names[one], names[two], key=lambda name: len(name.name))
        raise SettingsError(
            f"{files[one].path} and {files[two].path} would both write {both}.json: rename"
            " one, or transcribe them into different directories"
        )
    return names


class Taken:
    """Places of inputs and results, where nothing else of the run may be written.

    Results are those of every file in every format: what is skipped, kept or was asked for in an
    earlier run is there as well. A file that is there is known by whatever path or link.

    Args:
        files: to be transcribed.
        output_dir: where the results go.

    Raises:
        SettingsError: two files would write the same result.
    """

    def __init__(self, files: Sequence[MediaFile], output_dir: Path) -> None:
        self._inputs = [file.path for file in files]
        stems = [output_dir / name for name in result_names(files)]
        self._results = [_result(stem, fmt) for stem in stems for fmt in FORMAT_NAMES]

    def problem(self, path: Path) -> str | None:
        """What a path is that would be written, if it is one of those."""
        if _among(path, self._inputs):
            return "is an input and would be overwritten"
        if _among(path, self._results):
            return "is the name of a result: choose another"
        return None


def _without_extension(place: PurePath) -> PurePath:
    return place.with_name(place.stem)


def _among(path: Path, places: Iterable[Path]) -> bool:
    """Whether a path means one of these places, be they there or not."""
    parents: dict[Path, Path] = {}  # resolved: many results lie in few directories

    def whole(place: Path) -> Path:
        if place.parent not in parents:
            parents[place.parent] = place.parent.resolve()
        return parents[place.parent] / place.name

    meant = {whole(path), path.resolve()}
    file = _identity(path)
    return any(
        whole(place) in meant or (file is not None and _identity(place) == file) for place in places
    )


def _identity(path: Path) -> tuple[int, int] | None:
    """The file that a path leads to, as the system counts them; None if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _clashes(names: Sequence[PurePath]) -> list[list[int]]:
    """The positions of names whose results would have one name in some format, together."""
    positions: dict[PurePath, list[int]] = defaultdict(list)
    for i, name in enumerate(names):
        positions[_without_shapes(name)].append(i)
    return [group for group in positions.values() if len(group) > 1]


def _without_shapes(name: PurePath) -> PurePath:
    """The name that `talk.openai` counts as: its json is called as `talk` may call a result too."""
    while name.suffix[1:] in SHAPE_NAMES:
        name = name.with_suffix("")
    return name


def _target(file: MediaFile, stem: Path, formats: Iterable[Format]) -> Target:
    return Target(file, stem, {fmt: _result(stem, fmt) for fmt in formats})


def _result(stem: Path, fmt: Format) -> Path:
    """The result in a format."""
    return stem.with_name(stem.name + ending(fmt))


def _refusal(there: Sequence[Path], with_results: int, files: int) -> str:
    named = ", ".join(printable(str(path)) for path in there[:_NAMED])
    named += ", ..." if len(there) > _NAMED else ""
    have = "has" if with_results == 1 else "have"
    return (
        f"{with_results} of {counted(files, 'file')} {have} results already ({named}): give "
        "--overwrite to replace them, or --skip-existing to keep them and do the rest"
    )


def _problem(target: Target, inputs: set[Path], directories: Directories) -> str | None:
    """Why a file's results can't be written, if so."""
    for path in target.results.values():
        if (problem := file_problem(path)) is not None:
            return f"{path} can't be written: {problem}"
        if path.resolve() in inputs:
            return f"{path} is an input and would be overwritten: choose another --output-dir"
    if (problem := directories.problem(target.stem.parent)) is not None:
        return f"{target.stem.parent} can't be written: {problem}"
    return None
