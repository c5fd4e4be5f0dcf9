"""DynamicBatcher: turns single requests into batches for one executor or several.

A batch is formed when an executor becomes free, not before, so it holds everything that arrived
while the previous one ran. Earliest deadline first. See docs/adr/0002-own-batcher.md.
"""

import asyncio
import heapq
import itertools
import time
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

from app.batching.cost_curve import CostCurve, CostCurves
from app.batching.stats import BatchStats
from app.errors import DeadlineExceeded, InferenceFailed, ModelNotReady, QueueFull, ServingError

PayloadT = TypeVar("PayloadT")
ResultT = TypeVar("ResultT")

PUNCTUALITY = 0.8
"""The share of a request's time that is planned with: its answer still has a way to go."""

WAITING = 0.5
"""The share of a request's time that it may be expected to wait for others. A queue as long as the
deadline allows would serve no more requests, but each of them at the last moment, one at a time."""

INSTANT_SECONDS = 0.0001
"""Queueing a request, waking the executor and waking the caller cost about as much as this."""

HURRY = 10
"""A request with less time left than so many runs take is in a hurry: see `spare`."""

ALONE = 15
"""After a request that nobody joined in the queue, so many that follow it are not queued. The next
one is, to see whether requests now come together and a run for several pays."""


@dataclass(eq=False, slots=True)
class _Entry(Generic[PayloadT, ResultT]):
    payload: PayloadT
    key: Hashable
    rows: int
    deadline: float | None
    goal: float | None
    arrived: float
    future: "asyncio.Future[ResultT]"
    timer: asyncio.TimerHandle | None = None
    taken: bool = False


class DynamicBatcher(Generic[PayloadT, ResultT]):
    """Batches for `executors` that run one batch each at a time.

    `spare` more of them run only while nobody waits in a hurry: with more runs at once than there
    are processors, one is ready when another ends, but each takes longer.

    `run` gets payloads that all share one key and returns one result for each, in order. If it
    raises, the batch is run again in halves until only the guilty request fails; a ServingError is
    taken to concern all of them and is not retried. `run_now` runs one payload without waiting; it
    is used where requests come one by one and the run is known to take less than INSTANT_SECONDS.
    `max_rows` is the largest batch, in rows; `max_waiting` bounds the queue, in requests.
    `monotonic` must be the event loop's own clock.
    """

    def __init__(
        self,
        run: Callable[[Sequence[PayloadT]], Awaitable[Sequence[ResultT]]],
        *,
        max_rows: int,
        max_waiting: int,
        executors: int = 1,
        spare: int = 0,
        run_now: Callable[[PayloadT], ResultT] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._run = run
        self._run_now = run_now
        self._max_rows = max(1, max_rows)
        self._max_waiting = max_waiting
        self._executors = executors
        self._spare = spare
        self._monotonic = monotonic
        self._queues: dict[Hashable, list[tuple[float, int, _Entry[PayloadT, ResultT]]]] = {}
        self._order = itertools.count()
        self._curves = CostCurves()
        self._waiting = 0
        self._waiting_rows = 0
        self._alone = 0  # how many more requests need not wait for company
        self._running: dict[asyncio.Task[None], float] = {}  # when each is expected to end
        self._start_scheduled = False
        self._closed = False
        self.stats = BatchStats()

    @property
    def waiting(self) -> int:
        """Requests that are queued and not running."""
        return self._waiting

    def curve(self, key: Hashable) -> CostCurve:
        """What runs with this key cost."""
        return self._curves.of(key)

    def admit(self, deadline: float) -> None:
        """Raises what `submit` would for any request with this deadline, and counts it.

        Where an executor is idle none is refused here, and where the keys cost differently, only a
        full queue is known to refuse all of them.
        """
        if self._is_idle():
            return
        now = self._monotonic()
        only = self._curves.only_key()
        if only is not None and self._is_hopeless(self.curve(only[0]), now, deadline):
            self.stats.submitted += 1
            raise self._too_late()
        if self._waiting >= self._max_waiting:
            self.stats.submitted += 1
            raise self._full()

    async def submit(
        self, payload: PayloadT, *, key: Hashable, rows: int = 1, deadline: float | None = None
    ) -> ResultT:
        """Queue one request and wait for its result.

        Only requests with equal `key` share a batch. Raises QueueFull when shed, DeadlineExceeded
        when the deadline can not be met or passes, while it runs too, ModelNotReady once closed,
        and whatever `run` raised for this request. Cancelling the caller takes the request out of
        the queue.
        """
        self.stats.submitted += 1
        if self._closed:
            self.stats.failed += 1
            raise ModelNotReady("the model is being unloaded")
        now = self._monotonic()
        curve = self.curve(key)
        goal = now + (deadline - now) * PUNCTUALITY if deadline is not None else None
        if deadline is not None and self._is_hopeless(curve, now, deadline):
            raise self._too_late()
        if self._alone and self._run_now is not None and self._is_instant(curve, rows):
            self._alone -= 1
            return self._at_once(self._run_now, payload, curve, rows, now)
        if self._waiting >= self._max_waiting:
            raise self._full()
        future: asyncio.Future[ResultT] = asyncio.get_running_loop().create_future()
        entry = _Entry(payload, key, rows, deadline, goal, now, future)
        self._enqueue(entry)
        try:
            return await future
        except asyncio.CancelledError:
            self._abandon(entry)
            raise

    def _is_idle(self) -> bool:
        """Whether a request that came now would be run at once."""
        return not self._waiting and len(self._running) < self._executors

    def _is_instant(self, curve: CostCurve, rows: int) -> bool:
        return self._is_idle() and 0.0 < curve.estimate(rows) < INSTANT_SECONDS

    def _at_once(
        self,
        run_now: Callable[[PayloadT], ResultT],
        payload: PayloadT,
        curve: CostCurve,
        rows: int,
        started: float,
    ) -> ResultT:
        try:
            result = run_now(payload)
        except Exception:
            self.stats.failed += 1
            raise
        self._record(curve, rows, self._monotonic() - started)
        self.stats.succeeded += 1
        return result

    async def drain(self) -> None:
        """Return once nothing waits or runs. It is the caller who sends no more."""
        while self._waiting or self._running:
            if self._running:
                await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
            else:
                await asyncio.sleep(0)

    async def close(self) -> None:
        """Refuse new requests, fail what waits with ModelNotReady, and wait for what runs."""
        self._closed = True
        for queue in list(self._queues.values()):
            for _, _, entry in queue:
                if not entry.future.done():
                    self._leave(entry)
                    self._fail(entry, ModelNotReady("the model is being unloaded"))
        self._queues.clear()
        if self._running:
            await asyncio.wait(self._running)

    def _enqueue(self, entry: _Entry[PayloadT, ResultT]) -> None:
        if entry.goal is not None:
            loop = asyncio.get_running_loop()
            patience = entry.goal - self.curve(entry.key).estimate(entry.rows) - entry.arrived
            entry.timer = loop.call_later(max(0.0, patience), self._expire, entry)
        rank = float("inf") if entry.goal is None else entry.goal
        heapq.heappush(self._queues.setdefault(entry.key, []), (rank, next(self._order), entry))
        self._waiting += 1
        self._waiting_rows += entry.rows
        self._schedule_start()

    def _is_hopeless(self, curve: CostCurve, now: float, deadline: float) -> bool:
        """Whether a request that came now would have to wait too long to be done in time.

        Its own run is taken to be as fast as any before, so that on an idle executor a request is
        refused only if it is surely lost, and a wrong estimate corrects itself.
        """
        left = deadline - now
        ahead = 0.0
        if len(self._running) >= self._executors:
            ahead = max(0.0, min(self._running.values()) - now)
        if self._waiting_rows:
            ahead += self._waiting_rows * curve.seconds_per_row() / self._executors
            if ahead > left * WAITING:
                return True
        return ahead + curve.least() > left * PUNCTUALITY

    def _too_late(self) -> DeadlineExceeded:
        self.stats.expired += 1
        return DeadlineExceeded("the deadline can not be met: too much is waiting already")

    def _full(self) -> QueueFull:
        self.stats.shed += 1
        return QueueFull(f"{self._waiting} requests are waiting already; try again later")

    def _leave(self, entry: _Entry[PayloadT, ResultT]) -> None:
        self._waiting -= 1
        self._waiting_rows -= entry.rows

    def _abandon(self, entry: _Entry[PayloadT, ResultT]) -> None:
        """The caller was cancelled. Its result may have been set, and counted, a moment before."""
        if not entry.future.cancelled():
            return
        self.stats.cancelled += 1
        if entry.timer is not None:
            entry.timer.cancel()
        if not entry.taken:
            self._leave(entry)

    def _expire(self, entry: _Entry[PayloadT, ResultT]) -> None:
        """Called when a request can not be run in time any more, and again at its deadline."""
        if entry.future.done():
            return
        if entry.taken:
            left = (entry.deadline or 0.0) - self._monotonic()
            if left > 0:
                loop = asyncio.get_running_loop()
                entry.timer = loop.call_later(left, self._expire, entry)
                return
        else:
            self._leave(entry)
        self.stats.expired += 1
        missed = "answered" if entry.taken else "could run"
        entry.future.set_exception(
            DeadlineExceeded(f"the deadline passed before the model {missed}")
        )

    def _schedule_start(self) -> None:
        """Start once this turn of the loop ends: what arrived together runs together."""
        if len(self._running) < self._executors + self._spare and not self._start_scheduled:
            self._start_scheduled = True
            asyncio.get_running_loop().call_soon(self._start)

    def _start(self) -> None:
        self._start_scheduled = False
        while not self._closed and self._drop_settled() and (free := self._free()) > 0:
            batch = self._form_batch(free)
            self._alone = ALONE if len(batch) == 1 and not self._waiting else 0
            rows = sum(entry.rows for entry in batch)
            end = self._monotonic() + self.curve(batch[0].key).estimate(rows)
            self._running[asyncio.ensure_future(self._execute(batch))] = end

    def _free(self) -> int:
        """How many executors may run what waits."""
        free = self._executors - len(self._running)
        if free > 0 or not self._spare:
            return free
        key, queue = self._most_urgent()
        left = queue[0][0] - self._monotonic()
        hurried = left < HURRY * self.curve(key).estimate(queue[0][2].rows)
        return free if hurried else free + self._spare

    def _most_urgent(self) -> tuple[Hashable, list[tuple[float, int, _Entry[PayloadT, ResultT]]]]:
        return min(self._queues.items(), key=lambda item: item[1][0][:2])

    def _form_batch(self, free: int) -> list[_Entry[PayloadT, ResultT]]:
        """What one of `free` executors is to run: its share of what waits, at most."""
        key, queue = self._most_urgent()
        waiting = sum(entry.rows for _, _, entry in queue if not entry.future.done())
        available = min(self._max_rows, -(-waiting // free))
        curve = self.curve(key)
        wanted = min(curve.best_rows(available), self._rows_in_time(queue[0][0], curve, available))
        batch: list[_Entry[PayloadT, ResultT]] = []
        rows = 0
        while queue:
            entry = queue[0][2]
            if not entry.future.done() and batch and rows + entry.rows > wanted:
                break
            heapq.heappop(queue)
            if entry.future.done():
                continue
            entry.taken = True
            self._leave(entry)
            batch.append(entry)
            rows += entry.rows
        if not queue:
            del self._queues[key]
        return batch

    def _drop_settled(self) -> bool:
        """Let every queue begin with a request that still waits; False if none does anywhere.

        Where something held up the event loop, requests may be too late whose timers are yet to
        come.
        """
        now = self._monotonic()
        for key in list(self._queues):
            queue = self._queues[key]
            while queue and (queue[0][2].future.done() or queue[0][0] <= now):
                _, _, entry = heapq.heappop(queue)
                self._expire(entry)
            if not queue:
                del self._queues[key]
        return bool(self._queues)

    def _rows_in_time(self, deadline: float, curve: CostCurve, available: int) -> int:
        """The largest batch that still meets the most urgent request's deadline, at least 1."""
        rows = available
        slack = deadline - self._monotonic()
        while rows > 1 and curve.estimate(rows) > slack:
            rows //= 2
        return rows

    async def _execute(self, batch: list[_Entry[PayloadT, ResultT]]) -> None:
        try:
            started = self._monotonic()
            self.stats.queue_seconds += sum(started - entry.arrived for entry in batch)
            await self._run_or_bisect(batch)
        finally:
            self._running.pop(cast("asyncio.Task[None]", asyncio.current_task()))
            if self._queues:
                self._schedule_start()

    async def _run_or_bisect(self, batch: list[_Entry[PayloadT, ResultT]]) -> None:
        batch = [entry for entry in batch if not entry.future.done()]
        if not batch:
            return
        rows = sum(entry.rows for entry in batch)
        started = self._monotonic()
        try:
            results = await self._run([entry.payload for entry in batch])
        except Exception as error:  # noqa: BLE001  # a model may raise anything; it fails its batch
            if len(batch) == 1 or isinstance(error, ServingError):
                for entry in batch:
                    self._fail(entry, error)
                return
            middle = len(batch) // 2
            await self._run_or_bisect(batch[:middle])
            await self._run_or_bisect(batch[middle:])
            return
        if len(results) != len(batch):
            wrong = InferenceFailed(f"{len(batch)} requests ran, {len(results)} results came back")
            for entry in batch:
                self._fail(entry, wrong)
            return
        self._record(self.curve(batch[0].key), rows, self._monotonic() - started)
        for entry, result in zip(batch, results, strict=True):
            if entry.timer is not None:
                entry.timer.cancel()
            if not entry.future.done():
                self.stats.succeeded += 1
                entry.future.set_result(result)

    def _record(self, curve: CostCurve, rows: int, seconds: float) -> None:
        curve.record(rows, seconds)
        self.stats.record(rows, seconds)

    def _fail(self, entry: _Entry[PayloadT, ResultT], error: Exception) -> None:
        if entry.timer is not None:
            entry.timer.cancel()
        if not entry.future.done():
            self.stats.failed += 1
            entry.future.set_exception(error)
