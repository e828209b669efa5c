"""Checks before the first job: do the queue, the instance and the model fit the settings?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from worker.aws.instance import Instance
from worker.aws.queue import Queue, QueueInfo
from worker.daemon import policy
from worker.errors import JobError, SettingsError, TransientError
from worker.logs import get_logger
from worker.speech.api import Options, Transcriber

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class QueueWarning:
    """What about a queue would lose jobs: the event, the sentence and the fields of its line."""

    event: str
    message: str
    fields: Mapping[str, object] = field(default_factory=dict)


def queue_warnings(info: QueueInfo) -> list[QueueWarning]:
    """What is to be warned of in a queue's redrive policy (pure)."""
    found = []
    if info.dead_letter_url is None:
        found.append(
            QueueWarning(
                "queue.no_dead_letter_queue",
                "The queue has no dead-letter queue: a message that can't be read, and "
                "has no place for an error.json, will come again and again",
            )
        )
    if info.max_receive_count is not None and info.max_receive_count < policy.ENOUGH_RECEIVES:
        found.append(
            QueueWarning(
                "queue.few_receives",
                f"maxReceiveCount is {info.max_receive_count}: interruptions count as "
                f"receives, so set it to {policy.ENOUGH_RECEIVES} or more",
                {"max_receive_count": info.max_receive_count},
            )
        )
    return found


def check_queue(queue: Queue) -> None:
    """Ask the queue for its redrive policy, and warn of one that would lose jobs.

    Raises:
        SettingsError: there is no such queue, or we may not ask.
        TransientError: no usable answer.
    """
    for warning in queue_warnings(queue.describe()):
        log.warning(warning.event, message=warning.message, **warning.fields)


def check_poweroff(instance: Instance) -> None:
    """Refuse to switch machines off in an Auto Scaling group. Raises SettingsError."""
    try:
        instance.refuse_poweroff()
    except TransientError as error:
        log.warning("instance.group_unknown", message=f"Not checked before the end: {error}")


def check_options(engine: Transcriber, options: Options) -> None:
    """Refuse what no job could be given: each would fail for good.

    Args:
        engine: started.
        options: what jobs get that don't say.

    Raises:
        SettingsError: the model can't do it.
    """
    try:
        engine.check(options)
    except JobError as error:
        raise SettingsError(error.message) from error
