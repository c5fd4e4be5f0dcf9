"""A ModelControl that keeps its models in memory."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from app.errors import InvalidInput, ModelNotFound
from app.types import JsonValue, ModelState


@dataclass
class FakeControl:
    """`states` is name -> state. A load with the field `bad` is an override it refuses."""

    states: dict[str, str] = field(default_factory=lambda: {"a": "READY", "b": "UNAVAILABLE"})
    configs: dict[str, Mapping[str, JsonValue] | None] = field(default_factory=dict)

    async def index(self) -> tuple[ModelState, ...]:
        return tuple(
            ModelState(name, "1", state, "" if state == "READY" else "unloaded")
            for name, state in self.states.items()
        )

    async def load(self, name: str, config: Mapping[str, JsonValue] | None = None) -> None:
        self._check(name)
        if config is not None and "bad" in config:
            raise InvalidInput("bad: is not a known field")
        self.configs[name] = config
        self.states[name] = "READY"

    async def unload(self, name: str) -> None:
        self._check(name)
        self.states[name] = "UNAVAILABLE"

    def _check(self, name: str) -> None:
        if name not in self.states:
            raise ModelNotFound(f"there is no model {name!r}")
