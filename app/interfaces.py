"""The protocols that the parts of Manta know each other by.

Each says who calls, when and how often, and what an error means. Implementations need not
inherit: having the methods is enough.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from app.types import (
    Action,
    Arrays,
    InferenceRequest,
    InferenceResponse,
    JsonValue,
    Message,
    ModelMetadata,
    ModelState,
    ModelStatistics,
)


class Clock(Protocol):
    """Time, so that tests can own it."""

    def monotonic(self) -> float:
        """Seconds that only go forward; deadlines are in these."""
        ...

    def time(self) -> float:
        """Unix seconds; capture times are in these."""
        ...

    async def sleep(self, seconds: float) -> None: ...


class Model(Protocol):
    """One version of a model on one accelerator. Synchronous and batch first.

    Called by `models.serving.service`: load once, predict many, unload once; `predict` from as many
    threads at a time as there are `instances` and `spare_instances`.
    """

    @property
    def metadata(self) -> ModelMetadata:
        """Valid after `load`."""
        ...

    @property
    def steady(self) -> bool:
        """Whether the shapes of its inputs alone decide how long a run takes. Valid after `load`.

        A steady model whose runs are very short may be run on the event loop.
        """
        ...

    @property
    def instances(self) -> int:
        """How many runs may go on at once. Valid after `load`."""
        ...

    @property
    def spare_instances(self) -> int:
        """How many more may where nobody is in a hurry. Valid after `load`."""
        ...

    def load(self) -> None:
        """Read the artefact and allocate. Raises ConfigurationError if it can never work, and
        `models.runtimes.row_independence.NotStacked` if requests were to be stacked and cannot."""
        ...

    def predict(self, inputs: Arrays) -> Arrays:
        """Run one batch: every input of the metadata, already checked for name, type and shape.

        Returns every output, row i of each belonging to row i of the inputs where the model
        batches. Any exception fails this batch only.
        """
        ...

    def unload(self) -> None:
        """Give the memory back. No call follows."""
        ...


class ModelHandle(Protocol):
    """A model as its callers see it, wherever it runs. One request per call."""

    async def infer(self, request: InferenceRequest) -> InferenceResponse:
        """Raises RequestError for a bad request, ServingError when it could not be served."""
        ...

    def admit(self, deadline: float, version: str | None = None) -> None:
        """Raises at once what `infer` would raise for any request with this deadline.

        Called before a request is read and decoded, so that refusing under load costs little.
        """
        ...

    async def ready(self) -> bool: ...

    async def metadata(self, version: str | None = None) -> ModelMetadata:
        """Raises ModelNotFound for an unknown version, ModelNotReady while none is loaded."""
        ...

    async def statistics(self, version: str | None = None) -> tuple[ModelStatistics, ...]:
        """One for each served version, or for `version` alone. Raises as `metadata` does."""
        ...

    async def trace_settings(
        self, own: Mapping[str, JsonValue], for_all: Mapping[str, JsonValue] | None = None
    ) -> Mapping[str, JsonValue]:
        """Change them, and tell those in force: see `app.telemetry.tracing.Tracer.change`.

        Raises ModelNotReady where the model's process is away.
        """
        ...


class ModelControl(Protocol):
    """Loading and unloading models while the server runs."""

    async def index(self) -> tuple[ModelState, ...]:
        """Every version of every model that the repositories have or that is loaded."""
        ...

    async def load(self, name: str, config: Mapping[str, JsonValue] | None = None) -> None:
        """Load or reload; returns once it is ready. `config` overrides fields of its model.yaml.

        What is served already goes on until the new one is ready, and stays if that fails. Raises
        ModelNotFound, InvalidInput for a bad override, ModelNotReady when it could not be loaded.
        """
        ...

    async def unload(self, name: str) -> None:
        """Finish what runs, then give the memory back. Raises ModelNotFound."""
        ...


Ack = Callable[[bool], Awaitable[None]]
"""Called exactly once per message, after the pipeline is done with it.

True: it was dealt with (processed, downgraded or dropped for a counted reason).
False: it was not, and the transport may deliver it again.
"""


class Received(NamedTuple):
    """What a Source reads: the message and how to acknowledge it."""

    message: Message
    ack: Ack


class Source(Protocol):
    """Where messages come from. One runner drives it, one call at a time.

    The runner owns retry, back-off, queueing, counting and draining; a source owns none of them.
    """

    async def connect(self) -> None:
        """Open the transport. Raises NotConnected (call again later) or ConnectorRejected."""
        ...

    async def read(self) -> Received:
        """Wait for the next message. May be cancelled at any await, losing nothing acknowledged.

        A payload that cannot be decoded is returned with `Message.error` set, so that it is
        counted and the stream goes on. Raises NotConnected when the transport broke and
        EndOfStream when nothing more will come.
        """
        ...

    async def close(self) -> None:
        """Release everything; called once after the last read, and before each new connect."""
        ...


class Sink(Protocol):
    """Where actions go. Several tasks may write at once."""

    async def connect(self) -> None:
        """Open the transport. Raises NotConnected (call again later) or ConnectorRejected."""
        ...

    async def write(self, action: Action) -> None:
        """Deliver one action; returns once the receiver has it. Raises NotConnected to retry."""
        ...

    async def close(self) -> None: ...


class Node(Protocol):
    """One kind of work on one message: preprocess, infer, decode, track, decide, emit.

    The pipeline calls `open` once, then `process` for every message, then `close` once. `process`
    may run for several messages at once, except that messages of one source come one after the
    other, in order. It reads its inputs and stores its result through its NodeContext, returns
    None to filter the message out, and raises to mark it as failed.
    """

    async def open(self) -> None: ...

    async def process(self, message: Message) -> Message | None: ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class NodeContext:
    """What a node is given when it is built.

    `id` is its name in the graph, under which its result is stored; `inputs` are the ids of the
    nodes it reads from, in the order of the edges, empty for a node that reads the content.
    """

    id: str
    inputs: tuple[str, ...]
    pipeline: str
    model: Callable[[str], ModelHandle]
    sink: Callable[[str], Sink]
    clock: Clock

    def value(self, message: Message) -> object:
        """The result of the first input node, or the message's content where there is none."""
        return message.results[self.inputs[0]] if self.inputs else message.content

    def values(self, message: Message) -> tuple[object, ...]:
        """The results of all input nodes, or the message's content where there is none."""
        return tuple(message.results[name] for name in self.inputs) or (message.content,)
