"""Runs one message through a compiled graph."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, replace

from app.interfaces import Clock, Node, NodeContext, Sink
from app.pipeline.graph import Graph, GraphNode
from app.pipeline.outcome import Outcome
from app.pipeline.resources import Resources
from app.types import Action, JsonValue, Message, NodeFailure


@dataclass(slots=True)
class PipelineStats:
    """Messages since start, by what became of them; `seconds` is the time spent on all of them.

    `failed` are those in which a node raised; they are among the dropped.
    """

    processed: int = 0
    downgraded: int = 0
    dropped: int = 0
    failed: int = 0
    seconds: float = 0.0
    last_error: str = ""


class Pipeline:
    """One pipeline, ready to be opened.

    Nodes run level by level, those of one level side by side. A node that filters a message out
    stops its own branch; when nothing of the graph's end is left, the message is dropped. A node
    that raises marks the message with its error, and `on_error` decides what follows.
    """

    def __init__(
        self, graph: Graph, resources: Resources, fallback: "Pipeline | None" = None
    ) -> None:
        """Raises ModelNotFound or ConfigurationError where a node can not be built here."""
        self.graph = graph
        self.stats = PipelineStats()
        self._clock: Clock = resources.clock
        self._fallback = fallback
        self._dead_letter = self._find_dead_letter(graph, resources)
        self._levels: tuple[tuple[tuple[GraphNode, Node], ...], ...] = tuple(
            tuple((node, node.build(self._context(node, resources))) for node in level)
            for level in graph.levels
        )

    @property
    def id(self) -> str:
        return self.graph.pipeline.id

    def output_of(self, message: Message) -> object:
        """What answers a request: the result of the graph's output node."""
        return message.results.get(self.graph.output)

    async def open(self) -> None:
        """Open every node, or none: where one cannot be, those before it are closed again."""
        async with AsyncExitStack() as opened:
            for level in self._levels:
                for _, node in level:
                    await node.open()
                    opened.push_async_callback(node.close)
            opened.pop_all()

    async def close(self) -> None:
        for level in reversed(self._levels):
            for _, node in level:
                await node.close()

    def status(self) -> dict[str, JsonValue]:
        """What was counted since start, as plain data."""
        return asdict(self.stats)

    async def process(self, message: Message) -> Outcome:
        """Run the message to its end. Never raises for a fault of the message or of a node."""
        message = self._with_deadline(message)
        started = self._clock.monotonic()
        outcome = await self._process(message, started)
        self.stats.seconds += self._clock.monotonic() - started
        if outcome.kind == "processed":
            self.stats.processed += 1
        elif outcome.kind == "downgraded":
            self.stats.downgraded += 1
        else:
            self.stats.dropped += 1
        return outcome

    async def _process(self, message: Message, now: float) -> Outcome:
        if message.error is not None:
            return await self._failed(message, message.error, "invalid")
        if message.deadline is not None and now >= message.deadline:
            return await self._late(message)
        alive: set[str] = set()
        for level in self._levels:
            runnable = [pair for pair in level if _is_reached(pair[0], alive)]
            message = await self._run_level(runnable, message, alive)
            if message.error is not None and self.graph.pipeline.on_error != "continue":
                break
        answered = self.graph.output in alive
        if message.error is not None and not (
            answered and self.graph.pipeline.on_error == "continue"
        ):
            return await self._failed(message, message.error)
        return (
            Outcome("processed", None, message)
            if answered
            else Outcome("dropped", "filtered", message)
        )

    async def _late(self, message: Message) -> Outcome:
        """Stale work is dropped before it is done, or done more cheaply."""
        if self._fallback is None:
            return Outcome("dropped", "late", message)
        handed_over = replace(message, deadline=None, pipeline=self._fallback.id)
        outcome = await self._fallback.process(handed_over)
        return (
            outcome
            if outcome.kind == "dropped"
            else replace(outcome, kind="downgraded", reason="late")
        )

    async def _run_level(
        self, runnable: list[tuple[GraphNode, Node]], message: Message, alive: set[str]
    ) -> Message:
        """Run nodes that do not depend on one another; `alive` gains those with a result."""
        if len(runnable) == 1:
            outputs = [await _run_node(*runnable[0], message)]
        else:
            outputs = await asyncio.gather(*(_run_node(*pair, message) for pair in runnable))
        results = dict(message.results)
        metadata = dict(message.metadata)
        error = message.error
        for (spec, _), output in zip(runnable, outputs, strict=True):
            if output is None:
                continue
            # What a node left alone may not undo what another of this level has changed.
            metadata.update(
                (key, value)
                for key, value in output.metadata.items()
                if key not in message.metadata or message.metadata[key] is not value
            )
            if spec.id in output.results:
                results[spec.id] = output.results[spec.id]
                alive.add(spec.id)
            error = output.error or error
        return replace(message, results=results, metadata=metadata, error=error)

    async def _failed(
        self, message: Message, failure: NodeFailure, reason: str = "failed"
    ) -> Outcome:
        self.stats.failed += 1
        self.stats.last_error = f"{failure.node}: {failure.error}"
        if self._dead_letter is None:
            return Outcome("dropped", reason, message)
        letter = Action(
            id=f"{message.id}/dead_letter",
            agent=self.id,
            dispatcher=self.graph.pipeline.dead_letter or "",
            payload={
                "message": message.id,
                "source": message.source,
                "captured_at": message.captured_at,
                "node": failure.node,
                "error": str(failure.error),
            },
        )
        try:
            await self._dead_letter.write(letter)
        except Exception as error:  # noqa: BLE001  # whatever a sink raises, the stream goes on
            self.stats.last_error = f"dead_letter: {error}"
            return Outcome("dropped", "dead_letter_failed", message)
        return Outcome("dropped", reason, message)

    def _with_deadline(self, message: Message) -> Message:
        """`deadline_ms` counts from capture; a request may bring a nearer deadline of its own."""
        if self.graph.pipeline.deadline_ms is None:
            return message
        age = max(0.0, self._clock.time() - message.captured_at)
        own = self._clock.monotonic() - age + self.graph.pipeline.deadline_ms / 1000
        nearest = own if message.deadline is None else min(own, message.deadline)
        return replace(message, deadline=nearest)

    def _context(self, node: GraphNode, resources: Resources) -> NodeContext:
        return NodeContext(
            id=node.id,
            inputs=node.inputs,
            pipeline=self.id,
            model=resources.model,
            sink=resources.sink,
            clock=resources.clock,
        )

    def _find_dead_letter(self, graph: Graph, resources: Resources) -> Sink | None:
        wanted = graph.pipeline.on_error == "dead_letter" and graph.pipeline.dead_letter
        return resources.sink(wanted) if wanted else None


def _is_reached(node: GraphNode, alive: set[str]) -> bool:
    """A node runs when every node it reads from has a result; one without inputs always does."""
    return all(name in alive for name in node.inputs)


async def _run_node(spec: GraphNode, node: Node, message: Message) -> Message | None:
    try:
        return await node.process(message)
    except Exception as error:  # noqa: BLE001  # a node's bug fails its message, never the stream
        return message.with_error(spec.id, error)
