"""The agent that watches one value."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from app.errors import InvalidInput
from app.interfaces import NodeContext
from app.nodes.agents.agent import AgentConfig, PerSource, action_of, within
from app.registry import NODES
from app.types import ClassScore, JsonValue, Message


class ThresholdConfig(AgentConfig):
    """Fires when `metric` passes `threshold` in `direction`.

    It fires again only after the value was back by at least `hysteresis`, and not within
    `cooldown_s` seconds; a crossing in that time is told at its end if it still holds.
    """

    type: Literal["threshold"] = "threshold"
    metric: str = Field(min_length=1)
    threshold: float = Field(allow_inf_nan=False)
    direction: Literal["above", "below"] = "above"
    hysteresis: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    cooldown_s: float = Field(default=0.0, ge=0)


@dataclass
class _Alarm:
    armed: bool = True
    fired_at: float = -math.inf


class Threshold:
    """The metric is looked for in the class scores among the inputs, by label; in inputs that are
    mappings, by key; then in the message's content. Raises InvalidInput, naming the metric and
    what there is, where it is in none of them or not a finite number."""

    def __init__(self, config: ThresholdConfig, context: NodeContext) -> None:
        self._config = config
        self._context = context
        self._alarms = PerSource(_Alarm)

    async def open(self) -> None:
        """Nothing to open."""

    async def process(self, message: Message) -> Message | None:
        config = self._config
        value = find_metric(config.metric, (*self._context.values(message), message.content))
        sign = 1.0 if config.direction == "above" else -1.0
        excess = sign * (value - config.threshold)
        alarm = self._alarms.of(message.source)
        if excess <= -config.hysteresis:
            alarm.armed = True
        waiting = within(message.captured_at - alarm.fired_at, config.cooldown_s)
        if excess <= 0 or not alarm.armed or waiting:
            return message.with_result(self._context.id, [])
        alarm.armed = False
        alarm.fired_at = message.captured_at
        payload: dict[str, JsonValue] = {
            "metric": config.metric,
            "value": value,
            "threshold": config.threshold,
            "direction": config.direction,
        }
        action = action_of(config, self._context, message, payload)
        return message.with_result(self._context.id, [action])

    async def close(self) -> None:
        """Nothing to close."""


def find_metric(metric: str, values: tuple[object, ...]) -> float:
    """The first finite number that goes by this name. Raises InvalidInput."""
    there: list[str] = []
    for name, value in _named_values(values):
        if name != metric:
            there.append(name)
        elif isinstance(value, bool) or not isinstance(value, int | float):
            raise InvalidInput(f"metric {metric!r} is no number but {type(value).__name__}")
        elif not math.isfinite(value):
            raise InvalidInput(f"metric {metric!r} is not finite")
        else:
            return float(value)
    names = ", ".join(sorted(set(there))[:20]) or "none"
    raise InvalidInput(f"there is no metric {metric!r}; there are: {names}")


def _named_values(values: tuple[object, ...]) -> Iterator[tuple[str, object]]:
    for value in values:
        if isinstance(value, list | tuple):
            yield from ((item.label, item.score) for item in value if isinstance(item, ClassScore))
        elif isinstance(value, Mapping):
            yield from ((str(name), item) for name, item in value.items())


NODES.register("threshold", ThresholdConfig, Threshold, stateful=True)
