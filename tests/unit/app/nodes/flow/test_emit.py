import pytest

from app.errors import NotConnected
from app.nodes.flow.emit import Emit, EmitConfig
from app.types import Action, Message
from tests.fakes.context import MemorySink, StillClock, context


def action(number: int, dispatcher: str = "a") -> Action:
    return Action(str(number), "agent", dispatcher, {})


async def test_writes_the_actions_of_all_inputs_to_their_sinks() -> None:
    a, b = MemorySink(), MemorySink()
    emit = Emit(EmitConfig(), context("emit", ("x", "y", "z"), sinks={"a": a, "b": b}))
    results = {"x": [action(1), action(2, "b")], "y": [], "z": [action(3), "no action"]}
    done = await emit.process(Message("1", "s", None, 0.0, results=results))
    assert done is not None
    assert [written.id for written in a.actions] == ["1", "3"]
    assert [written.id for written in b.actions] == ["2"]
    assert done.results["emit"] == [action(1), action(2, "b"), action(3)]


async def test_a_message_without_actions_passes() -> None:
    emit = Emit(EmitConfig(), context("emit", ("x",)))
    done = await emit.process(Message("1", "s", None, 0.0, results={"x": {"no": "actions"}}))
    assert done is not None
    assert done.results["emit"] == []


async def test_tries_again_while_a_sink_is_away() -> None:
    clock, sink = StillClock(), MemorySink(failures=2)
    emit = Emit(
        EmitConfig(attempts=3, pause_s=0.5), context("emit", ("x",), sinks={"a": sink}, clock=clock)
    )
    await emit.process(Message("1", "s", None, 0.0, results={"x": [action(1)]}))
    assert len(sink.actions) == 1
    assert clock.slept == [0.5, 1.0]


async def test_does_not_wait_as_long_as_a_sink_may_ask() -> None:
    clock, sink = StillClock(), MemorySink(failures=1, retry_after=3600.0)
    emit = Emit(EmitConfig(), context("emit", ("x",), sinks={"a": sink}, clock=clock))
    await emit.process(Message("1", "s", None, 0.0, results={"x": [action(1)]}))
    assert clock.slept == [5.0]


async def test_a_sink_that_stays_away_fails_the_node_after_the_others_got_theirs() -> None:
    away, there = MemorySink(failures=99), MemorySink()
    emit = Emit(EmitConfig(attempts=2), context("emit", ("x",), sinks={"a": away, "b": there}))
    message = Message("1", "s", None, 0.0, results={"x": [action(1), action(2, "b")]})
    with pytest.raises(NotConnected):
        await emit.process(message)
    assert away.failures == 97
    assert [written.id for written in there.actions] == ["2"]
