"""What a node is given in tests: models and sinks from dictionaries."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from app.errors import NotConnected
from app.interfaces import Clock, ModelHandle, NodeContext, Sink
from app.types import Action


@dataclass
class StillClock:
    """Stands still, except that a sleep is over at once and is noted."""

    now: float = 1000.0
    slept: list[float] = field(default_factory=list)

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@dataclass
class MemorySink:
    """Keeps what it is given, after `failures` writes that fail as if not connected."""

    failures: int = 0
    retry_after: float = 0.0
    actions: list[Action] = field(default_factory=list)

    async def connect(self) -> None:
        """Nothing to connect to."""

    async def write(self, action: Action) -> None:
        if self.failures:
            self.failures -= 1
            raise NotConnected("the sink is away", self.retry_after)
        self.actions.append(action)

    async def close(self) -> None:
        """Nothing to close."""


def context(
    node: str = "node",
    inputs: tuple[str, ...] = (),
    *,
    sinks: Mapping[str, Sink] | None = None,
    models: Mapping[str, ModelHandle] | None = None,
    clock: Clock | None = None,
) -> NodeContext:
    return NodeContext(
        id=node,
        inputs=inputs,
        pipeline="p",
        model=dict(models or {}).__getitem__,
        sink=dict(sinks or {}).__getitem__,
        clock=StillClock() if clock is None else clock,
    )
