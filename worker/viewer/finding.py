"""What to show for what a person named: the transcript, and the recording beside it.

`FILE` is a transcript, or a recording whose transcript lies beside it. A recording is looked for
beside the transcript: under the name that the transcript gives to its input, else under the
transcript's own name with any ending that is no result's.
"""

from __future__ import annotations

import re
import stat
from pathlib import Path, PurePosixPath

from pydantic import ValidationError
from pydantic_core import from_json

from worker.errors import SettingsError
from worker.redact import quoted
from worker.results.names import FORMAT_NAMES, ending, shape_in
from worker.results.transcript import Transcript

__all__ = ["find_recording", "find_transcript", "is_file", "name_for_edits", "read_transcript"]

MAX_TRANSCRIPT_BYTES = 256 * 1024**2
"""A transcript of two hours has three megabytes."""

_RESULT_ENDINGS = frozenset(map(ending, FORMAT_NAMES))
_EDITED = re.compile(r"\.edited(-\d+)?$")
_UNSAFE = re.compile(r"[^\w.-]+")

_MAX_NAME_BYTES = 200
"""File systems take names of 255 bytes: this leaves room for `.edited-99.json`."""


def find_transcript(file: Path) -> tuple[Path, Path | None]:
    """The transcript that a person means, and the recording if that was named.

    Raises:
        SettingsError: there is none; says what to name.
    """
    if (problem := _no_file(file)) is not None:
        raise SettingsError(f"{file} {problem}: name a transcript (.json) or a recording")
    if file.suffix.lower() == ".json":
        return file, None
    beside = file.with_suffix(".json")
    if file.suffix.lower() in _RESULT_ENDINGS:
        raise SettingsError(f"{file} can't be shown: name the transcript, {beside.name}, instead")
    if not is_file(beside):
        raise SettingsError(
            f"there is no {beside.name} beside {file}: transcribe it first, or name the transcript"
            f" and --recording {file}"
        )
    return beside, file


def is_file(path: Path) -> bool:
    """Whether a file is there; no name is too long to ask."""
    return _no_file(path) is None


def _no_file(path: Path) -> str | None:
    """Why a path is no file that can be read, if it isn't."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return "is not there"
    except ValueError:  # a NUL in the name
        return "is no name of a file"
    except OSError as error:
        return f"can't be read: {error.strerror}"
    if stat.S_ISREG(mode):
        return None
    return "is a directory" if stat.S_ISDIR(mode) else "is no regular file"  # a pipe would block


def read_transcript(file: Path, name: object) -> Transcript:
    """The transcript in a file.

    Args:
        file: to read.
        name: what to call it in messages.

    Raises:
        SettingsError: it can't be read or is no transcript; says what is wrong with it.
    """
    try:
        if file.stat().st_size > MAX_TRANSCRIPT_BYTES:
            raise SettingsError(f"{name} is larger than {MAX_TRANSCRIPT_BYTES} bytes")
        content = file.read_bytes()
    except OSError as error:
        raise SettingsError(f"{name} can't be read: {error.strerror}") from None
    try:
        transcript = Transcript.model_validate_json(content)
        # Once more as it would be saved: NaN becomes null, which a score may be and a time may not.
        return Transcript.model_validate_json(transcript.model_dump_json())
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise SettingsError(
            _what_it_is(content, str(name))
            or f"{name} is no transcript of this release: {place or 'the file'}: {first['msg']}"
        ) from None


def _what_it_is(content: bytes, name: str) -> str | None:
    """What stands in a transcript's place, if we wrote that too."""
    try:
        document = from_json(content)  # refuses deep nesting, where `json` runs out of stack
    except ValueError:
        return None
    if not isinstance(document, dict):
        return None
    if document.get("status") == "failed":
        message = quoted(str(document.get("message")), 300)
        return f"this job failed ({document.get('code')}): {message}"
    shape = shape_in(name)
    if shape is None or "schema_version" in document:
        return None
    instead = f"{name[: -len(ending(shape))]}.json"
    return f"{name} is a transcript in the shape '{shape}', for other programs: name {instead}"


def find_recording(transcript_file: Path, transcript: Transcript) -> Path | None:
    """The recording beside a transcript; None if there is none."""
    folder = transcript_file.parent
    # Only the name: what stands in a transcript doesn't choose the folder.
    named = folder / (PurePosixPath(transcript.input.uri).name or transcript_file.name)
    if is_file(named) and named.suffix.lower() not in _RESULT_ENDINGS:
        return named
    stem = _EDITED.sub("", transcript_file.stem)
    try:
        beside = sorted(folder.iterdir())
    except OSError:  # a folder whose names may not be listed
        return None
    alike = (
        path
        for path in beside
        if path.stem == stem and path.suffix.lower() not in _RESULT_ENDINGS and is_file(path)
    )
    return next(alike, None)


def name_for_edits(name: str) -> str:
    """What the files of corrections are called, without `.edited` and the ending.

    Args:
        name: of the transcript's file without its ending, or a job's id.
    """
    safe = _UNSAFE.sub("_", _EDITED.sub("", name)).lstrip(".")
    return safe.encode()[:_MAX_NAME_BYTES].decode(errors="ignore") or "transcript"
