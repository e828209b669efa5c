"""Checks before the first job: do the queue, the instance and the model fit the settings?"""

from __future__ import annotations

from worker.aws.instance import Instance
from worker.aws.queue import Queue
from worker.daemon import policy
from worker.errors import JobError, SettingsError, TransientError
from worker.logs import get_logger
from worker.speech.api import Options, Transcriber

log = get_logger(__name__)


def check_queue(queue: Queue) -> None:
    """Ask the queue for its redrive policy, and warn of one that would lose jobs.

    Raises:
        SettingsError: there is no such queue, or we may not ask.
        TransientError: no usable answer.
    """
    info = queue.describe()
    if info.dead_letter_url is None:
        log.warning(
            "queue.no_dead_letter_queue",
            message="The queue has no dead-letter queue: a message that can't be read, and "
            "has no place for an error.json, will come again and again",
        )
    if info.max_receive_count is not None and info.max_receive_count < policy.ENOUGH_RECEIVES:
        log.warning(
            "queue.few_receives",
            message=f"maxReceiveCount is {info.max_receive_count}: interruptions count as "
            f"receives, so set it to {policy.ENOUGH_RECEIVES} or more",
            max_receive_count=info.max_receive_count,
        )


def check_poweroff(instance: Instance) -> None:
    """Refuse to switch machines off in an Auto Scaling group. Raises SettingsError."""
    try:
        group = instance.group()
    except TransientError as error:
        log.warning("instance.group_unknown", message=f"Not checked before the end: {error}")
        return
    if group is not None:
        raise SettingsError(
            f"on_idle = 'poweroff' in the Auto Scaling group {group!r}: the group would only "
            "replace the machine; use on_idle = 'terminate'"
        )


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
