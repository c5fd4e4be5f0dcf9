"""A sink that is kept connected."""

import asyncio

import pytest

from app.errors import ConnectorRejected, NotConnected
from app.streams.sinks import ConnectedSink
from app.types import Action
from tests.fakes.nodes import ManualClock
from tests.fakes.sinks import FakeSink

ACTION = Action("1", "agent", "out", {})


class Unreachable(FakeSink):
    """Cannot be connected to while `away`."""

    away: bool = True
    attempts: int = 0

    async def connect(self) -> None:
        self.attempts += 1
        if self.away:
            raise NotConnected("nobody there")
        await super().connect()


def connected(sink: FakeSink, clock: ManualClock) -> ConnectedSink:
    return ConnectedSink("out", sink, clock, random=lambda: 1.0)


async def test_it_connects_once_for_many_writes() -> None:
    inner = FakeSink()
    sink = connected(inner, ManualClock())
    await asyncio.gather(*(sink.write(ACTION) for _ in range(3)))
    assert len(inner.actions) == 3


async def test_while_the_back_off_lasts_a_write_fails_without_an_attempt() -> None:
    clock, inner = ManualClock(), Unreachable()
    sink = connected(inner, clock)
    with pytest.raises(NotConnected):
        await sink.write(ACTION)
    with pytest.raises(NotConnected) as told:
        await sink.write(ACTION)
    assert inner.attempts == 1
    assert told.value.retry_after > 0
    inner.away = False
    clock.now += told.value.retry_after
    await sink.write(ACTION)
    assert (inner.attempts, inner.actions) == (2, [ACTION])


async def test_a_connection_that_breaks_in_a_write_is_made_again() -> None:
    clock, inner = ManualClock(), FakeSink(errors=[NotConnected("gone")])
    sink = connected(inner, clock)
    with pytest.raises(NotConnected):
        await sink.write(ACTION)
    assert not inner.connected
    clock.now += 60
    await sink.write(ACTION)
    assert inner.actions == [ACTION]


async def test_one_connection_that_breaks_under_many_writes_is_one_failure() -> None:
    clock = ManualClock()
    inner = FakeSink(errors=[NotConnected("gone")] * 3)
    sink = connected(inner, clock)
    await sink.connect()
    answers = await asyncio.gather(*(sink.write(ACTION) for _ in range(3)), return_exceptions=True)
    assert all(isinstance(answer, NotConnected) for answer in answers)
    with pytest.raises(NotConnected) as told:
        await sink.write(ACTION)
    assert told.value.retry_after <= 1.0  # the first pause, not the third


async def test_a_refusal_for_good_is_told_to_the_writer() -> None:
    sink = connected(FakeSink(errors=[ConnectorRejected("no such topic")]), ManualClock())
    with pytest.raises(ConnectorRejected):
        await sink.write(ACTION)
