"""A source: a queue that messages come from, with its leases and its dead letters.

Every held message carries its source. Deleting it, releasing it, copying it to the dead-letter
queue and dropping its lease all go through the source, so the code that does so works for any
number of queues.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.aws.dead_letter import DeadLetters
from worker.aws.lease import Lease, LeaseTable
from worker.aws.queue import Message, Queue

if TYPE_CHECKING:
    from worker.aws.clients import Clients

__all__ = ["Source", "make_source"]


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """One queue, its dead letters and its leases. Callable from any thread.

    Attributes:
        queue: where messages are received.
        dead_letters: copies messages that fail for good.
        leases: of the messages held; a heartbeat of their own keeps them.
    """

    queue: Queue
    dead_letters: DeadLetters
    leases: LeaseTable

    @property
    def max_receive_count(self) -> int | None:
        """How often the queue's redrive policy lets a message be received; None without one.

        The queue is asked once and the answer remembered (`Queue.describe`).

        Raises:
            SettingsError: there is no such queue, or we may not ask.
            TransientError: no usable answer.
        """
        return self.queue.describe().max_receive_count

    def hold(self, message: Message) -> Lease:
        """Hold a message that was just received (`LeaseTable.add`)."""
        return self.leases.add(message)

    def drop(self, message: Message) -> None:
        """Drop a message's lease; do it before deleting or releasing it (`LeaseTable.drop`)."""
        self.leases.drop(message)

    def delete(self, messages: Sequence[Message]) -> list[Message]:
        """Delete messages; returns those that could not be deleted (`Queue.delete`)."""
        return self.queue.delete(messages)

    def release(self, messages: Sequence[Message], delay_seconds: int = 0) -> None:
        """Make messages visible again after `delay_seconds` (`Queue.release`)."""
        self.queue.release(messages, delay_seconds)

    def dead_letter(self, message: Message, *, job_id: str | None, code: str, reason: str) -> bool:
        """Copy a failed message (`DeadLetters.send`). Raises TransientError."""
        return self.dead_letters.send(message, job_id=job_id, code=code, reason=reason)


def make_source(
    clients: Clients, url: str, *, visibility_timeout: int, dead_letter_url: str | None = None
) -> Source:
    """Make the source of the queue at `url`. Makes no request.

    Args:
        clients: boto3 clients.
        url: the queue's.
        visibility_timeout: seconds for which a receive or a heartbeat hides a message.
        dead_letter_url: instead of the one in the queue's redrive policy.
    """
    queue = Queue(
        clients.sqs,
        url,
        visibility_timeout=visibility_timeout,
        dead_letter_url=dead_letter_url,
        poll_client=clients.sqs_poll,
    )
    return Source(queue, DeadLetters(clients.sqs, queue), LeaseTable(visibility_timeout))
