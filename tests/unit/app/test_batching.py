"""The batcher, in virtual time: no test here waits."""

import asyncio
from collections.abc import Sequence

import pytest

from app.batching import INSTANT_SECONDS, DynamicBatcher
from app.errors import DeadlineExceeded, ModelNotReady, QueueFull, ServingError
from tests.unit.app.batches import FakeExecutor, Tagged, batcher, submit
from tests.virtual_time import run_virtual, virtual_loop


def test_a_batch_holds_all_that_came_while_the_last_one_ran() -> None:
    async def main() -> None:
        executor = FakeExecutor()
        target = batcher(executor)
        for _ in range(20):  # so that every size is known to cost the same
            await asyncio.gather(*(submit(target, Tagged(i)) for i in range(8)))
        executor.batches.clear()
        first = submit(target, Tagged(0))
        await asyncio.sleep(0.002)
        rest = []
        for tag in range(1, 6):
            rest.append(submit(target, Tagged(tag)))
            await asyncio.sleep(0.001)
        assert await asyncio.gather(first, *rest) == [0, 1, 2, 3, 4, 5]
        assert [len(batch) for batch in executor.batches] == [1, 5]

    run_virtual(main())


def test_several_executors_share_what_waits() -> None:
    async def main() -> None:
        executor = FakeExecutor(executors=2)
        target = batcher(executor)
        for rows in (1, 2, 4, 8) * 3:
            target.curve(0).record(rows, 0.010)
        started = virtual_loop().time()
        answers = await asyncio.gather(*(submit(target, Tagged(tag)) for tag in range(6)))
        assert answers == [0, 1, 2, 3, 4, 5]
        assert [len(batch) for batch in executor.batches] == [3, 3]
        assert virtual_loop().time() - started == pytest.approx(0.010)

    run_virtual(main())


def test_a_free_executor_takes_what_comes_while_another_runs() -> None:
    async def main() -> None:
        executor = FakeExecutor(seconds_per_run=1.0, executors=2)
        target = batcher(executor)
        await submit(target, Tagged(0))
        started = virtual_loop().time()
        first = submit(target, Tagged(1))
        await asyncio.sleep(0.5)
        second = submit(target, Tagged(2), within=1.5)
        await asyncio.sleep(0.1)
        with pytest.raises(DeadlineExceeded):  # both run: the first ends in 0.4 s, then 1 s more
            await submit(target, Tagged(3), within=1.3)
        await asyncio.gather(first, second)
        assert virtual_loop().time() - started == pytest.approx(1.5)
        await target.close()

    run_virtual(main())


def test_an_instant_run_is_not_queued_but_those_that_come_together_share_one() -> None:
    async def main() -> None:
        executor = FakeExecutor()
        target = batcher(executor)
        for rows in (1, 2, 4) * 3:
            target.curve(0).record(rows, INSTANT_SECONDS / 2)
        await asyncio.sleep(1.0)
        alone = target.submit(Tagged(0), key=0)
        with pytest.raises(StopIteration, match="0"):
            alone.send(None)  # done at its first step: it never waited
        assert await asyncio.gather(*(submit(target, Tagged(tag)) for tag in (1, 2, 3, 4))) == [
            1,
            2,
            3,
            4,
        ]
        assert [len(batch) for batch in executor.batches] == [1, 4]
        await asyncio.sleep(1.0)
        with pytest.raises(ValueError, match="poison"):
            await submit(target, Tagged(5, poison=True))
        assert (target.stats.submitted, target.stats.succeeded, target.stats.failed) == (6, 5, 1)

    run_virtual(main())


def test_only_the_guilty_request_of_a_batch_fails() -> None:
    async def main() -> None:
        executor = FakeExecutor()
        target = batcher(executor)
        tasks = [submit(target, Tagged(tag, poison=tag == 5)) for tag in range(8)]
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert [a for a in answers if isinstance(a, int)] == [0, 1, 2, 3, 4, 6, 7]
        assert isinstance(answers[5], ValueError)

    run_virtual(main())


def test_a_serving_error_concerns_the_whole_batch_and_is_not_retried() -> None:
    async def main() -> None:
        runs = 0

        async def gone(batch: Sequence[Tagged]) -> Sequence[int]:
            nonlocal runs
            runs += 1
            raise ModelNotReady("the process is away")

        target: DynamicBatcher[Tagged, int] = DynamicBatcher(
            gone, max_rows=8, max_waiting=8, monotonic=virtual_loop().time
        )
        for rows in (1, 2, 4, 8) * 3:
            target.curve(0).record(rows, 0.001)
        answers = await asyncio.gather(
            *(submit(target, Tagged(tag)) for tag in range(8)), return_exceptions=True
        )
        assert all(isinstance(answer, ModelNotReady) for answer in answers)
        assert runs == 1

    run_virtual(main())


def test_a_full_queue_sheds_and_a_cancelled_request_leaves_it() -> None:
    async def main() -> None:
        executor = FakeExecutor()
        target = batcher(executor, max_waiting=2)
        running = submit(target, Tagged(0))
        await asyncio.sleep(0.001)
        waiting = [submit(target, Tagged(1)), submit(target, Tagged(2))]
        await asyncio.sleep(0)
        with pytest.raises(QueueFull):
            await submit(target, Tagged(3))
        waiting[0].cancel()
        await asyncio.sleep(0)
        assert target.waiting == 1
        replacement = submit(target, Tagged(4))
        assert list(await asyncio.gather(running, waiting[1], replacement)) == [0, 2, 4]
        ran = [item.tag for batch in executor.batches for item in batch]
        assert ran == [0, 2, 4]
        assert (target.stats.shed, target.stats.cancelled) == (1, 1)

    run_virtual(main())


def test_closing_fails_what_waits_and_finishes_what_runs() -> None:
    async def main() -> None:
        target = batcher(FakeExecutor(), max_rows=1)
        running = submit(target, Tagged(0))
        await asyncio.sleep(0.001)
        waiting = submit(target, Tagged(1))
        await asyncio.sleep(0)
        await target.close()
        assert await running == 0
        for task in (waiting, submit(target, Tagged(2))):
            with pytest.raises(ModelNotReady):
                await task

    run_virtual(main())


def test_a_run_that_answers_too_little_fails_the_batch() -> None:
    async def main() -> None:
        async def short(batch: Sequence[Tagged]) -> Sequence[int]:
            return []

        target: DynamicBatcher[Tagged, int] = DynamicBatcher(
            short, max_rows=8, max_waiting=8, monotonic=virtual_loop().time
        )
        with pytest.raises(ServingError):
            await submit(target, Tagged(0))

    run_virtual(main())
