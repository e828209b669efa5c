"""What a job asks of the engine: the one place where a job's fields become engine options."""

from __future__ import annotations

from dataclasses import fields

from worker.jobs.request import JobRequest
from worker.speech.api import Options

__all__ = ["engine_options"]


def engine_options(job: JobRequest) -> Options:
    """The options of the engine, each from the job's field of the same name if it has one."""
    known = [field.name for field in fields(Options) if field.name in type(job).model_fields]
    return Options(**{name: getattr(job, name) for name in known})
