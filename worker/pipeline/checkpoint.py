"""The checkpoint of a job: the windows it has finished, and the record of its runs (pure).

It lies beside the result as `checkpoint.json` until the commit removes it. Two things in it must
survive the end of the process: finished windows, so that they are not decoded again, and the
record of earlier runs, so that a job that kills workers is found out.

The two are read apart. Windows cost only time when they are lost; a lost record would let a job
that kills workers begin again from nothing. So whatever a later release, or damage, has done to
the windows, the record is still read.
"""

from __future__ import annotations

import json
from itertools import zip_longest
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from worker.pipeline.record import Record, Run
from worker.speech.api import Partial

__all__ = ["Checkpoint", "merged", "parse"]


class Checkpoint(BaseModel):
    """The document.

    The record holds for the same request and input, whatever engine comes next. The windows
    hold only for the same engine fingerprint too: another engine may give other texts.

    Attributes:
        schema_version: another one means another document; it is ignored.
        job_id: whose checkpoint it is.
        request_hash: of the job, as `Job.request_hash`.
        etag: of the input that was fetched.
        fingerprint: of the engine that decoded the windows, and of what the settings said of them.
        failures: as in `Record`.
        deaths: as in `Record`.
        suspect: as in `Record`.
        running: as in `Record`.
        last_failure: why the last failed run failed, in one sentence.
        partial: the finished windows.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    schema_version: Literal[1] = 1
    job_id: str
    request_hash: str
    etag: str
    fingerprint: str
    failures: int = Field(default=0, ge=0)
    deaths: int = Field(default=0, ge=0)
    suspect: bool = False
    running: Literal["together", "alone"] | None = None
    last_failure: str | None = Field(default=None, description="one sentence, for the operator")
    partial: Partial | None = None

    @property
    def record(self) -> Record:
        """The record of earlier runs, as it was written; `Record.found` says what it means."""
        running = Run(self.running) if self.running else None
        return Record(
            failures=self.failures, deaths=self.deaths, suspect=self.suspect, running=running
        )

    @property
    def worthless(self) -> bool:
        """Whether nothing is in it that the next run needs."""
        return self.record.clean and not (self.partial and self.partial.finished)

    def of(self, *, job_id: str, request_hash: str, etag: str) -> bool:
        """Whether it belongs to this job on this input."""
        mine = (self.job_id, self.request_hash, self.etag)
        return mine == (job_id, request_hash, etag)

    def windows_for(self, fingerprint: str) -> Partial | None:
        """The finished windows; None if they are of another engine, which may give others."""
        return self.partial if self.fingerprint == fingerprint else None

    def with_record(
        self, record: Record, *, partial: Partial | None, failure: str | None = None
    ) -> Checkpoint:
        """A copy with another record and other windows.

        Args:
            record: takes the place of the one here.
            partial: takes the place of the windows here.
            failure: why the run failed; None keeps the last failure.
        """
        return self.model_copy(
            update={
                "failures": record.failures,
                "deaths": record.deaths,
                "suspect": record.suspect,
                "running": record.running.value if record.running else None,
                "last_failure": failure or self.last_failure,
                "partial": partial,
            }
        )

    def dump(self) -> bytes:
        """The bytes to store."""
        return self.model_dump_json().encode()


def parse(body: bytes | None) -> Checkpoint | None:
    """The checkpoint in `body`; None if there is none, or none with a record that can be read.

    Keys that this release doesn't know are ignored. Where it can't read a window, all of them are
    left out and decoded again; so they are if the engine's fingerprint can't be read.
    """
    if body is None:
        return None
    try:
        document = json.loads(body)
        if not isinstance(document, dict):
            return None
        readable = {
            "partial": _readable_windows(document.get("partial")),
            "running": _readable_mark(document.get("running")),
            "last_failure": _readable_text(document.get("last_failure")),
            "fingerprint": _readable_text(document.get("fingerprint")) or "",
        }
        return Checkpoint.model_validate(document | readable)
    except (ValueError, RecursionError):  # no JSON, nested too deeply, or no checkpoint
        return None


def _readable_windows(partial: object) -> Partial | None:
    """The finished windows, or None where they are not written as this release writes them."""
    try:
        return None if partial is None else Partial.model_validate(partial)
    except ValidationError:
        return None


def _readable_mark(running: object) -> str | None:
    """The mark of a run that has begun. One of a kind not known here is a mark all the same.

    It then counts as that of a run beside other jobs, which makes the job a suspect and charges
    it with nothing.
    """
    if running is None:
        return None
    return Run.ALONE.value if running == Run.ALONE.value else Run.TOGETHER.value


def _readable_text(value: object) -> str | None:
    """The text, or None where it is none, or holds half a surrogate pair."""
    if not isinstance(value, str) or any("\ud800" <= letter <= "\udfff" for letter in value):
        return None
    return value


def merged(kept: Partial | None, new: Partial | None) -> Partial | None:
    """The windows of an earlier run and of this one; `new` counts where both have one.

    A resumed job may be interrupted before the engine has come to it. Then it has no windows of
    its own, and those of the earlier run must not be lost. Nor must those of its channels, which
    are not even counted then.
    """
    if kept is None or new is None:
        return new or kept
    windows = {window.index: window for window in (*kept.windows, *new.windows)}
    return Partial(
        language=new.language or kept.language,
        word_times=new.word_times or kept.word_times,
        windows=tuple(windows[index] for index in sorted(windows)),
        channels=tuple(
            merged(before, since) or Partial()
            for before, since in zip_longest(kept.channels, new.channels)
        ),
    )
