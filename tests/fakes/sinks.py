"""Sinks that keep what they were given."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from app.types import Action


@dataclass
class FakeSink:
    """Keeps the actions written, after raising each of `errors` once, in order.

    Refuses to be written to before `connect` or after `close`.
    """

    errors: Iterable[Exception | None] = ()
    connected: bool = False
    actions: list[Action] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._errors = iter(self.errors)

    async def connect(self) -> None:
        assert not self.connected, "connected twice"
        self.connected = True

    async def write(self, action: Action) -> None:
        assert self.connected, "written to while closed"
        error = next(self._errors, None)
        if error is not None:
            raise error
        self.actions.append(action)

    async def close(self) -> None:
        self.connected = False
