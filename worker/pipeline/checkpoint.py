"""The checkpoint of a job: what it has finished, and what is held against it (pure).

It lies beside the result as `checkpoint.json` until the commit removes it. It serves two
ends that must survive the process: finished windows, so that they are not decoded again,
and the record of earlier runs, so that a job that kills workers is found out.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from worker.pipeline.record import Record, Run
from worker.speech.api import Partial


class Checkpoint(BaseModel):
    """The document. Unknown or damaged ones are worth nothing and are ignored.

    The record holds for the request and the input, whatever engine comes next; the windows
    hold only for the same engine fingerprint too, since another may give other texts.
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
        """The record of earlier runs, as it was written."""
        running = Run(self.running) if self.running else None
        return Record(
            failures=self.failures, deaths=self.deaths, suspect=self.suspect, running=running
        )

    @property
    def worthless(self) -> bool:
        """Nothing is in it that the next run would need."""
        return self.record.clean and not (self.partial and self.partial.windows)

    def of(self, *, job_id: str, request_hash: str, etag: str) -> bool:
        """Whether it belongs to this job on this input."""
        mine = (self.job_id, self.request_hash, self.etag)
        return mine == (job_id, request_hash, etag)

    def windows_for(self, fingerprint: str) -> Partial | None:
        """The finished windows, if the engine that asks would give the same ones."""
        return self.partial if self.fingerprint == fingerprint else None

    def with_record(
        self, record: Record, *, partial: Partial | None, failure: str | None = None
    ) -> Checkpoint:
        """A copy with another record and other windows; the last failure stays if none is new."""
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
    """The checkpoint in `body`; None if there is none, or none that can be used."""
    if body is None:
        return None
    try:
        return Checkpoint.model_validate_json(body)
    except ValidationError:
        return None


def merged(kept: Partial | None, new: Partial | None) -> Partial | None:
    """The windows of both; `new` counts where both have one.

    A resumed job that is interrupted before the engine came to it has no windows to show, and
    yet those of its earlier run are as good as before.
    """
    if kept is None or new is None:
        return new or kept
    windows = {window.index: window for window in (*kept.windows, *new.windows)}
    return Partial(
        language=new.language or kept.language,
        word_times=new.word_times or kept.word_times,
        windows=tuple(windows[index] for index in sorted(windows)),
    )
