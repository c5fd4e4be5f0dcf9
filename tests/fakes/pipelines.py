"""Pipelines around scripted nodes, with models and sinks from dictionaries."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from pydantic import Field

import app.nodes
import connectors
from app.config.pipelines import PipelinesConfig, file_schema, parse_pipelines
from app.errors import ConfigurationError, InferenceFailed, ModelNotFound
from app.interfaces import Clock, ModelHandle, Node, NodeContext, Sink
from app.nodes.flow.function import register_function
from app.pipeline.graph import Graph, compile_all
from app.pipeline.host import PipelineHost
from app.pipeline.outcome import Outcome
from app.pipeline.resources import Resources
from app.registry import NODES, ComponentConfig
from app.types import Detections, Message
from tests.fakes.nodes import ManualClock

assert app.nodes.__all__
assert connectors.__all__


class ScriptedConfig(ComponentConfig):
    """`result` None stores the values of the inputs; `metadata` is added to the message's.

    `model` is one that the node is taken to ask.
    """

    result: str | int | None = None
    filters: bool = False
    fails: str | None = None
    seconds: float = 0.0
    metadata: dict[str, str] = Field(default_factory=dict)
    cannot_be_built: bool = False
    model: str | None = None
    cannot_be_opened: bool = False


class ScriptedNode:
    """Does as its configuration says, and writes what is called into `journal`.

    Refuses to process before `open` and after `close`.
    """

    journal: list[str] = []  # noqa: RUF012 - one for all nodes: it tells their order

    def __init__(self, config: ScriptedConfig, context: NodeContext) -> None:
        if config.cannot_be_built:
            raise KeyError("a bug in the node")
        self._config = config
        self._context = context
        self._open = False

    async def open(self) -> None:
        if self._config.cannot_be_opened:
            raise OSError("no device /dev/video7")
        self._open = True
        self.journal.append(f"open {self._context.id}")

    async def process(self, message: Message) -> Message | None:
        assert self._open, "a message before open or after close"
        self.journal.append(self._context.id)
        if self._config.seconds:
            await self._context.clock.sleep(self._config.seconds)
        if self._config.fails is not None:
            raise InferenceFailed(self._config.fails)
        if self._config.filters:
            return None
        value = self._config.result
        result = self._context.values(message) if value is None else value
        metadata = {**message.metadata, **self._config.metadata}
        return replace(message.with_result(self._context.id, result), metadata=metadata)

    async def close(self) -> None:
        self._open = False
        self.journal.append(f"close {self._context.id}")


def _scripted(config: ScriptedConfig, context: NodeContext) -> Node:
    return ScriptedNode(config, context)


def _one_box(_config: ComponentConfig, *_values: object) -> Detections:
    """A dog in the upper left corner, whatever the picture."""
    box = np.array([[1, 2, 11, 12]], np.float32)
    return Detections(box, np.array([0.9], np.float32), np.array([0], np.int32), labels=("dog",))


@contextmanager
def scripted_nodes() -> Iterator[None]:
    """The node types `scripted` and `scripted.box`, which finds a dog, exist while this lasts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(NODES, "_registrations", dict(NODES._registrations))
        NODES.register("scripted", ScriptedConfig, _scripted)
        register_function("scripted.box", ComponentConfig, _one_box, blocking=False)
        file_schema.cache_clear()
        yield
    file_schema.cache_clear()


@dataclass
class PipelineBench:
    """Builds pipelines from the text of a file."""

    models: Mapping[str, ModelHandle] = field(default_factory=dict)
    sinks: Mapping[str, Sink] = field(default_factory=dict)
    clock: Clock = field(default_factory=ManualClock)

    def host(self, text: str, names: Collection[str] | None = None) -> PipelineHost:
        graphs = graphs_of(text)
        resources = Resources(self._model, self._sink, self.clock)
        return PipelineHost(graphs, list(graphs) if names is None else names, resources)

    async def run(self, text: str, message: Message) -> Outcome:
        """What becomes of a message in the first pipeline of a file."""
        host = self.host(text)
        await host.open()
        try:
            return await host.get(next(iter(graphs_of(text)))).process(message)
        finally:
            await host.close()

    def _model(self, name: str) -> ModelHandle:
        if name not in self.models:
            raise ModelNotFound(f"model {name!r} is not served here")
        return self.models[name]

    def _sink(self, name: str) -> Sink:
        if name not in self.sinks:
            raise ConfigurationError(f"no action is called {name!r}")
        return self.sinks[name]


def config_of(text: str) -> PipelinesConfig:
    return parse_pipelines(text, environ={})


def graphs_of(text: str) -> dict[str, Graph]:
    return compile_all(config_of(text))
