"""A batcher in virtual time, and what it runs: no test with it waits."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from app.batching.batcher import DynamicBatcher
from tests.virtual_time import virtual_loop


@dataclass(frozen=True)
class Tagged:
    """A request that knows what answer belongs to it."""

    tag: int
    shape: int | None = 0
    rows: int = 1
    poison: bool = False


@dataclass
class FakeExecutor:
    """Runs a batch on each of its executors, the spare ones too, and refuses what a batcher must
    never do."""

    seconds_per_run: float = 0.010
    executors: int = 1
    spare: int = 0
    batches: list[list[Tagged]] = field(default_factory=list)
    busy: int = 0

    async def run(self, batch: Sequence[Tagged]) -> Sequence[int]:
        assert self.busy < self.executors + self.spare, "too many batches ran at once"
        assert len({item.shape for item in batch}) == 1, "shapes were mixed"
        self.busy += 1
        self.batches.append(list(batch))
        try:
            await asyncio.sleep(self.seconds_per_run)
            if any(item.poison for item in batch):
                raise ValueError("poison")
            return [item.tag for item in batch]
        finally:
            self.busy -= 1

    def run_now(self, item: Tagged) -> int:
        assert self.busy < self.executors, "too many batches ran at once"
        self.batches.append([item])
        if item.poison:
            raise ValueError("poison")
        return item.tag


def batcher(
    executor: FakeExecutor, *, max_rows: int = 8, max_waiting: int = 100
) -> DynamicBatcher[Tagged, int]:
    return DynamicBatcher(
        executor.run,
        run_now=executor.run_now,
        max_rows=max_rows,
        max_waiting=max_waiting,
        executors=executor.executors,
        spare=executor.spare,
        monotonic=virtual_loop().time,
    )


def submit(
    target: DynamicBatcher[Tagged, int], item: Tagged, within: float | None = None
) -> "asyncio.Task[int]":
    deadline = None if within is None else virtual_loop().time() + within
    return asyncio.ensure_future(
        target.submit(item, key=item.shape, rows=item.rows, deadline=deadline)
    )
