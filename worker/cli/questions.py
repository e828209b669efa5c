"""What `check` asks: would `run`, with these settings, find all that it needs?

Nothing is changed, sent or fetched. Each question has an end (see `asking`).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING

from worker.cli.asking import Finding, Question, Verdict
from worker.cli.progress import size
from worker.errors import MachineError, SettingsError, TransientError
from worker.settings import DEFAULT, Settings
from worker.uris import S3Prefix

if TYPE_CHECKING:
    from worker.aws.clients import Clients
    from worker.aws.probes import QueueState

__all__ = ["aws_questions", "engine_questions"]

MOST_BUCKETS = 10
"""Of `allowed_buckets`, so many are asked."""

LOADING_SECONDS = 60.0
"""How long a model that tells speakers apart may take to be loaded, where the settings name one:
ten times what it takes on a quiet machine."""

_HUB_SECONDS = 3.0
"""How long each of two questions to the hub may take."""


def aws_questions(settings: Settings) -> list[Question]:
    """Credentials, queue, dead letters, output, inputs, and whether the machine may be ended."""
    if not (settings.queue_url or settings.output or settings.allowed_buckets):
        said = "neither queue_url nor a bucket is set; `transcribe` needs none"
        return [Question(("AWS",), lambda: [Finding("AWS", Verdict.NOT_ASKED, said)])]
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
    """The model, what times words, extras that are missing, and what tells speakers apart.

    torch must have been imported, if it is there.
    """
    # Two of the questions need it; threads that import a package at once may see it half-made.
    import huggingface_hub.hf_api  # noqa: F401

    return [
        Question(("model",), lambda: [_model(settings)]),
        Question(("word times",), lambda: [_word_times(settings)]),
        Question(("whisperx",), lambda: [_whisperx(settings)]),
        Question(("speakers",), lambda: [_speakers(settings)], seconds=2 * LOADING_SECONDS),
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

    def credentials(self) -> Sequence[Finding]:
        from worker.aws.probes import ask_credentials

        return [Finding("credentials", Verdict.OK, f"from {ask_credentials()}")]

    def queue(self) -> Sequence[Finding]:
        from worker.aws.probes import ask_queue

        url = self._settings.queue_url
        if url is None:
            said = "queue_url is not set"
            return [Finding(about, Verdict.NOT_ASKED, said) for about in ("queue", "dead letters")]
        named = self._settings.dead_letter_url
        try:
            found = ask_queue(self._clients().sqs, url, dead_letter_url=named)
        except (SettingsError, TransientError) as error:
            return [
                Finding("queue", Verdict.CANNOT, str(error)),
                Finding("dead letters", Verdict.NOT_ASKED, "the queue says where they go"),
            ]
        return [_about_queue(found, self._settings), self._dead_letters(found)]

    def _dead_letters(self, found: QueueState) -> Finding:
        from worker.aws.faults import Forbidden
        from worker.aws.probes import ask_queue
        from worker.daemon.preflight import queue_warnings

        warnings = " ".join(warning.message for warning in queue_warnings(found.info))
        url = found.info.dead_letter_url
        if url is None:
            return Finding("dead letters", Verdict.WARNING, warnings)
        receives = found.info.max_receive_count
        after = "" if receives is None else f", after {receives} receives at the latest"
        try:
            letters = ask_queue(self._clients().sqs, url).waiting
        except Forbidden as error:
            # All that the worker needs there is sqs:SendMessage.
            return Finding(
                "dead letters", Verdict.WARNING, f"not seen ({error}){after}. {warnings}"
            )
        except (SettingsError, TransientError) as error:
            return Finding("dead letters", Verdict.CANNOT, str(error))
        said = f"{letters} in {_name(url)}{after}. {warnings}".rstrip(". ")
        return Finding("dead letters", Verdict.WARNING if warnings else Verdict.OK, said)

    def output(self) -> Sequence[Finding]:
        if self._settings.output is None:
            said = "output is not set: s3://<input bucket>/transcripts/ of each job"
            return [Finding("output", Verdict.NOT_ASKED, said)]
        return [self._bucket("output", S3Prefix.parse(self._settings.output), read=False)]

    def inputs(self) -> list[Question]:
        """A question for each bucket that jobs may name."""
        buckets = self._settings.allowed_buckets[:MOST_BUCKETS]
        if not buckets:
            said = "allowed_buckets is not set: jobs may name any bucket"
            return [Question(("inputs",), lambda: [Finding("inputs", Verdict.NOT_ASKED, said)])]

        def ask(bucket: str) -> Sequence[Finding]:
            try:
                prefix = S3Prefix(bucket, "")
            except ValueError as error:
                return [Finding("inputs", Verdict.CANNOT, f"allowed_buckets: {error}")]
            return [self._bucket("inputs", prefix, read=True)]

        return [Question(("inputs",), partial(ask, bucket)) for bucket in buckets]

    def _bucket(self, about: str, prefix: S3Prefix, *, read: bool) -> Finding:
        from worker.aws.probes import ask_bucket

        key = ask_bucket(self._clients().s3, prefix, read=read)
        if not read:
            return Finding(about, Verdict.OK, f"{prefix} can be listed; writing is not tried")
        if key is None:
            return Finding(about, Verdict.OK, f"{prefix} can be listed, and is empty")
        return Finding(about, Verdict.OK, f"{prefix} can be listed, and an object in it read")

    def poweroff(self) -> Sequence[Finding]:
        from worker.aws.imds import Imds
        from worker.aws.instance import Instance

        try:
            Instance(Imds(), self._clients()).refuse_poweroff()
        except SettingsError as error:
            return [Finding("on_idle", Verdict.CANNOT, str(error))]
        except TransientError as error:
            return [
                Finding("on_idle", Verdict.WARNING, f"whether in a group is not known: {error}")
            ]
        return [Finding("on_idle", Verdict.OK, "no Auto Scaling group would replace this machine")]


def _about_queue(found: QueueState, settings: Settings) -> Finding:
    kind = "FIFO" if found.fifo else "standard"
    return Finding(
        "queue",
        Verdict.OK,
        f"{kind}, {found.waiting} waiting, {found.in_flight} in flight; hides a message for"
        f" {found.visibility_seconds} s, and for {settings.visibility_timeout} s where `run` asks",
    )


def _name(url: str) -> str:
    return url.rpartition("/")[2]


def _model(settings: Settings) -> Finding:
    from worker.speech.model.whereabouts import find

    try:
        found = find(settings.model, settings.model_dir)
    except (SettingsError, MachineError) as error:
        return Finding("model", Verdict.CANNOT, str(error))
    large = "" if found.bytes is None else f", {size(found.bytes)}"
    where = {
        "directory": f"{found.place}{large}",
        "packaged": f"{settings.model} comes with the extra `demo`{large}",
        "cache": f"{found.place}{large}",
        "hub": f"not here; {found.place} will be fetched from the hub{large}",
    }[found.kind]
    return Finding("model", Verdict.OK, where)


def _word_times(settings: Settings) -> Finding:
    from worker.speech.model.extras import FIX
    from worker.speech.packages import whisperx_installed

    chosen = settings.origin("word_times") != DEFAULT
    if settings.word_times != "aligned":
        said = f"word_times = {settings.word_times}: no alignment model is used"
        return Finding("word times", Verdict.NOT_ASKED, said)
    if whisperx_installed():
        return _alignment(chosen=chosen)
    said = f"from attention: alignment models need the extra whisperx ({FIX})"
    return Finding("word times", Verdict.WARNING if chosen else Verdict.OK, said)


def _alignment(*, chosen: bool) -> Finding:
    """Whether alignment models that aren't here can be fetched."""
    from worker.speech.fetch.hosts import NotFetched
    from worker.speech.words.align_models import hosts_out_of_reach

    verdict = Verdict.WARNING
    try:
        missing = hosts_out_of_reach()
    except NotFetched as error:
        # Whoever set that variable knows what it does; the result's words have times all the same.
        missing = [str(error)]
        verdict = Verdict.WARNING if chosen else Verdict.OK
    except LookupError as error:
        missing = [str(error)]
    if not missing:
        said = "aligned; a language's alignment model is fetched when first needed"
        return Finding("word times", Verdict.OK, said)
    said = (
        "aligned in languages whose alignment model is here, from attention in others: "
        + "; ".join(missing)
    )
    return Finding("word times", verdict, said)


def _whisperx(settings: Settings) -> Finding:
    """Whether what the settings ask for can be had, as `run` will judge it."""
    from worker.speech.model.extras import without_whisperx
    from worker.speech.packages import whisperx_installed

    if whisperx_installed():
        return Finding("whisperx", Verdict.OK, "the extra is installed")
    without_whisperx(settings.engine())
    return Finding("whisperx", Verdict.OK, "the extra is not installed, and no setting needs it")


def _speakers(settings: Settings) -> Finding:
    """Which model would tell speakers apart; one that the settings name is loaded."""
    from worker.speech.model.extras import SPEAKERS_FIX
    from worker.speech.speakers import choice
    from worker.speech.speakers.trial import try_to_load

    config = settings.engine()
    named = config.diarize_model != choice.AUTO
    try:
        chosen = choice.find_here(config)
        if chosen is None:
            return _speakers_from_hub(choice.to_fetch(config), named=named)
    except choice.NoModel as error:
        if named:
            said = f"diarize_model = {config.diarize_model!r} can't be used: {error}"
            return Finding("speakers", Verdict.CANNOT, said)
        said = f"jobs that ask for speakers would be refused: {error}"
        if isinstance(error, choice.NotInstalled):
            return Finding("speakers", Verdict.NOT_ASKED, f"{said} ({SPEAKERS_FIX})")
        return Finding("speakers", Verdict.WARNING, said)
    if chosen.kind == "packaged":
        return Finding("speakers", Verdict.OK, "the packaged models")
    if named:
        try_to_load(chosen, LOADING_SECONDS)
    return Finding("speakers", Verdict.OK, str(chosen.path))


def _speakers_from_hub(repositories: Sequence[str], *, named: bool) -> Finding:
    """Whether the hub has what isn't here."""
    from worker.speech.fetch import hub
    from worker.speech.fetch.hosts import NotFetched
    from worker.speech.speakers.folders import size as size_of

    when = "at the start" if named else "when a job first asks"
    names = " and ".join(repositories)
    try:
        sizes = [size_of(repository, _HUB_SECONDS) for repository in repositories]
    except (NotFetched, hub.Unsuitable) as error:
        verdict = Verdict.CANNOT if named else Verdict.WARNING
        return Finding("speakers", verdict, f"{names} is not here, and {error}")
    large = "" if None in sizes else f", {size(sum(filter(None, sizes)))}"
    said = f"not here; {names} will be fetched from the hub {when}{large}"
    return Finding("speakers", Verdict.OK, said)
