"""What `submit` sends: job ids, and a request for each input (pure but for reading local files).

Job ids are made here, so that a sender knows where its result will be before the queue has
seen the message. Does not import boto3, which takes longer than refusing a wrong argument may.
"""

from __future__ import annotations

import hashlib
import re
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath

from worker.errors import JobError, SettingsError
from worker.jobs.ids import id_part, within
from worker.jobs.inputs import InputUri, input_forms, is_input, parse_input
from worker.jobs.request import JobDefaults, JobRequest, parse_request
from worker.uris import S3Prefix, S3Uri

__all__ = [
    "Planned",
    "chunks",
    "job_stem",
    "make_job_id",
    "plan",
    "read_lines",
    "stable_id",
]

_STEM_LENGTH = 80
_EXTENSION = re.compile(r"\.[A-Za-z0-9]{1,10}")


@dataclass(frozen=True, slots=True)
class Planned:
    """One job to send.

    Attributes:
        job_id: made here.
        request: the message; what it leaves out is up to the worker's settings.
        output: where its results go; None where that is left to the worker, which is never so
            for a job that is waited for.
        path: the local file to upload to the job's input first; None for an object.
    """

    job_id: str
    request: JobRequest
    output: S3Prefix | None
    path: Path | None


def job_stem(name: str) -> str:
    """The part of a job id that a person recognises: the input's file name, without its type."""
    part = id_part(PurePosixPath(name).stem, keep="_-").strip("-")
    stem = within(part, characters=_STEM_LENGTH).strip("-")
    return stem or "job"


def make_job_id(name: str) -> str:
    """An id that no other job has: the input's stem and 12 random hex digits."""
    return f"{job_stem(name)}-{uuid.uuid4().hex[:12]}"


def stable_id(name: str) -> str:
    """An id that depends on the input's name alone: its stem and 16 hex digits of SHA-256.

    The same list sent twice makes the same jobs, and the worker ends the second of each at once
    as already done.
    """
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{job_stem(name)}-{digest[:16]}"


def read_lines(path: str) -> Iterator[str]:
    """The lines of a file, or of standard input for `-`; stripped, without empty ones.

    Raises:
        SettingsError: the file can't be read as text.
    """
    if path == "-":
        yield from (line.strip() for line in sys.stdin if line.strip())
        return
    try:
        with Path(path).open(encoding="utf-8") as file:
            yield from (line.strip() for line in file if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"--from-file {path}: {error}") from error


def chunks(inputs: Iterable[str], size: int) -> Iterator[list[str]]:
    """The inputs in order, in lists of `size`; the last may be shorter, none is empty."""
    rest = iter(inputs)
    while chunk := list(islice(rest, size)):
        yield chunk


def plan(
    inputs: Sequence[str],
    fields: Mapping[str, object],
    *,
    upload_to: str | None = None,
    output: str | None = None,
    fix_output: bool = False,
    new_id: Callable[[str], str] = make_job_id,
) -> list[Planned]:
    """What to send for inputs that are s3:// URIs or local files.

    A local file goes to `<upload_to><job id><extension>`, so that nothing is overwritten.

    Args:
        inputs: as a person gives them.
        fields: the other fields of every job, as in a message.
        upload_to: S3 prefix for local files.
        output: S3 prefix for results; None leaves it to the worker.
        fix_output: without `output`, write the default into the message.
        new_id: makes a job id from an input.

    Raises:
        SettingsError: what is wrong with every input, a line each.
    """
    try:
        prefix = S3Prefix.parse(upload_to) if upload_to else None
        results = S3Prefix.parse(output) if output else None
    except ValueError as error:
        raise SettingsError(str(error)) from None
    planned: list[Planned] = []
    problems: list[str] = []
    for text in inputs:
        job_id = new_id(text)
        try:
            uri, path = _input(text, job_id, prefix)
            where = results or (JobDefaults().output_for(uri) if fix_output else None)
            raw = {"input": str(uri), "job_id": job_id, **fields}
            request = parse_request(raw | ({"output": str(where)} if where else {}))
        except JobError as error:
            problems.append(f"{text}: {error.message}")
        except ValueError as error:
            problems.append(f"{text}: {error}")
        else:
            planned.append(Planned(job_id, request, where, path))
    if problems:
        raise SettingsError("\n".join(problems))
    return planned


def _input(text: str, job_id: str, upload_to: S3Prefix | None) -> tuple[InputUri, Path | None]:
    """The input, and the local file that is to become it. Raises ValueError."""
    if is_input(text):
        return parse_input(text), None
    path = Path(text)
    if not path.is_file():
        raise ValueError(f"there is no such file; an object is named as {input_forms()}")
    if upload_to is None:
        raise ValueError("is a local file: say where it goes with --upload-to s3://bucket/prefix/")
    extension = path.suffix if _EXTENSION.fullmatch(path.suffix) else ""
    return S3Uri(upload_to.bucket, f"{upload_to.prefix}{job_id}{extension}"), path
