"""Whatever happens, the books balance and every message is acknowledged exactly once."""

import asyncio
from typing import Literal, cast

from hypothesis import given, settings
from hypothesis import strategies as st

from app.config.connectors import OnFull
from app.errors import NotConnected
from app.pipeline.outcome import Outcome, OutcomeKind
from app.streams.counts import StreamCounts
from app.streams.source_runner import SourceRunner
from app.types import JsonValue, Message
from tests.fakes.streams import ScriptedSource, Step, message
from tests.virtual_time import run_virtual, virtual_loop


class CheckedCounts(StreamCounts):
    """Checks the equation, of each source and in total, after every change."""

    def capture(self, source: str) -> None:
        super().capture(source)
        self.check()

    def settle(self, source: str, kind: OutcomeKind, reason: str | None = None) -> None:
        super().settle(source, kind, reason)
        self.check()

    def check(self) -> None:
        snapshot = cast(dict[str, dict[str, JsonValue]], self.snapshot())
        tallies = [
            snapshot["total"],
            *cast(dict[str, dict[str, JsonValue]], snapshot["sources"]).values(),
        ]
        for tally in tallies:
            dropped = sum(cast(dict[str, int], tally["dropped"]).values())
            assert cast(int, tally["in_flight"]) >= 0
            assert tally["captured"] == (
                cast(int, tally["processed"])
                + cast(int, tally["downgraded"])
                + dropped
                + cast(int, tally["in_flight"])
            )

    @property
    def in_flight(self) -> int:
        return cast(int, cast(dict[str, JsonValue], self.snapshot()["total"])["in_flight"])


Kind = Literal["message", "pause", "lost", "bug", "undecodable"]
arrivals = st.lists(
    st.tuples(
        st.sampled_from(["message"] * 8 + ["pause", "pause", "lost", "bug", "undecodable"]),
        st.sampled_from("abc"),
        st.sampled_from([0.0, 0.1, 1.0, 7.0]),
        st.sampled_from([None, 0.0, 0.5, 5.0]),
    ),
    max_size=40,
)


@settings(max_examples=200, deadline=None)
@given(
    arrivals=arrivals,
    refusals=st.lists(st.booleans(), max_size=5),
    works=st.lists(
        st.tuples(
            st.sampled_from([0.0, 0.2, 1.0, 5.0]),
            st.sampled_from(["processed", "downgraded", "dropped", "raises"]),
        ),
        min_size=1,
        max_size=7,
    ),
    on_full=st.sampled_from(["drop_oldest", "drop_newest", "block"]),
    depth=st.integers(1, 5),
    concurrency=st.integers(1, 4),
    jitter=st.floats(0.0, 1.0),
    ends=st.booleans(),
    stop=st.one_of(
        st.none(),
        st.tuples(
            st.sampled_from(["drain", "cancel"]),
            st.sampled_from([0.0, 0.05, 0.5, 3.0, 20.0]),
            st.sampled_from([0.0, 0.5, 100.0]),
        ),
    ),
)
def test_books_balance_and_every_message_is_acknowledged_once(
    *,
    arrivals: list[tuple[Kind, str, float, float | None]],
    refusals: list[bool],
    works: list[tuple[float, str]],
    on_full: OnFull,
    depth: int,
    concurrency: int,
    jitter: float,
    ends: bool,
    stop: tuple[str, float, float] | None,
) -> None:
    async def scenario() -> None:
        loop = virtual_loop()
        counts = CheckedCounts(max_sources=2)
        source = ScriptedSource(
            loop,
            _script(arrivals, loop.monotonic()),
            connects=[NotConnected("refused") if refused else None for refused in refusals],
            ends=ends or stop is None,
        )
        broken: list[str] = []
        running: set[str] = set()
        last: dict[str, int] = {}

        async def process(message: Message) -> Outcome:
            # Collected, since the runner catches whatever `process` raises.
            checks = {
                "not late": message.deadline is None or loop.monotonic() < message.deadline,
                "one at a time": message.source not in running,
                "in order": last.get(message.source, -1) < int(message.id),
                "in flight": counts.in_flight == len(source.delivered) - len(source.acks),
                "bounded": runner.status().queued <= depth,
            }
            broken.extend(name for name, holds in checks.items() if not holds)
            last[message.source] = int(message.id)
            running.add(message.source)
            seconds, ending = works[int(message.id) % len(works)]
            try:
                await asyncio.sleep(seconds)
            finally:
                running.discard(message.source)
            if ending == "raises":
                raise ValueError("bug")
            return Outcome(cast(OutcomeKind, ending), "because", message)

        runner = SourceRunner(
            "property",
            source,
            process,
            clock=loop,
            max_queue_depth=depth,
            on_full=on_full,
            max_concurrency=concurrency,
            random=lambda: jitter,
            counts=counts,
        )
        task = asyncio.create_task(runner.run())
        if stop is not None:
            how, after, timeout = stop
            await asyncio.sleep(after)
            if how == "drain":
                await runner.drain(timeout)
            else:
                task.cancel()
        await asyncio.wait({task})
        assert not task.cancelled() or (stop is not None and stop[0] == "cancel")

        assert broken == []
        assert source.acks.keys() == {message.id for message in source.delivered}
        assert counts.in_flight == 0
        assert runner.status().ack_failures == 0
        refused = cast(dict[str, dict[str, int]], counts.snapshot()["total"])["dropped"]
        given_back = [accepted for accepted in source.acks.values() if not accepted]
        assert len(given_back) == refused.get("shutdown", 0)
        assert not source.connected
        assert runner.status().queued == 0

    run_virtual(scenario())


def _script(arrivals: list[tuple[Kind, str, float, float | None]], now: float) -> list[Step]:
    script: list[Step] = []
    for number, (kind, source, seconds, budget) in enumerate(arrivals):
        if kind == "pause":
            script.append(seconds)
        elif kind == "lost":
            script.append(NotConnected("lost", retry_after=seconds))
        elif kind == "bug":
            script.append(ValueError("a bug in the source"))
        else:
            deadline = None if budget is None else now + budget
            undecodable = kind == "undecodable"
            script.append(message(number, source, deadline, undecodable=undecodable))
    return script
