"""What a job asks of the engine and of its result: its fields, as each of them wants them (pure).

A field that a job leaves out has the value of the setting of its name.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields, replace

from worker.jobs.request import JobRequest
from worker.results.presentation import Presentation
from worker.results.transcript import SubtitleOptions
from worker.speech.api import Options

__all__ = ["engine_options", "presentation", "windows_fingerprint"]

_OF_JOBS = [
    field.name
    for field in fields(Options)
    # The vocabulary is the job's alone, and has another form there.
    if field.name in JobRequest.model_fields and field.name != "vocabulary"
]
"""The options that a job or a setting decides."""

_OF_JOBS_ALONE = {
    "diarize",
    "min_speakers",
    "max_speakers",
    "channel_identification",
    "channel_labels",
    "audio_stream",
}
"""Of those, the ones that no setting decides: a fingerprint says nothing of them, so that
checkpoints of earlier releases, which knew none of them, keep theirs."""


def engine_options(job: JobRequest, defaults: Options | None = None) -> Options:
    """The options of the engine, each from the job's field of the same name.

    Args:
        job: what is asked.
        defaults: what the settings say for fields that the job leaves out.
    """
    defaults = defaults or Options()
    asked = {name: value for name in _OF_JOBS if (value := getattr(job, name)) is not None}
    phrases = tuple(entry.phrase for entry in job.vocabulary)
    options = replace(defaults, vocabulary=phrases, **asked)
    if job.diarize:
        # Who speaks is told word by word; a result without words drops them at its end.
        options = replace(options, words=True)
    if options.language is None:
        return options
    # A language that is named leaves nothing to detect, whatever the settings say of detection.
    return replace(options, language_options=(), multilingual=False)


def presentation(job: JobRequest, *, vtt_word_times: bool = False) -> Presentation:
    """How the result shows what was said.

    Args:
        job: what is asked.
        vtt_word_times: the setting, for a job that doesn't say.
    """
    asked = {
        name: value
        for name in SubtitleOptions.model_fields
        if (value := getattr(job, name)) is not None
    }
    return Presentation(
        words=job.words,
        segment_resolution=job.segment_resolution,
        display_as={
            entry.phrase: entry.display_as
            for entry in job.vocabulary
            if entry.display_as is not None
        },
        vocabulary_filter=job.vocabulary_filter,
        vocabulary_filter_method=job.vocabulary_filter_method,
        subtitles=SubtitleOptions(**{"vtt_word_times": vtt_word_times, **asked}),
    )


def windows_fingerprint(engine: str, job: JobRequest, defaults: Options) -> str:
    """The engine's fingerprint, with what the settings decide about the windows of this job.

    A checkpoint is known by the job's request; settings are no part of that.

    Args:
        engine: `Transcriber.fingerprint`.
        job: what is asked.
        defaults: as for `engine_options`.
    """
    decided, asked = _of_jobs(engine_options(job, defaults)), _of_jobs(engine_options(job))
    if decided == asked:
        return engine
    text = json.dumps(decided, sort_keys=True).encode()
    return f"{engine}-{hashlib.sha256(text).hexdigest()[:16]}"


def _of_jobs(options: Options) -> dict[str, object]:
    return {name: getattr(options, name) for name in _OF_JOBS if name not in _OF_JOBS_ALONE}
