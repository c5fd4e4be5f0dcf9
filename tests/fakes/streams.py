"""A source whose behaviour is written down beforehand, and the checks that go with it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

from app.errors import EndOfStream, InvalidInput
from app.interfaces import Clock, Received
from app.types import Message

Step: TypeAlias = "Message | Exception | float"
"""What `read` does next: return it, raise it, or let so many seconds pass first."""


def message(
    number: int, source: str = "s", deadline: float | None = None, *, undecodable: bool = False
) -> Message:
    made = Message(
        id=str(number), source=source, content=number, captured_at=0.0, deadline=deadline
    )
    return made.with_error("decode", InvalidInput("not JSON")) if undecodable else made


@dataclass
class ScriptedSource:
    """Plays `script`, then waits for ever or, with `ends`, raises EndOfStream.

    Refuses what a runner must not do: reading while closed, connecting twice without a close
    between, and acknowledging twice.
    """

    clock: Clock
    script: Iterable[Step]
    connects: Iterable[Exception | None] = ()
    ends: bool = True
    connected: bool = False
    closes: int = 0
    connect_times: list[float] = field(default_factory=list)
    delivered: list[Message] = field(default_factory=list)
    acks: dict[str, bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._steps = iter(self.script)
        self._connects = iter(self.connects)

    async def connect(self) -> None:
        assert not self.connected, "connected twice"
        self.connect_times.append(self.clock.monotonic())
        error = next(self._connects, None)
        if error is not None:
            raise error
        self.connected = True

    async def read(self) -> Received:
        assert self.connected, "read while closed"
        for step in self._steps:
            if isinstance(step, float):
                await self.clock.sleep(step)
            elif isinstance(step, Exception):
                raise step
            else:
                self.delivered.append(step)
                return Received(step, self._ack_of(step))
        while not self.ends:
            await self.clock.sleep(3600.0)
        raise EndOfStream

    async def close(self) -> None:
        self.connected = False
        self.closes += 1

    def _ack_of(self, delivered: Message) -> "_Ack":
        return _Ack(self, delivered.id)


@dataclass
class _Ack:
    source: ScriptedSource
    id: str

    async def __call__(self, accepted: bool) -> None:
        assert self.id not in self.source.acks, f"message {self.id} is acknowledged twice"
        self.source.acks[self.id] = accepted
