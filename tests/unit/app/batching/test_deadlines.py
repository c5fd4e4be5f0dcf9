"""Deadlines in the batcher, in virtual time."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from app.errors import DeadlineExceeded, QueueFull
from tests.unit.app.batching.batches import FakeExecutor, Tagged, batcher, submit
from tests.virtual_time import run_virtual, virtual_loop


def test_earliest_deadline_runs_first() -> None:
    async def main() -> None:
        executor = FakeExecutor()
        target = batcher(executor, max_rows=1)
        running = submit(target, Tagged(0))
        await asyncio.sleep(0.001)
        waiting = [
            submit(target, Tagged(1)),
            submit(target, Tagged(2), within=0.5),
            submit(target, Tagged(3), within=0.2),
        ]
        await asyncio.gather(running, *waiting)
        assert [batch[0].tag for batch in executor.batches] == [0, 3, 2, 1]

    run_virtual(main())


def test_a_deadline_that_cannot_be_met_is_answered_at_once_and_never_run() -> None:
    async def main() -> None:
        executor = FakeExecutor(seconds_per_run=1.0)
        target = batcher(executor)
        await submit(target, Tagged(0))
        started = virtual_loop().time()
        running = submit(target, Tagged(1))
        await asyncio.sleep(0.1)
        late = submit(target, Tagged(2), within=1.4)
        with pytest.raises(DeadlineExceeded):
            await late
        assert virtual_loop().time() - started == pytest.approx(0.1)
        with pytest.raises(DeadlineExceeded):
            await submit(target, Tagged(3), within=-1.0)
        await running
        assert [item.tag for batch in executor.batches for item in batch] == [0, 1]
        assert target.stats.expired == 2

    run_virtual(main())


def test_what_is_too_late_is_not_run_though_its_timer_was_held_up() -> None:
    @dataclass
    class HoldsUpTheLoop(FakeExecutor):
        async def run(self, batch: Sequence[Tagged]) -> Sequence[int]:
            answers = await super().run(batch)
            virtual_loop().hold_up(3.0)
            return answers

    async def main() -> None:
        executor = HoldsUpTheLoop(seconds_per_run=1.0)
        target = batcher(executor, max_rows=1)
        running = submit(target, Tagged(0))
        await asyncio.sleep(0.1)
        late, in_time = submit(target, Tagged(1), within=2.0), submit(target, Tagged(2))
        with pytest.raises(DeadlineExceeded, match="before the model could run"):
            await late
        await asyncio.gather(running, in_time)
        assert [item.tag for batch in executor.batches for item in batch] == [0, 2]
        assert (target.waiting, target.stats.expired, target.stats.succeeded) == (0, 1, 2)

    run_virtual(main())


def test_fault_032_a_deadline_passes_while_the_request_runs() -> None:
    async def main() -> None:
        executor = FakeExecutor(seconds_per_run=1000.0)
        target = batcher(executor)
        started = virtual_loop().time()
        hanging = submit(target, Tagged(0), within=2.0)
        await asyncio.sleep(0.001)
        behind = submit(target, Tagged(1), within=3.0)
        with pytest.raises(DeadlineExceeded, match="before the model answered"):
            await hanging
        assert virtual_loop().time() - started == pytest.approx(2.0)
        with pytest.raises(DeadlineExceeded, match="before the model could run"):
            await behind
        assert virtual_loop().time() - started == pytest.approx(2.401)  # no use in starting later
        assert (target.waiting, target.stats.expired, target.stats.succeeded) == (0, 2, 0)

    run_virtual(main())


def test_fault_059_twice_the_load_with_deadlines_still_uses_all_of_the_capacity() -> None:
    async def main() -> None:
        executor = FakeExecutor(seconds_per_run=0.010)
        target = batcher(executor, max_rows=1)
        await submit(target, Tagged(0))
        started = virtual_loop().time()
        tasks = []
        for tag in range(1, 401):  # one each 5 ms is twice what runs of 10 ms can do
            tasks.append(asyncio.ensure_future(timed(submit(target, Tagged(tag), within=0.1))))
            await asyncio.sleep(0.005)
        answers = await asyncio.gather(*tasks)
        served = [seconds for seconds, error in answers if error is None]
        refused = [seconds for seconds, error in answers if error is not None]
        capacity = (virtual_loop().time() - started) / 0.010
        assert len(served) >= 0.95 * capacity
        assert max(served) <= 0.1
        assert max(refused) <= 0.1
        assert refused.count(0.0) >= 0.8 * len(refused)  # told at once, while there is still time
        assert len(executor.batches) - 1 == len(served)

    run_virtual(main())


async def timed(task: "asyncio.Task[int]") -> tuple[float, DeadlineExceeded | None]:
    started = virtual_loop().time()
    try:
        await task
    except DeadlineExceeded as error:
        return virtual_loop().time() - started, error
    return virtual_loop().time() - started, None


def test_admit_refuses_and_counts_what_submit_would_refuse() -> None:
    async def main() -> None:
        executor = FakeExecutor(seconds_per_run=0.010)
        target = batcher(executor, max_rows=1, max_waiting=5)
        target.admit(virtual_loop().time() + 0.001)  # nothing is known of the model yet
        await submit(target, Tagged(0))
        target.admit(virtual_loop().time() + 0.1)
        running = [submit(target, Tagged(tag)) for tag in range(1, 6)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        with pytest.raises(DeadlineExceeded):
            target.admit(virtual_loop().time() + 0.02)
        target.admit(virtual_loop().time() + 1.0)
        running.append(submit(target, Tagged(6)))
        await asyncio.sleep(0)
        with pytest.raises(QueueFull):
            target.admit(virtual_loop().time() + 1.0)
        await asyncio.gather(*running)
        stats = target.stats
        assert (stats.submitted, stats.succeeded, stats.expired, stats.shed) == (9, 7, 1, 1)

    run_virtual(main())


def test_a_batch_shrinks_to_meet_its_most_urgent_deadline() -> None:
    async def main() -> None:
        executor = FakeExecutor()
        target = batcher(executor)
        for rows in (1, 2, 4, 8):
            for _ in range(3):
                target.curve(0).record(rows, 0.010 + 0.001 * rows)
        tasks = [submit(target, Tagged(0), within=0.015)]
        tasks += [submit(target, Tagged(tag)) for tag in range(1, 8)]
        await asyncio.gather(*tasks)
        assert len(executor.batches[0]) <= 2
        assert executor.batches[0][0].tag == 0

    run_virtual(main())
