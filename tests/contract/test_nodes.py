"""What every registered node must do. A node whose configuration has required fields needs a line
in REQUIRED; everything else is found by itself."""

from collections.abc import Mapping
from contextlib import suppress

import numpy as np
import pytest
from pydantic import ValidationError

import app.nodes
from app.errors import ConfigurationError, MantaError
from app.interfaces import Node, NodeContext
from app.registry import NODES, Registration
from app.types import Detections, Message, Tensors
from tests.fakes.models import FakeHandle
from tests.fakes.nodes import ManualClock
from tests.fakes.sinks import FakeSink

assert app.nodes.__all__

REQUIRED: Mapping[str, Mapping[str, object]] = {
    "infer": {"model": "fake"},
    "image.crop": {"x": 0, "y": 0, "width": 2, "height": 2},
    "threshold": {"metric": "heat", "threshold": 5, "dispatcher": "out"},
    "person_in_zone": {"zone": [[0, 0], [9, 0], [9, 9]], "dispatcher": "out"},
    "snapshot_archive": {"dispatcher": "out"},
    "text.lines": {"model": "fake"},
}
"""Configurations that work, by the node's own name, for those that do not work with defaults."""

OTHERWISE: Mapping[str, Mapping[str, object]] = {"image.resize": {"width": 8}}
"""Fields of which one of several is required."""

EVERY = pytest.mark.parametrize("node", list(NODES), ids=lambda r: r.names[0])

CONTENTS: Mapping[str, object] = {
    "nothing": None,
    "number": 5,
    "text": "text",
    "bytes": b"\xff\xd8\xff\0",
    "empty": {},
    "list": [],
    "tuple": (1, "a"),
    "object": object(),
    "scalar": np.float32(1),
    "no dimensions": np.array(1.0),
    "no rows": np.zeros((0, 3), np.float32),
    "text array": np.array(["a"]),
    "not a number": np.full((1, 3), np.nan),
    "tensors": Tensors({}),
    "more tensors": Tensors({"a": np.zeros((2, 2)), "b": np.zeros(1)}),
    "detections": Detections(np.zeros((0, 4), np.float32), np.zeros(0), np.zeros(0, np.int32)),
}


def params_of(node: Registration[Node]) -> dict[str, object]:
    name = node.names[0]
    return {**REQUIRED.get(name, {}), **OTHERWISE.get(name, {})}


def build(node: Registration[Node], *inputs: str) -> Node:
    handle, sink = FakeHandle(), FakeSink(connected=True)
    context = NodeContext(
        "this", inputs, "p", lambda _name: handle, lambda _name: sink, ManualClock()
    )
    return node.factory(node.config.model_validate(params_of(node)), context)


@EVERY
def test_required_fields_are_exactly_those_that_are_listed(node: Registration[Node]) -> None:
    required = {name for name, field in node.config.model_fields.items() if field.is_required()}
    assert required <= set(params_of(node))
    for name in required:
        fields = {key: value for key, value in params_of(node).items() if key != name}
        with pytest.raises(ValidationError, match=rf"{name}\n"):
            node.config.model_validate(fields)


@EVERY
def test_unknown_fields_are_refused(node: Registration[Node]) -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        node.config.model_validate({**params_of(node), "no_such_field": 1})


@EVERY
def test_configurations_are_frozen_and_comparable(node: Registration[Node]) -> None:
    one = node.config.model_validate(params_of(node))
    assert one == node.config.model_validate(params_of(node))
    assert node.config.model_config.get("frozen") is True
    assert node.config.model_validate(one.model_dump()) == one


@EVERY
async def test_opens_and_closes(node: Registration[Node]) -> None:
    built = next(iter(buildable(node).values()))
    await built.open()
    await built.close()


@EVERY
async def test_what_it_cannot_handle_is_an_error_with_a_meaning(node: Registration[Node]) -> None:
    for inputs, built in buildable(node).items():
        await built.open()
        for name, content in CONTENTS.items():
            results = dict.fromkeys(inputs, content)
            message = Message("7", "cam", content, captured_at=0.0, results=results)
            problem = await problem_of(built, message)
            assert not problem, f"{name} as {inputs or 'content'}: {problem}"
        await built.close()


def buildable(node: Registration[Node]) -> dict[tuple[str, ...], Node]:
    """The node by its inputs, for every number of inputs that it takes."""
    built: dict[tuple[str, ...], Node] = {}
    for inputs in ((), ("a",), ("a", "b")):
        with suppress(ConfigurationError):
            built[inputs] = build(node, *inputs)
    assert built, "it can be built with neither 0, 1 nor 2 inputs"
    return built


async def problem_of(node: Node, message: Message) -> str:
    """What is wrong with how the node dealt with a message; "" if nothing is."""
    before = dict(message.results)
    try:
        after = await node.process(message)
    except MantaError as error:
        return "" if str(error) else "an error must say what is wrong"
    except Exception as error:  # noqa: BLE001 - any other is what this looks for
        return f"raised {error!r}"
    if after is None:
        return ""
    if (after.id, after.source) != (message.id, message.source):
        return "changed the message itself"
    if after.results.keys() != {*before, "this"} or message.results.keys() != before.keys():
        return "must add its own result, in a copy"
    return ""
