"""Callers that go away while their request waits for its turn."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from starlette.types import Receive

ResultT = TypeVar("ResultT")

PATIENCE_SECONDS = 0.05
"""A request that is answered within this is not watched: watching takes a task for each."""


class CallerGone(Exception):
    """The caller has hung up: nobody is left to answer."""


async def unless_gone(answer: Awaitable[ResultT], receive: Receive) -> ResultT:
    """Wait for `answer`, which is cancelled if the caller goes away first.

    The body must have been received: `receive` has then only the disconnect left to tell. Raises
    CallerGone, and whatever `answer` raises.
    """
    watch = _Watch(receive)
    timer = asyncio.get_running_loop().call_later(PATIENCE_SECONDS, watch.start)
    try:
        return await answer
    except asyncio.CancelledError:
        if watch.is_gone:
            raise CallerGone from None
        raise
    finally:
        timer.cancel()
        watch.stop()


class _Watch:
    """Cancels the task that made it once the caller is gone."""

    def __init__(self, receive: Receive) -> None:
        self.is_gone = False
        self._receive = receive
        self._waiting = asyncio.current_task()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.ensure_future(self._watch())

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.is_gone = True
        if self._waiting is not None:
            self._waiting.cancel()
