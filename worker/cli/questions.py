"""What `check` asks: would `run`, with these settings, find all that it needs?

Nothing is changed, sent or fetched. Each question has an end (see `asking`).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING

from worker.cli.asking import Answer, Question, State
from worker.errors import MachineError, SettingsError, TransientError
from worker.settings import Settings
from worker.uris import S3Prefix

if TYPE_CHECKING:
    from worker.aws.clients import Clients
    from worker.aws.probes import QueueState

__all__ = ["aws_questions", "engine_questions"]

MOST_BUCKETS = 10
"""Of `allowed_buckets`, so many are asked."""

_ALIGNMENT = ("torch", "torchaudio", "whisperx", "transformers")
"""Packages that alignment models need."""


def aws_questions(settings: Settings) -> list[Question]:
    """Credentials, queue, dead letters, output, inputs, and whether the machine may be ended."""
    if not (settings.queue_url or settings.output or settings.allowed_buckets):
        said = "neither queue_url nor a bucket is set; `transcribe` needs none"
        return [Question(("AWS",), lambda: [Answer("AWS", State.NOT_ASKED, said)])]
    aws = _Aws(settings)
    asked = [
        Question(("credentials",), aws.credentials),
        Question(("queue", "dead letters"), aws.queue),
        Question(("output",), aws.output),
        *aws.inputs(),
    ]
    if settings.on_idle == "poweroff":
        asked.append(Question(("on_idle",), aws.poweroff))
    return asked


def engine_questions(settings: Settings) -> list[Question]:
    """The model, and what times words. torch must have been imported, if it is there."""
    return [
        Question(("model",), lambda: [_model(settings)]),
        Question(("word times",), lambda: [_word_times(settings)]),
    ]


class _Aws:
    """The questions to AWS; each is asked on a thread of its own."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.RLock()

    @cached_property
    def _made(self) -> Clients:
        from worker.aws.clients import make_clients

        return make_clients(queue_url=self._settings.queue_url, patient=False)

    def _clients(self) -> Clients:
        """Made on the first thread that needs them: looking for credentials may take a second."""
        with self._lock:
            return self._made

    def credentials(self) -> Sequence[Answer]:
        import boto3
        from botocore.exceptions import NoCredentialsError

        from worker.aws.probes import remedy

        found = boto3.Session().get_credentials()
        if found is None:
            advice = remedy(NoCredentialsError())
            return [Answer("credentials", State.CANNOT, f"none found: {advice}")]
        return [Answer("credentials", State.OK, f"from {found.method}")]

    def queue(self) -> Sequence[Answer]:
        from worker.aws.probes import look_at_queue, remedy

        url = self._settings.queue_url
        if url is None:
            said = "queue_url is not set"
            return [Answer(about, State.NOT_ASKED, said) for about in ("queue", "dead letters")]
        named = self._settings.dead_letter_url
        try:
            found = look_at_queue(self._clients().sqs, url, dead_letter_url=named)
        except SettingsError as error:
            answer = Answer("queue", State.CANNOT, str(error))
        except TransientError as error:
            advice = remedy(error.__cause__ or error)
            answer = Answer("queue", State.CANNOT, f"{error}: {advice}")
        else:
            return [_about_queue(found, self._settings), self._dead_letters(found)]
        return [answer, Answer("dead letters", State.NOT_ASKED, "the queue says where they go")]

    def _dead_letters(self, found: QueueState) -> Answer:
        from worker.aws.faults import Fault, classify
        from worker.aws.probes import look_at_queue, remedy
        from worker.daemon.preflight import queue_warnings

        warnings = " ".join(warning.message for warning in queue_warnings(found.info))
        url = found.info.dead_letter_url
        if url is None:
            return Answer("dead letters", State.WARNING, warnings)
        receives = found.info.max_receive_count
        after = "" if receives is None else f", after {receives} receives at the latest"
        try:
            letters = look_at_queue(self._clients().sqs, url).waiting
        except SettingsError as error:
            if classify(error.__cause__ or error) is not Fault.FORBIDDEN:
                return Answer("dead letters", State.CANNOT, str(error))
            # All that the worker needs there is sqs:SendMessage.
            return Answer("dead letters", State.WARNING, f"not seen ({error}){after}. {warnings}")
        except TransientError as error:
            advice = remedy(error.__cause__ or error)
            return Answer("dead letters", State.CANNOT, f"{error}: {advice}")
        said = f"{letters} in {_name(url)}{after}. {warnings}".rstrip(". ")
        return Answer("dead letters", State.WARNING if warnings else State.OK, said)

    def output(self) -> Sequence[Answer]:
        if self._settings.output is None:
            said = "output is not set: s3://<input bucket>/transcripts/ of each job"
            return [Answer("output", State.NOT_ASKED, said)]
        return [self._bucket("output", S3Prefix.parse(self._settings.output), read=False)]

    def inputs(self) -> list[Question]:
        """A question for each bucket that jobs may name."""
        buckets = self._settings.allowed_buckets[:MOST_BUCKETS]
        if not buckets:
            said = "allowed_buckets is not set: jobs may name any bucket"
            return [Question(("inputs",), lambda: [Answer("inputs", State.NOT_ASKED, said)])]

        def ask(bucket: str) -> Sequence[Answer]:
            try:
                prefix = S3Prefix(bucket, "")
            except ValueError as error:
                return [Answer("inputs", State.CANNOT, f"allowed_buckets: {error}")]
            return [self._bucket("inputs", prefix, read=True)]

        return [Question(("inputs",), partial(ask, bucket)) for bucket in buckets]

    def _bucket(self, about: str, prefix: S3Prefix, *, read: bool) -> Answer:
        from worker.aws.faults import AWS_ERRORS, describe
        from worker.aws.probes import look_at_bucket, remedy

        try:
            key = look_at_bucket(self._clients().s3, prefix, read=read)
        except AWS_ERRORS as error:
            return Answer(about, State.CANNOT, f"{prefix}: {describe(error)}: {remedy(error)}")
        if not read:
            return Answer(about, State.OK, f"{prefix} can be listed; writing is not tried")
        if key is None:
            return Answer(about, State.OK, f"{prefix} can be listed, and is empty")
        return Answer(about, State.OK, f"{prefix} can be listed, and an object in it read")

    def poweroff(self) -> Sequence[Answer]:
        from worker.aws.imds import Imds
        from worker.aws.instance import Instance

        try:
            Instance(Imds(), self._clients()).refuse_poweroff()
        except SettingsError as error:
            return [Answer("on_idle", State.CANNOT, str(error))]
        except TransientError as error:
            return [Answer("on_idle", State.WARNING, f"whether in a group is not known: {error}")]
        return [Answer("on_idle", State.OK, "no Auto Scaling group would replace this machine")]


def _about_queue(found: QueueState, settings: Settings) -> Answer:
    kind = "FIFO" if found.fifo else "standard"
    return Answer(
        "queue",
        State.OK,
        f"{kind}, {found.waiting} waiting, {found.in_flight} in flight; hides a message for"
        f" {found.visibility_seconds} s, and for {settings.visibility_timeout} s where `run` asks",
    )


def _name(url: str) -> str:
    return url.rpartition("/")[2]


def _model(settings: Settings) -> Answer:
    from worker.speech.model.whereabouts import find

    try:
        found = find(settings.model, settings.model_dir)
    except (SettingsError, MachineError) as error:
        return Answer("model", State.CANNOT, str(error))
    size = "" if found.bytes is None else f", {_bytes(found.bytes)}"
    where = {
        "directory": f"{found.place}{size}",
        "packaged": f"{settings.model} comes with the extra `demo`{size}",
        "cache": f"{found.place}{size}",
        "hub": f"not here; {found.place} will be fetched from the hub{size}",
    }[found.kind]
    return Answer("model", State.OK, where)


def _bytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def _word_times(settings: Settings) -> Answer:
    from worker.speech.packages import package_folders

    if settings.word_times != "aligned":
        said = f"word_times = {settings.word_times}: no alignment model is used"
        return Answer("word times", State.NOT_ASKED, said)
    missing = [name for name in _ALIGNMENT if not package_folders(name)]
    if missing:
        said = f"{', '.join(missing)} not installed: words get their times from attention"
        return Answer("word times", State.WARNING, said)
    said = "torch and whisperx are here; a language's alignment model is fetched when first needed"
    return Answer("word times", State.OK, said)
