"""The batcher, in virtual time: no test here waits."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.batching import INSTANT_SECONDS, DynamicBatcher
from app.errors import DeadlineExceeded, ModelNotReady, QueueFull, ServingError
from tests.virtual_time import run_virtual, virtual_loop


@dataclass(frozen=True)
class Tagged:
    """A request that knows what answer belongs to it."""

    tag: int
    shape: int | None = 0
    rows: int = 1
    poison: bool = False


@dataclass
class FakeExecutor:
    """Runs a batch on each of its executors, and refuses what a batcher must never do."""

    seconds_per_run: float = 0.010
    executors: int = 1
    batches: list[list[Tagged]] = field(default_factory=list)
    busy: int = 0

    async def run(self, batch: Sequence[Tagged]) -> Sequence[int]:
        assert self.busy < self.executors, "too many batches ran at once"
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
        monotonic=virtual_loop().time,
    )


def submit(
    target: DynamicBatcher[Tagged, int], item: Tagged, within: float | None = None
) -> "asyncio.Task[int]":
    deadline = None if within is None else virtual_loop().time() + within
    return asyncio.ensure_future(
        target.submit(item, key=item.shape, rows=item.rows, deadline=deadline)
    )


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


@dataclass(frozen=True)
class Arrival:
    after: float
    shape: int | None
    rows: int
    within: float | None
    cancel_after: float | None
    poison: bool


arrivals = st.builds(
    Arrival,
    after=st.sampled_from([0.0, 0.0, 0.001, 0.004, 0.020]),
    shape=st.sampled_from([None, 1, 2]),
    rows=st.integers(1, 4),
    within=st.sampled_from([None, None, 0.0, 0.005, 0.012, 0.050, 1.0]),
    cancel_after=st.sampled_from([None, None, None, 0.0, 0.003, 0.015]),
    poison=st.sampled_from([False] * 9 + [True]),
)


@given(
    st.lists(arrivals, max_size=60),
    st.sampled_from([0.0, INSTANT_SECONDS / 2, 0.001, 0.008]),
    st.integers(1, 8),
    st.sampled_from([3, 100]),
    st.integers(1, 3),
)
def test_every_request_gets_its_own_answer_and_is_counted_once(
    plan: list[Arrival], seconds_per_run: float, max_rows: int, max_waiting: int, executors: int
) -> None:
    async def main() -> None:
        executor = FakeExecutor(seconds_per_run, executors)
        target = batcher(executor, max_rows=max(max_rows, 4), max_waiting=max_waiting)
        tasks: list[asyncio.Task[int]] = []
        reached = 0

        async def call(item: Tagged, within: float | None) -> int:
            nonlocal reached
            reached += 1  # a task cancelled before its first step never gets here
            deadline = None if within is None else virtual_loop().time() + within
            return await target.submit(item, key=item.shape, rows=item.rows, deadline=deadline)

        for tag, arrival in enumerate(plan):
            await asyncio.sleep(arrival.after)
            item = Tagged(tag, arrival.shape, arrival.rows, arrival.poison)
            task = asyncio.ensure_future(call(item, arrival.within))
            tasks.append(task)
            if arrival.cancel_after is not None:
                virtual_loop().call_later(arrival.cancel_after, task.cancel)
            assert target.waiting <= max_waiting
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        for tag, (arrival, answer) in enumerate(zip(plan, answers, strict=True)):
            if isinstance(answer, BaseException):
                allowed = (asyncio.CancelledError, DeadlineExceeded, QueueFull, ValueError)
                assert isinstance(answer, allowed)
                assert not isinstance(answer, ValueError) or arrival.poison
            else:
                assert answer == tag
                assert not arrival.poison
        for batch in executor.batches:
            assert len(batch) == 1 or sum(item.rows for item in batch) <= max(max_rows, 4)
        stats = target.stats
        assert stats.submitted == reached
        outcomes = stats.succeeded + stats.failed + stats.shed + stats.expired + stats.cancelled
        assert stats.submitted == outcomes
        assert target.waiting == 0

    run_virtual(main())
