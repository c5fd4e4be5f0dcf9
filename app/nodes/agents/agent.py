"""What agents share. An agent is a node that decides: its result is a list of actions.

What an agent remembers, it remembers by source and in capture time, so that a recording gives the
same decisions at any speed and wherever the pipeline runs.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from pydantic import Field

from app.interfaces import NodeContext
from app.registry import ComponentConfig
from app.types import Action, JsonValue, Message

StateT = TypeVar("StateT")

MAX_SOURCES = 4096


class AgentConfig(ComponentConfig):
    """`dispatcher` names an entry of `actions:`; `target` is where that is to send it."""

    dispatcher: str = Field(min_length=1)
    target: str | None = None


def action_of(
    config: AgentConfig, context: NodeContext, message: Message, payload: Mapping[str, JsonValue]
) -> Action:
    """The one action of this agent for this message; the same message gives the same id."""
    return Action(
        id=f"{message.id}:{context.pipeline}:{context.id}",
        agent=context.id,
        dispatcher=config.dispatcher,
        payload={"source": message.source, "captured_at": message.captured_at, **payload},
        target=config.target,
    )


class PerSource(Generic[StateT]):
    """State by source, forgotten for the source unheard of for longest when there are too many."""

    def __init__(self, make: Callable[[], StateT]) -> None:
        self._make = make
        self._states: OrderedDict[str, StateT] = OrderedDict()

    def of(self, source: str) -> StateT:
        if source not in self._states:
            self._states[source] = self._make()
        self._states.move_to_end(source)
        if len(self._states) > MAX_SOURCES:
            self._states.popitem(last=False)
        return self._states[source]


def within(elapsed: float, seconds: float) -> bool:
    """Whether a pause is still on. A clock that was set back ends it rather than prolong it."""
    return 0 <= elapsed < seconds
