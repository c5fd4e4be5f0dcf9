"""SourceRunner: drives one Source, so that an author of a source writes three methods only.

Connecting, back-off, queueing, the drop policy, late messages, counting, acknowledging and
draining are here and nowhere else.
"""

import asyncio
import logging
import os
import random as random_module
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from app.config.connectors import OnFull
from app.errors import ConnectorRejected, EndOfStream, NotConnected
from app.interfaces import Clock, Received, Source
from app.pipeline.outcome import Outcome, OutcomeKind
from app.streams.backoff import BackOff
from app.streams.counts import StreamCounts
from app.streams.ordered_queue import OrderedQueue
from app.types import JsonValue, Message

logger = logging.getLogger(__name__)

Process: TypeAlias = Callable[[Message], Awaitable[Outcome]]
RunnerState: TypeAlias = Literal[
    "connecting", "running", "backing_off", "finished", "rejected", "stopped"
]

_LOG_LEVELS: Mapping[RunnerState, int] = {
    "running": logging.INFO,
    "backing_off": logging.WARNING,
    "finished": logging.INFO,
    "rejected": logging.ERROR,
    "stopped": logging.INFO,
}


def default_queue_depth() -> int:
    """Messages that may wait where a connector does not say: VU_PIPELINE_QUEUE_SIZE, or 512."""
    return int(os.environ.get("VU_PIPELINE_QUEUE_SIZE", "512"))


@dataclass(frozen=True, slots=True)
class RunnerStatus:
    """Where a runner stands. `since` is in Unix seconds; `reconnects` counts lost connections."""

    state: RunnerState
    since: float
    last_error: str | None
    reconnects: int
    queued: int
    ack_failures: int
    counts: Mapping[str, JsonValue]


class SourceRunner:
    """Reads one source into a bounded queue and has every message processed and acknowledged.

    `process` is the pipeline: it gets a message and says what became of it, and is expected not
    to raise; one that came undecodable (`Message.error`) too, so that it may go to the dead
    letters. Reasons counted here: late, queue_full, failed (`process` raised), shutdown.

    Used once: `run` until it returns, `drain` from another task to end it sooner.
    """

    def __init__(
        self,
        name: str,
        source: Source,
        process: Process,
        *,
        clock: Clock,
        max_queue_depth: int | None = None,
        on_full: OnFull = "drop_oldest",
        max_concurrency: int = 4,
        random: Callable[[], float] = random_module.random,
        counts: StreamCounts | None = None,
    ) -> None:
        self.name = name
        self.counts = StreamCounts() if counts is None else counts
        self._source = source
        self._process = process
        self._clock = clock
        self._on_full = on_full
        self._max_concurrency = max_concurrency
        self._backoff = BackOff(random)
        self._queue = OrderedQueue(
            default_queue_depth() if max_queue_depth is None else max_queue_depth
        )
        self._state: RunnerState = "connecting"
        self._since = clock.time()
        self._logged: RunnerState | None = None
        self._last_error: str | None = None
        self._connected_at: float | None = None
        self._reconnects = 0
        self._ack_failures = 0
        self._changed = asyncio.Event()
        self._reading_over = False
        self._reader: asyncio.Task[None] | None = None
        self._workers: list[asyncio.Task[None]] = []
        self._over = asyncio.Event()

    def status(self) -> RunnerStatus:
        return RunnerStatus(
            self._state,
            self._since,
            self._last_error,
            self._reconnects,
            len(self._queue),
            self._ack_failures,
            self.counts.snapshot(),
        )

    async def run(self) -> None:
        """Returns once the source is finished, rejected or drained and every message settled.

        When cancelled, it gives back what is not processed yet (`ack(False)`) and closes.
        """
        self._reader = asyncio.create_task(self._read_until_over())
        self._workers = [asyncio.create_task(self._work()) for _ in range(self._max_concurrency)]
        try:
            await asyncio.wait({self._reader})
            self._reading_over = True
            self._changed.set()
            await asyncio.wait(self._workers)
        finally:
            await self._end()

    async def drain(self, timeout: float) -> None:
        """Stop reading, process what was read, acknowledge, close.

        After `timeout` seconds the rest is given back to the transport with `ack(False)`.
        """
        if self._reader is None:
            return
        self._reader.cancel()
        timer = asyncio.ensure_future(self._clock.sleep(timeout))
        over = asyncio.create_task(self._over.wait())
        try:
            await asyncio.wait({timer, over}, return_when=asyncio.FIRST_COMPLETED)
            for worker in self._workers:
                worker.cancel()
            await over
        finally:
            timer.cancel()
            over.cancel()

    async def _end(self) -> None:
        tasks = [task for task in (self._reader, *self._workers) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        while (received := self._queue.pop_oldest()) is not None:
            await self._settle(received, "dropped", "shutdown", accepted=False)
        await self._close()
        if self._state not in ("finished", "rejected"):
            self._enter("stopped")
        self._over.set()

    async def _read_until_over(self) -> None:
        while (pause := await self._read_until_broken()) is not None:
            await self._close()
            await self._clock.sleep(pause)

    async def _read_until_broken(self) -> float | None:
        """One connection from start to end; seconds to wait for the next one, None for no other."""
        try:
            await self._connect()
            while True:
                await self._read_one()
        except EndOfStream:
            self._enter("finished")
            return None
        except ConnectorRejected as error:
            self._enter("rejected", error)
            return None
        except NotConnected as error:
            return max(error.retry_after, self._broken(error))
        except Exception as error:
            # A fault of the source itself must not end the stream: it may work again.
            if self._logged != "backing_off":
                logger.exception("connector %r failed in an unforeseen way", self.name)
            return self._broken(error)

    async def _connect(self) -> None:
        self._enter("connecting")
        await self._source.connect()
        self._connected_at = self._clock.monotonic()
        self._enter("running")

    async def _read_one(self) -> None:
        if self._on_full == "block":
            while self._queue.full:
                await self._wait_for_change()
        await self._accept(await self._source.read())
        # A source that never waits must not keep the event loop from everyone else.
        await asyncio.sleep(0)

    def _broken(self, error: Exception) -> float:
        """Note that the connection broke, or was not made; returns the back-off in seconds."""
        lasted = 0.0
        if self._connected_at is not None:
            lasted = self._clock.monotonic() - self._connected_at
            self._reconnects += 1
        self._connected_at = None
        self._enter("backing_off", error)
        return self._backoff.after(lasted)

    async def _accept(self, received: Received) -> None:
        message = received.message
        self.counts.capture(message.source)
        rejected: Received | None = None
        if self._queue.full and self._on_full == "drop_newest":
            rejected = received
        else:
            if self._queue.full:
                rejected = self._queue.pop_oldest()
            self._queue.put(received)
            self._changed.set()
        if rejected is not None:
            await self._settle(rejected, "dropped", "queue_full", accepted=True)

    async def _work(self) -> None:
        while True:
            received = self._queue.take()
            if received is not None:
                try:
                    await self._handle(received)
                finally:
                    self._queue.done(received.message.source)
                    self._changed.set()
            elif self._reading_over and not len(self._queue):
                return
            else:
                await self._wait_for_change()

    async def _wait_for_change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    async def _handle(self, received: Received) -> None:
        try:
            kind, reason = await self._outcome(received.message)
        except asyncio.CancelledError:
            await self._settle(received, "dropped", "shutdown", accepted=False)
            raise
        await self._settle(received, kind, reason, accepted=True)

    async def _outcome(self, message: Message) -> tuple[OutcomeKind, str | None]:
        if message.deadline is not None and self._clock.monotonic() >= message.deadline:
            return "dropped", "late"
        try:
            outcome = await self._process(message)
        except Exception:
            # The pipeline answers for its nodes; whatever gets here is a fault of Manta's own.
            logger.exception("connector %r: the pipeline raised", self.name)
            return "dropped", "failed"
        return outcome.kind, outcome.reason

    async def _settle(
        self, received: Received, kind: OutcomeKind, reason: str | None, *, accepted: bool
    ) -> None:
        self.counts.settle(received.message.source, kind, reason)
        try:
            await received.ack(accepted)
        except Exception as error:  # noqa: BLE001 - whatever it is, the stream goes on
            # The transport delivers the message again; that is all there is to do about it.
            self._ack_failures += 1
            if self._ack_failures == 1:
                logger.warning("connector %r: cannot acknowledge: %s", self.name, error)

    async def _close(self) -> None:
        try:
            await self._source.close()
        except Exception:
            logger.exception("connector %r: close failed", self.name)

    def _enter(self, state: RunnerState, error: Exception | None = None) -> None:
        if error is not None:
            self._last_error = str(error) or type(error).__name__
        if state != self._state:
            self._state = state
            self._since = self._clock.time()
        # Not "connecting": a device that stays away would otherwise give two lines an attempt.
        if state != self._logged and state in _LOG_LEVELS:
            self._logged = state
            detail = f": {self._last_error}" if error is not None else ""
            logger.log(_LOG_LEVELS[state], "connector %r is %s%s", self.name, state, detail)
