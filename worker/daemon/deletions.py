"""Deletes messages whose jobs are all answered: those that wait go together, in one request.

The deletion is a task of the commit threads, behind the results that wait to be written. Where none
waits it is done at once. In a rush of results, as when a batch of short files is done, the messages
that are settled meanwhile go with it. Until then a message is held, and its lease is kept.
"""

from __future__ import annotations

import threading

from worker.aws.source import Source
from worker.aws.sqs import MESSAGES_PER_CALL
from worker.pipeline.holdings import Holdings
from worker.pipeline.task import Held
from worker.threads import ThreadPool

__all__ = ["Deletions"]


class Deletions:
    """The messages that wait for their deletion. Callable from any thread.

    Args:
        holdings: forgets each message once it is deleted.
        threads: which delete.
    """

    def __init__(self, holdings: Holdings, threads: ThreadPool) -> None:
        self._holdings = holdings
        self._threads = threads
        self._lock = threading.Lock()
        self._waiting: dict[Source, list[Held]] = {}

    def put(self, held: Held) -> None:
        """Have a message deleted, soon."""
        with self._lock:
            waiting = self._waiting.setdefault(held.source, [])
            waiting.append(held)
            # Each task takes ten at most, so the first of ten brings the task for all of them.
            begins = len(waiting) % MESSAGES_PER_CALL == 1
        if begins:
            self._threads.put(lambda: self._delete(held.source))

    def _delete(self, source: Source) -> None:
        with self._lock:
            waiting = self._waiting.pop(source)
            batch, rest = waiting[:MESSAGES_PER_CALL], waiting[MESSAGES_PER_CALL:]
            if rest:
                self._waiting[source] = rest
        # The leases go first: a heartbeat may not extend what is being deleted.
        for held in batch:
            source.drop(held.message)
        source.delete([held.message for held in batch])
        for held in batch:
            self._holdings.remove(held)
