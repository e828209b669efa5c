"""What the text thread does: read what came of a batch, and hand it on, while the next is decoded.

Word times, checks of texts and the ends of files take a few hundredths of a second for a batch of
full windows and more for one of short windows: on a fast card, up to an eighth of its time. So the
device does not wait for that. See `batcher.Batcher.next_batch` for what may go before it is done.
"""

from __future__ import annotations

from worker.speech.engine.flow import Flow
from worker.speech.engine.shared import Shared
from worker.speech.model.decoding import Decoded
from worker.speech.model.reading import read_words

__all__ = ["TextLoop"]


class TextLoop:
    """See the module. One thread calls `run`.

    Args:
        shared: the state of the engine.
        flow: takes the texts.
    """

    def __init__(self, shared: Shared, flow: Flow) -> None:
        self._shared = shared
        self._flow = flow

    def run(self) -> None:
        """Read until the engine stops."""
        while self._wait():
            self.read()

    def read(self) -> None:
        """Read the texts of the batch that came back first, and do what follows."""
        shared = self._shared
        with shared.changed:
            batch = shared.unread[0]
        outcomes = [
            (item, read_words(outcome) if isinstance(outcome, Decoded) else outcome)
            for item, outcome in batch.outcomes
        ]
        with shared.changed:
            shared.unread.popleft()
            for item in batch.items:
                shared.flying.remove(item)
            shared.step()
            for item, outcome in outcomes:
                self._flow.decoded(item, outcome, batch.share)
            self._flow.drop_looks()
            shared.changed.notify_all()

    def _wait(self) -> bool:
        """Waits for a batch; False once the engine stops."""
        shared = self._shared
        with shared.changed:
            while not (shared.stopping or shared.unread):
                shared.changed.wait()
            return not shared.stopping
