"""Whose fault a failure is, and what follows from it.

    WorkerError
    ├── JobError          the job's fault: permanent, answered with an error.json
    ├── TransientError    the world's fault: may pass, released with back-off
    ├── LeaseLost         another worker may hold the message: stop, commit nothing
    ├── Interrupted       the worker is draining: checkpoint and release
    ├── SettingsError     the operator's settings are wrong (exit 2)
    ├── MachineError      this machine can't do what was asked (exit 3)
    └── EngineError       ours: a defect or a broken engine (exit 1)

Every class carries one sentence that a person can act on. `JobError` adds a stable
code: the codes are part of the result's contract and never change their meaning.
"""

from enum import IntEnum, StrEnum

__all__ = [
    "EngineError",
    "ErrorCode",
    "ExitCode",
    "Interrupted",
    "JobError",
    "LeaseLost",
    "MachineError",
    "SettingsError",
    "TransientError",
    "WorkerError",
]


class ExitCode(IntEnum):
    """What the process says when it ends; systemd and operators rely on the numbers."""

    OK = 0
    """Idle or drained: everything held was answered or released."""
    FAILURE = 1
    """A failure of ours; a restart may mend it."""
    SETTINGS = 2
    """Wrong settings; no restart mends them."""
    MACHINE = 3
    """The machine can't do what was asked; no restart mends it."""


class ErrorCode(StrEnum):
    """Why a job failed for good, as written in error.json and on the dead-letter queue."""

    INVALID_MESSAGE = "invalid_message"
    """The body is not JSON, or not a job or event that we know."""
    INVALID_JOB = "invalid_job"
    """A field of the job is wrong or unknown, or does not fit the file."""
    BUCKET_NOT_ALLOWED = "bucket_not_allowed"
    """The input or output bucket is not among `allowed_buckets`."""
    INPUT_NOT_FOUND = "input_not_found"
    """There is no such object (or S3 won't say so: see the message)."""
    INPUT_FORBIDDEN = "input_forbidden"
    """The worker's credentials may not read the object."""
    INPUT_CHANGED = "input_changed"
    """The object is no longer the one that the event named."""
    INPUT_TOO_LARGE = "input_too_large"
    """The object has more bytes than `max_input_bytes`."""
    OUTPUT_FORBIDDEN = "output_forbidden"
    """The worker's credentials may not write the result."""
    EMPTY_FILE = "empty_file"
    """The object has no bytes."""
    NOT_MEDIA = "not_media"
    """No decoder recognises the file."""
    NO_AUDIO_STREAM = "no_audio_stream"
    """The file has no audio stream, or none of the number in `audio_stream`."""
    DECODE_FAILED = "decode_failed"
    """The file is media, but it is damaged beyond use."""
    AUDIO_TOO_LONG = "audio_too_long"
    """The audio is longer than `max_audio_seconds`."""
    DECODE_LIMIT = "decode_limit"
    """Decoding took more memory, time or CPU than the limits allow."""
    DECODE_CRASHED = "decode_crashed"
    """The decoder died on this file."""
    TASK_NOT_SUPPORTED = "task_not_supported"
    """The loaded model can't do the task."""
    LANGUAGE_NOT_SUPPORTED = "language_not_supported"
    """The loaded model doesn't know the language."""
    PROMPT_TOO_LONG = "prompt_too_long"
    """Prompt and hotwords leave the decoder no room."""
    DIARIZATION_NOT_AVAILABLE = "diarization_not_available"
    """The worker has no model that tells speakers apart."""
    DIARIZATION_FAILED = "diarization_failed"
    """Speakers could not be told apart in this audio."""
    OUT_OF_MEMORY = "out_of_memory"
    """Not even a batch of one window fits the device."""
    ENGINE_FAILED = "engine_failed"
    """The engine failed on this job's audio, and on nothing else."""
    JOB_ID_CONFLICT = "job_id_conflict"
    """A result of another request exists under this job id."""
    TOO_MANY_ATTEMPTS = "too_many_attempts"
    """The job failed again and again; the last failure is in the message."""


class WorkerError(Exception):
    """Base of all errors the worker raises on purpose."""


class JobError(WorkerError):
    """The job's own fault: trying again can't help.

    Args:
        code: what happened, for programs.
        message: one sentence for a person, naming the field or file, the value and the fix.
            It never holds a prompt, a transcript's text, a credential or a presigned query.
    """

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class TransientError(WorkerError):
    """The world's fault (throttling, 5xx, a broken connection): may pass, so try again."""


class LeaseLost(WorkerError):
    """The message's visibility ran out: another worker may hold it, so this one stops."""


class Interrupted(WorkerError):
    """The worker drains: the job's finished windows are saved and its message released."""


class SettingsError(WorkerError):
    """A setting is wrong; the message names it, its value, its origin and what is allowed."""

    exit_code = ExitCode.SETTINGS


class MachineError(WorkerError):
    """The machine can't do what the settings ask (no GPU, a card that computes nonsense)."""

    exit_code = ExitCode.MACHINE


class EngineError(WorkerError):
    """The engine broke in a way that is no job's fault; the process should end (exit 1)."""

    exit_code = ExitCode.FAILURE
