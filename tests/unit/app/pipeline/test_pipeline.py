"""One message through a pipeline of scripted nodes."""

import asyncio

import numpy as np
import pytest

from app.errors import ConnectorRejected, InferenceFailed, InvalidInput, NotConnected
from app.pipeline.outcome import Outcome
from app.types import Message, Tensors
from tests.fakes.models import FakeHandle
from tests.fakes.nodes import ManualClock
from tests.fakes.pipelines import PipelineBench
from tests.fakes.sinks import FakeSink
from tests.virtual_time import run_virtual, virtual_loop

DIAMOND = """
pipelines:
  - id: p
    nodes:
      - {id: start, type: scripted}
      - {id: left, type: scripted, params: LEFT}
      - {id: right, type: scripted, params: RIGHT}
      - {id: join, type: scripted}
    edges: [{from: start, to: left}, {from: start, to: right},
            {from: left, to: join}, {from: right, to: join}]
    output: OUTPUT
    on_error: ON_ERROR
    dead_letter: letters
actions: {letters: {type: log}}
"""


def diamond(
    left: str = "{}", right: str = "{}", output: str = "join", on_error: str = "drop"
) -> str:
    text = DIAMOND.replace("LEFT", left).replace("RIGHT", right)
    return text.replace("OUTPUT", output).replace("ON_ERROR", on_error)


def chain(params: str, **options: object) -> str:
    """A pipeline `p` of the nodes `a`, with `params`, and `b`, which reads it."""
    extra = "".join(f"    {key}: {value}\n" for key, value in options.items())
    return f"""
pipelines:
  - id: p
    nodes: [{{id: a, type: scripted, params: {params}}}, {{id: b, type: scripted}}]
    edges: [{{from: a, to: b}}]
{extra}
actions: {{letters: {{type: log}}}}
"""


def message(content: object = "content", **fields: object) -> Message:
    made = Message("7", "cam", content, captured_at=0.0, metadata={"k": "old"})
    return made.with_error("decode", InvalidInput("no JPEG")) if fields.get("broken") else made


def end_of(outcome: Outcome) -> tuple[str, str | None]:
    return outcome.kind, outcome.reason


async def test_results_are_kept_by_node_and_inputs_come_in_order(journal: list[str]) -> None:
    outcome = await PipelineBench().run(diamond(left="{result: l}", right="{result: r}"), message())
    assert end_of(outcome) == ("processed", None)
    assert outcome.message.results == {
        "start": ("content",),
        "left": "l",
        "right": "r",
        "join": ("l", "r"),
    }
    assert journal == [
        *(f"open {name}" for name in ("start", "left", "right", "join")),
        *("start", "left", "right", "join"),
        *(f"close {name}" for name in ("join", "left", "right", "start")),
    ]


def test_branches_run_at_the_same_time() -> None:
    async def scenario() -> None:
        clock = virtual_loop()
        text = diamond(left="{seconds: 3}", right="{seconds: 2}")
        started = clock.monotonic()
        outcome = await PipelineBench(clock=clock).run(text, message())
        assert clock.monotonic() - started == pytest.approx(3.0)
        assert outcome.message.results["join"] == ((("content",),), (("content",),))

    run_virtual(scenario())


async def test_what_parallel_nodes_add_to_the_metadata_is_merged() -> None:
    text = diamond(left="{metadata: {k: new, l: '1'}}", right="{metadata: {r: '2'}}")
    outcome = await PipelineBench().run(text, message())
    assert outcome.message.metadata == {"k": "new", "l": "1", "r": "2"}


async def test_a_filter_stops_its_own_branch_only(journal: list[str]) -> None:
    text = diamond(left="{filters: true}", right="{result: r}", output="right")
    outcome = await PipelineBench().run(text, message())
    assert end_of(outcome) == ("processed", None)
    assert set(outcome.message.results) == {"start", "right"}
    assert "join" not in journal


async def test_a_message_without_an_output_is_dropped_as_filtered(journal: list[str]) -> None:
    outcome = await PipelineBench().run(chain("{filters: true}"), message())
    assert end_of(outcome) == ("dropped", "filtered")
    assert outcome.message.error is None
    assert "b" not in journal


async def test_a_failing_node_drops_the_message_and_names_itself(journal: list[str]) -> None:
    outcome = await PipelineBench().run(chain("{fails: broken lens}"), message())
    assert end_of(outcome) == ("dropped", "failed")
    failure = outcome.message.error
    assert failure is not None
    assert (failure.node, str(failure.error)) == ("a", "broken lens")
    assert "b" not in journal


async def test_on_error_continue_runs_what_does_not_need_the_failed_node() -> None:
    text = diamond(left="{fails: oh}", right="{result: r}", output="right", on_error="continue")
    outcome = await PipelineBench().run(text, message())
    assert end_of(outcome) == ("processed", None)
    assert outcome.message.results["right"] == "r"
    assert outcome.message.error is not None
    assert outcome.message.error.node == "left"


async def test_on_error_continue_still_drops_without_an_output(journal: list[str]) -> None:
    text = diamond(left="{fails: oh}", on_error="continue")
    outcome = await PipelineBench().run(text, message())
    assert end_of(outcome) == ("dropped", "failed")
    assert "join" not in journal


async def test_a_dead_letter_says_what_failed_and_where() -> None:
    sink = FakeSink(connected=True)
    text = chain("{fails: broken lens}", on_error="dead_letter", dead_letter="letters")
    outcome = await PipelineBench(sinks={"letters": sink}).run(text, message())
    assert end_of(outcome) == ("dropped", "failed")
    [letter] = sink.actions
    assert (letter.id, letter.agent, letter.dispatcher) == ("7/dead_letter", "p", "letters")
    assert letter.payload == {
        "message": "7",
        "source": "cam",
        "captured_at": 0.0,
        "node": "a",
        "error": "broken lens",
    }


@pytest.mark.parametrize(
    "error", [NotConnected("away"), ConnectorRejected("no"), ValueError("a bug in the sink")]
)
async def test_a_dead_letter_that_cannot_be_written_is_a_reason_of_its_own(
    error: Exception,
) -> None:
    sinks = {"letters": FakeSink([error], connected=True)}
    text = chain("{fails: broken lens}", on_error="dead_letter", dead_letter="letters")
    outcome = await PipelineBench(sinks=sinks).run(text, message())
    assert end_of(outcome) == ("dropped", "dead_letter_failed")


async def test_letters_are_not_written_where_on_error_does_not_say_so() -> None:
    text = chain("{fails: broken lens}", dead_letter="letters")
    outcome = await PipelineBench().run(text, message())
    assert end_of(outcome) == ("dropped", "failed")


async def test_an_undecodable_message_is_invalid_and_reaches_no_node(journal: list[str]) -> None:
    sink = FakeSink(connected=True)
    text = chain("{}", on_error="dead_letter", dead_letter="letters")
    outcome = await PipelineBench(sinks={"letters": sink}).run(text, message(broken=True))
    assert end_of(outcome) == ("dropped", "invalid")
    assert sink.actions[0].payload["error"] == "no JPEG"
    assert journal == ["open a", "open b", "close b", "close a"]


LATE = """
pipelines:
  - {id: p, preprocess: scripted, model: fake, deadline_ms: 500FALLBACK}
  - {id: small, nodes: [{id: guess, type: scripted, params: PARAMS}]}
"""


def late(fallback: str = "", params: str = "{result: cheap}") -> str:
    return LATE.replace("FALLBACK", fallback).replace("PARAMS", params)


async def run_late(text: str, age: float = 0.5) -> tuple[Outcome, FakeHandle]:
    """What becomes of a message captured at 0 in the pipeline `p` at `age` seconds."""
    clock = ManualClock(now=age)
    handle = FakeHandle(clock=clock.monotonic)
    bench = PipelineBench(models={"fake": handle}, clock=clock)
    return await bench.run(text, message(np.ones((1, 3), np.float32))), handle


async def test_fault_033_late_messages_are_dropped_before_any_node_runs(journal: list[str]) -> None:
    outcome, handle = await run_late(late())
    assert end_of(outcome) == ("dropped", "late")
    assert handle.requests == []
    assert "preprocess" not in journal


async def test_messages_in_time_carry_their_deadline_to_the_model() -> None:
    text = "pipelines: [{id: p, model: fake, deadline_ms: 500}]"
    outcome, handle = await run_late(text, age=0.25)
    assert end_of(outcome) == ("processed", None)
    [request] = handle.requests
    assert request.deadline == pytest.approx(0.5)
    assert request.id == "7"


async def test_the_nearer_of_two_deadlines_counts() -> None:
    text = "pipelines: [{id: p, model: fake, deadline_ms: 500}]"
    for own, expected in ((0.2, 0.2), (3.0, 0.5)):
        clock = ManualClock()
        handle = FakeHandle(clock=clock.monotonic)
        bench = PipelineBench(models={"fake": handle}, clock=clock)
        made = Message("7", "cam", np.ones((1, 3), np.float32), captured_at=0.0, deadline=own)
        await bench.run(text, made)
        assert handle.requests[0].deadline == pytest.approx(expected)


async def test_a_capture_time_ahead_of_the_clock_gives_no_longer_deadline() -> None:
    outcome, handle = await run_late(
        "pipelines: [{id: p, model: fake, deadline_ms: 500}]", age=-9.0
    )
    assert end_of(outcome) == ("processed", None)
    assert handle.requests[0].deadline == pytest.approx(-8.5)


async def test_late_messages_go_to_the_fallback_as_its_own() -> None:
    outcome, handle = await run_late(late(", fallback: small"))
    assert end_of(outcome) == ("downgraded", "late")
    assert outcome.message.results == {"guess": "cheap"}
    assert outcome.message.pipeline == "small"
    assert handle.requests == []


async def test_what_the_fallback_drops_is_dropped() -> None:
    outcome, _ = await run_late(late(", fallback: small", params="{fails: oh}"))
    assert end_of(outcome) == ("dropped", "failed")


async def test_every_message_is_counted_once(journal: list[str]) -> None:
    clock = ManualClock()
    handle = FakeHandle(clock=clock.monotonic)
    bench = PipelineBench(models={"fake": handle}, clock=clock)
    host = bench.host(late(", fallback: small"))
    await host.open()
    pipeline = host.get("p")
    rows = np.ones((1, 3), np.float32)
    await pipeline.process(Message("1", "s", {"x": rows}, captured_at=0.0))
    await pipeline.process(message(broken=True))
    clock.now = 9.0
    await pipeline.process(message())
    assert pipeline.status() == {
        "processed": 1,
        "downgraded": 1,
        "dropped": 1,
        "failed": 1,
        "seconds": 0.0,
        "last_error": "decode: no JPEG",
    }
    assert host.get("small").status()["processed"] == 1


def test_time_is_counted_from_start_to_end() -> None:
    async def scenario() -> None:
        host = PipelineBench(clock=virtual_loop()).host(chain("{seconds: 2}"))
        await host.open()
        await asyncio.gather(*(host.get("p").process(message()) for _ in range(3)))
        assert host.get("p").status()["seconds"] == pytest.approx(6.0)

    run_virtual(scenario())


async def test_agents_decide_and_emit_carries_out() -> None:
    text = """
pipelines: [{id: p, preprocess: scripted, agents: [alarm]}]
agents: {alarm: {type: threshold, metric: heat, threshold: 5, dispatcher: out}}
actions: {out: {type: log}}
"""
    sink = FakeSink(connected=True)
    bench = PipelineBench(sinks={"out": sink})
    outcome = await bench.run(text, message({"heat": 7.0}))
    assert end_of(outcome) == ("processed", None)
    [action] = sink.actions
    assert (action.agent, action.dispatcher, action.payload["value"]) == ("alarm", "out", 7.0)


INFER = "pipelines: [{id: p, model: fake}]"
ROWS = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.mark.parametrize(
    "content",
    [ROWS, {"x": ROWS}, Tensors({"x": ROWS}), Tensors({"": ROWS})],
    ids=["array", "mapping", "tensors", "the only input"],
)
async def test_infer_takes_tensors_in_every_form(content: object) -> None:
    handle = FakeHandle()
    outcome = await PipelineBench(models={"fake": handle}).run(INFER, message(content))
    assert handle.requests[0].inputs["x"] is ROWS
    result = outcome.message.results["model"]
    assert isinstance(result, Tensors)
    assert result.arrays["y"].tolist() == (ROWS * 2).tolist()


async def test_infer_answers_a_list_in_order_and_no_rows_without_a_call() -> None:
    handle = FakeHandle()
    content = [ROWS, Tensors({"x": ROWS[:0]}), ROWS + 1]
    outcome = await PipelineBench(models={"fake": handle}).run(INFER, message(content))
    result = outcome.message.results["model"]
    assert isinstance(result, list)
    assert [sorted(item.arrays) for item in result] == [["y"], [], ["y"]]
    assert result[2].arrays["y"].tolist() == (ROWS * 2 + 2).tolist()
    assert len(handle.requests) == 2


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("text", "infer takes tensors, not str; put a preprocess before"),
        (b"bytes", "infer takes tensors, not bytes"),
        ({"x": [1, 2]}, "x: infer takes arrays, not list"),
    ],
)
async def test_infer_refuses_what_is_no_tensor(content: object, reason: str) -> None:
    outcome = await PipelineBench(models={"fake": FakeHandle()}).run(INFER, message(content))
    assert outcome.message.error is not None
    assert isinstance(outcome.message.error.error, InvalidInput)
    assert str(outcome.message.error.error).startswith(reason)


async def test_fault_029_an_error_of_the_model_is_the_error_of_the_message() -> None:
    handle = FakeHandle(InferenceFailed("model 'fake' failed"))
    outcome = await PipelineBench(models={"fake": handle}).run(INFER, message(ROWS))
    assert end_of(outcome) == ("dropped", "failed")
    assert outcome.message.error is not None
    assert outcome.message.error.node == "model"
