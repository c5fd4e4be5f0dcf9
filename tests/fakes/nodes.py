"""What a node is given, without a pipeline around it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from app.errors import ConfigurationError, ModelNotFound
from app.interfaces import ModelHandle, Node, NodeContext, Sink
from app.registry import NODES
from app.telemetry.tracing import TraceSettings
from app.types import InferenceRequest, InferenceResponse, Message, ModelMetadata, ModelStatistics


@dataclass
class ManualClock:
    """Stands still until somebody moves `now`."""

    now: float = 0.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class LabelledModel:
    """Knows its labels and nothing else; counts how often it was asked for them."""

    labels: Mapping[str, tuple[str, ...]]
    asked: int = 0

    async def infer(self, request: InferenceRequest) -> InferenceResponse:
        raise ModelNotFound(request.model)

    async def ready(self) -> bool:
        return True

    async def metadata(self, version: str | None = None) -> ModelMetadata:
        self.asked += 1
        return ModelMetadata("labelled", ("1",), "test", (), (), labels=self.labels)

    def admit(self, deadline: float, version: str | None = None) -> None:
        """Takes everything."""

    async def trace_settings(
        self, own: TraceSettings, for_all: TraceSettings | None = None
    ) -> TraceSettings:
        return own

    async def statistics(self, version: str | None = None) -> tuple[ModelStatistics, ...]:
        return (ModelStatistics("labelled", version or "1"),)


@dataclass
class NodeBench:
    """Builds registered nodes and feeds them messages."""

    models: Mapping[str, ModelHandle] = field(default_factory=dict)
    clock: ManualClock = field(default_factory=ManualClock)

    def node(self, type_name: str, *inputs: str, **params: object) -> Node:
        registration = NODES.get(type_name)
        context = NodeContext("node", inputs, "p", self._model, self._sink, self.clock)
        return registration.factory(registration.config.model_validate(params), context)

    async def run(self, node: Node, message: Message) -> object:
        """What the node stores for this message."""
        result = await node.process(message)
        assert result is not None
        return result.results["node"]

    def _model(self, name: str) -> ModelHandle:
        if name not in self.models:
            raise ModelNotFound(name)
        return self.models[name]

    def _sink(self, name: str) -> Sink:
        raise ConfigurationError(f"no action {name!r} here")


def message(
    content: object = None, *, source: str = "camera", at: float = 0.0, **results: object
) -> Message:
    return Message("1", source, content, captured_at=at, results=results)
