"""The node that hands what the agents want done to the sinks."""

import asyncio

from pydantic import Field

from app.errors import NotConnected
from app.interfaces import NodeContext
from app.registry import NODES, ComponentConfig
from app.types import Action, Message

MAX_ASKED_PAUSE_S = 5.0
"""A sink may ask for a longer pause than this; the stream does not wait for it."""


class EmitConfig(ComponentConfig):
    """A sink that is not connected is tried `attempts` times, `pause_s` seconds apart, doubling."""

    attempts: int = Field(default=3, ge=1, le=100)
    pause_s: float = Field(default=0.2, ge=0, le=60)


class Emit:
    """Writes every action among its inputs to the sink that the action names.

    All are tried, at once; then the first failure, if any, is raised as the node's own. The result
    is the list of actions delivered; a message without actions passes with an empty one.
    """

    def __init__(self, config: EmitConfig, context: NodeContext) -> None:
        self._config = config
        self._context = context

    async def open(self) -> None:
        """Nothing to open: whoever builds the pipeline opens the sinks."""

    async def process(self, message: Message) -> Message | None:
        actions = [
            item
            for value in self._context.values(message)
            if isinstance(value, list | tuple)
            for item in value
            if isinstance(item, Action)
        ]
        outcomes = await asyncio.gather(*map(self._dispatch, actions), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        return message.with_result(self._context.id, actions)

    async def close(self) -> None:
        """Nothing to close."""

    async def _dispatch(self, action: Action) -> None:
        sink = self._context.sink(action.dispatcher)
        pause = self._config.pause_s
        for _ in range(self._config.attempts - 1):
            try:
                await sink.write(action)
            except NotConnected as error:
                await self._context.clock.sleep(
                    max(pause, min(error.retry_after, MAX_ASKED_PAUSE_S))
                )
                pause *= 2
            else:
                return
        await sink.write(action)


NODES.register("emit", EmitConfig, Emit)
