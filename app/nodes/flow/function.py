"""Nodes that are one plain function of one value: the usual way to write a node.

A function registered with `blocking=True` runs on a thread, because a picture's worth of work on
the event loop would hold up every other message and the health checks of the process.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from inspect import signature
from typing import TypeVar

from app.errors import ConfigurationError
from app.interfaces import Node, NodeContext
from app.registry import NODES, ComponentConfig
from app.types import Message

ConfigT = TypeVar("ConfigT", bound=ComponentConfig)


class FunctionNode:
    """Calls `function(*values)` for each message and stores what it returns.

    `values` are the results of the node's inputs, in the order of the edges. A returned None
    filters the message out.
    """

    def __init__(
        self, function: Callable[..., object], context: NodeContext, *, blocking: bool
    ) -> None:
        self._function = function
        self._context = context
        self._blocking = blocking

    async def open(self) -> None:
        """Nothing to open."""

    async def process(self, message: Message) -> Message | None:
        values = self._context.values(message)
        if self._blocking:
            result = await asyncio.to_thread(self._function, *values)
        else:
            result = self._function(*values)
        return None if result is None else message.with_result(self._context.id, result)

    async def close(self) -> None:
        """Nothing to close."""


def register_function(
    type_name: str,
    config: type[ConfigT],
    function: Callable[..., object],
    *,
    blocking: bool,
    aliases: tuple[str, ...] = (),
) -> None:
    """Register `function(config, *values)` as a node type.

    A graph that gives it more or fewer inputs than it takes is a ConfigurationError.
    """

    def factory(settings: ConfigT, context: NodeContext) -> Node:
        values = context.inputs or ("the content",)
        try:
            signature(function).bind(settings, *values)
        except TypeError:
            raise ConfigurationError(
                f"node {context.id!r}: {type_name} does not take {len(values)} inputs"
                f" ({', '.join(values)})"
            ) from None
        return FunctionNode(partial(function, settings), context, blocking=blocking)

    factory.__doc__ = function.__doc__  # what the node does, for the reference pages
    NODES.register(type_name, config, factory, aliases=aliases)
