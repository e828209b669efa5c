"""What a device thread does: take the next batch, decode it, leave what came of it, again.

There is one such thread for each lane: one on a card, one or more on a CPU. No other thread calls
the model once the engine runs. Texts are read by another thread (`text_loop`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from worker.logs import get_logger
from worker.speech.engine.batcher import Batch, Item, Key
from worker.speech.engine.decoder import Decoder
from worker.speech.engine.flow import Flow
from worker.speech.engine.inflow import Inflow
from worker.speech.engine.shared import DecodedBatch, Shared
from worker.speech.model.choices import Device
from worker.speech.model.decoding import Request

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Flight:
    """A batch that is in flight.

    Attributes:
        batch: the windows.
        requests: what is asked for each of them whose file is not gone.
    """

    batch: Batch
    requests: Sequence[tuple[Item, Request]]


class DeviceLoop:
    """See the module. `run` may be called on several threads at a time.

    Args:
        device: what it is.
        lanes: how many share it.
        decoder: calls the model.
        shared: the state of the engine.
        flow: knows what to decode for a window.
        inflow: knows whether a batch may wait for more windows.
    """

    def __init__(
        self,
        device: Device,
        lanes: int,
        decoder: Decoder,
        shared: Shared,
        flow: Flow,
        inflow: Inflow,
    ) -> None:
        self._lanes = lanes
        self._kind = "GPU" if device.is_card else "CPU"
        self._decoder = decoder
        self._shared = shared
        self._flow = flow
        self._inflow = inflow

    def run(self) -> None:
        """Decode until the engine stops.

        Raises:
            EngineError: the device is broken.
        """
        while (flight := self._wait()) is not None:
            self.decode(flight)
            del flight  # with its sounds, which nobody needs while this waits for the next

    def take(self) -> Flight | None:
        """The batch that goes now, which is in flight from then on; None if none does."""
        shared = self._shared
        with shared.changed:
            if len(shared.unread) > self._lanes:
                return None  # the text thread is behind
            batch = shared.batcher.next_batch(
                shared.clock(),
                self._capacity,
                expecting=self._inflow.expecting(),
                flying=shared.flying,
                ahead=bool(shared.unread),
            )
            if batch is None:
                return None
            shared.flying += batch.items
            # Under the same lock: a window that neither waits nor is begun could be chosen again.
            return Flight(batch, self._requests(batch.items))

    def decode(self, flight: Flight) -> None:
        """Decode a batch that is in flight, and leave what came of it to be read.

        Raises:
            EngineError: the device is broken.
        """
        shared, batch = self._shared, flight.batch
        began = shared.clock()
        outcomes = self._decoder.decode(
            flight.requests,
            positions=batch.key.positions,
            prompt=batch.key.prompt_length,
            temperature=batch.key.temperature,
        )
        seconds = shared.clock() - began
        self._log(batch, seconds)
        share = seconds / len(batch.items) / self._lanes
        with shared.changed:
            shared.step()
            self._count(batch, seconds)
            shared.unread.append(DecodedBatch(batch.items, outcomes, share))
            shared.changed.notify_all()

    def _wait(self) -> Flight | None:
        """Waits for a batch; None once the engine stops."""
        shared = self._shared
        with shared.changed:
            while not shared.stopping:
                if (flight := self.take()) is not None:
                    return flight
                # Of texts that are being read, the text thread tells.
                unread = bool(shared.unread)
                shared.changed.wait(None if unread else shared.batcher.wait_seconds(shared.clock()))
            return None

    def _capacity(self, key: Key) -> int:
        return self._decoder.capacity(key.positions, key.prompt_length, key.temperature)

    def _requests(self, items: Sequence[Item]) -> list[tuple[Item, Request]]:
        pairs = [(item, self._flow.request(item)) for item in items]
        return [(item, request) for item, request in pairs if request is not None]

    def _count(self, batch: Batch, seconds: float) -> None:
        stats = self._shared.stats
        stats.batches += 1
        stats.windows += len(batch.items)
        stats.batch_slots += batch.capacity
        stats.busy_seconds += seconds / self._lanes

    def _log(self, batch: Batch, seconds: float) -> None:
        log.info(
            "batch.completed",
            message=f"{self._kind} batch processing completed",
            windows=len(batch.items),
            capacity=batch.capacity,
            jobs=len({item.job for item in batch.items}),
            audio_seconds=round(sum(item.seconds for item in batch.items), 2),
            seconds=round(seconds, 3),
            positions=batch.key.positions,
            temperature=batch.key.temperature,
            prompt_tokens=batch.key.prompt_length,
        )
