"""The batcher, in virtual time: no test here waits."""

import asyncio
from collections.abc import Coroutine, Sequence

import pytest

from app.batching.batcher import ALONE, HURRY, INSTANT_SECONDS, DynamicBatcher
from app.errors import DeadlineExceeded, ModelNotReady, QueueFull, ServingError
from tests.unit.app.batching.batches import FakeExecutor, Tagged, batcher, submit
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


def test_a_spare_executor_runs_while_nobody_hurries() -> None:
    async def main() -> None:
        executor = FakeExecutor(seconds_per_run=1.0, executors=2, spare=1)
        target = batcher(executor, max_rows=1)
        await submit(target, Tagged(0))
        started = virtual_loop().time()
        patient = [submit(target, Tagged(tag)) for tag in range(4)]
        await asyncio.sleep(0.5)
        assert executor.busy == 3
        hurried = submit(target, Tagged(4), within=HURRY - 1.0)
        await asyncio.sleep(1.0)  # three ended, and only two of those that waited were begun
        assert executor.busy == 2
        await asyncio.gather(*patient, hurried)
        assert virtual_loop().time() - started == pytest.approx(2.0)

    run_virtual(main())


def test_a_spare_executor_is_left_idle_where_all_hurry() -> None:
    async def main() -> None:
        executor = FakeExecutor(seconds_per_run=1.0, executors=2, spare=1)
        target = batcher(executor, max_rows=1)
        await submit(target, Tagged(0))
        started = virtual_loop().time()
        hurried = [submit(target, Tagged(tag), within=HURRY - 1.0) for tag in range(3)]
        await asyncio.sleep(0.5)
        assert executor.busy == 2
        await asyncio.gather(*hurried)
        assert virtual_loop().time() - started == pytest.approx(2.0)

    run_virtual(main())


def test_short_runs_that_come_one_by_one_are_not_queued() -> None:
    async def main() -> None:
        target = batcher(FakeExecutor())
        await submit(target, Tagged(0))
        _make_short(target)
        for tag in range(ALONE):
            assert _first_step(target.submit(Tagged(tag), key=0)) == tag
        assert _first_step(target.submit(Tagged(0), key=0)) is None  # queued, to look for company
        assert (target.stats.submitted, target.stats.succeeded) == (ALONE + 2, ALONE + 1)

    run_virtual(main())


def test_short_runs_that_come_together_share_one() -> None:
    async def main() -> None:
        executor = FakeExecutor(seconds_per_run=INSTANT_SECONDS / 2)
        target = batcher(executor)
        _make_short(target)
        for _ in range(ALONE):
            await asyncio.gather(*(submit(target, Tagged(tag)) for tag in (1, 2, 3, 4)))
        assert [len(batch) for batch in executor.batches] == [4] * ALONE

    run_virtual(main())


def test_a_run_that_was_not_queued_fails_its_own_caller_only() -> None:
    async def main() -> None:
        target = batcher(FakeExecutor())
        await submit(target, Tagged(0))
        _make_short(target)
        with pytest.raises(ValueError, match="poison"):
            _first_step(target.submit(Tagged(1, poison=True), key=0))
        assert _first_step(target.submit(Tagged(2), key=0)) == 2
        assert (target.stats.submitted, target.stats.succeeded, target.stats.failed) == (3, 2, 1)

    run_virtual(main())


def _make_short(target: DynamicBatcher[Tagged, int]) -> None:
    for rows in (1, 2, 4) * 8:
        target.curve(0).record(rows, INSTANT_SECONDS / 2)


def _first_step(call: Coroutine[object, None, int]) -> int | None:
    """What the call returns at its first step; None where it has to wait."""
    try:
        call.send(None)
    except StopIteration as done:
        return int(done.value)
    call.close()
    return None


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
