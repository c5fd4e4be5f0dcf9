"""Whatever comes, every request to the batcher gets its own answer, and is counted once."""

import asyncio
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from app.batching.batcher import INSTANT_SECONDS
from app.errors import DeadlineExceeded, QueueFull
from tests.unit.app.batching.batches import FakeExecutor, Tagged, batcher
from tests.virtual_time import run_virtual, virtual_loop


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
    st.integers(0, 1),
)
def test_every_request_gets_its_own_answer_and_is_counted_once(
    plan: list[Arrival],
    seconds_per_run: float,
    max_rows: int,
    max_waiting: int,
    executors: int,
    spare: int,
) -> None:
    async def main() -> None:
        executor = FakeExecutor(seconds_per_run, executors, spare)
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
