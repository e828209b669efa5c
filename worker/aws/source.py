"""Sources: each queue that messages come from, with what belongs to it.

A held message carries its source, so that whatever ends it (a delete, a release, a dead
letter, a lost lease) goes to the queue it came from, however many queues there are.
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
        dead_letters: where copies of those that fail for good are kept.
        leases: those held, kept by a heartbeat of their own.
    """

    queue: Queue
    dead_letters: DeadLetters
    leases: LeaseTable

    @property
    def max_receive_count(self) -> int | None:
        """Deliveries that the queue's redrive policy allows; None without one.

        Answered from memory once the queue has been described, as the worker does at its start.

        Raises:
            SettingsError: there is no such queue, or we may not ask.
            TransientError: no usable answer.
        """
        return self.queue.describe().max_receive_count

    def hold(self, message: Message) -> Lease:
        """Keep the lease of a message that was just received."""
        return self.leases.add(message)

    def drop(self, message: Message) -> None:
        """Stop keeping the lease: always before the message is deleted or released."""
        self.leases.drop(message)

    def delete(self, messages: Sequence[Message]) -> list[Message]:
        """Delete answered messages; returns those that will come again (`Queue.delete`)."""
        return self.queue.delete(messages)

    def release(self, messages: Sequence[Message], delay_seconds: int = 0) -> None:
        """Make messages visible again after `delay_seconds` (`Queue.release`)."""
        self.queue.release(messages, delay_seconds)

    def dead_letter(self, message: Message, *, job_id: str | None, code: str, reason: str) -> bool:
        """Keep a copy of a failed message (`DeadLetters.send`). Raises TransientError."""
        return self.dead_letters.send(message, job_id=job_id, code=code, reason=reason)


def make_source(
    clients: Clients, url: str, *, visibility_timeout: int, dead_letter_url: str | None = None
) -> Source:
    """A source for the queue at `url`. Asks nobody anything yet.

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
