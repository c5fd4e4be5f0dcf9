"""Requests to a model in another process, by way of Ray: those that wait share one call.

Such a call costs milliseconds, most of them for the call and not for what it carries. So a call is
made when one of a few is free to be made, and takes along what has arrived meanwhile. Replicas on
the same machine are asked without Ray: app/remote/unix_socket.py.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import NamedTuple, TypeAlias

from app.batching.batcher import DynamicBatcher
from app.types import InferenceRequest, InferenceResponse

CALLS = 4
"""Calls under way at once: so many that the model's process need not wait for the next one."""

MAX_WAITING = 1024

_UNIT = 1024 * 1024
_MOST_UNITS = 64
"""Of tensors in one call, each begun MiB of a request counting as one."""


class Asked(NamedTuple):
    """A request without its deadline, and how many seconds it has left instead: monotonic clocks
    differ between machines."""

    request: InferenceRequest
    budget_s: float


Answer: TypeAlias = "InferenceResponse | BaseException"
Infer: TypeAlias = Callable[[InferenceRequest], Awaitable[InferenceResponse]]
Call: TypeAlias = Callable[[Sequence[Asked]], Awaitable[Sequence[Answer]]]


class SharedCalls:
    """`call` takes requests to the other process and brings an answer for each, in order.

    What it raises is raised for all of them.
    """

    def __init__(self, call: Call, calls: int = CALLS) -> None:
        self._call = call
        self.waiting = 0
        """Requests without an answer."""
        self._batcher: DynamicBatcher[InferenceRequest, Answer] = DynamicBatcher(
            self._carry, max_rows=_MOST_UNITS, max_waiting=MAX_WAITING, executors=calls
        )

    async def infer(self, request: InferenceRequest, deadline: float) -> InferenceResponse:
        """Raises what the other process raised for this request, and what a batcher raises."""
        timed = replace(request, deadline=deadline)
        self.waiting += 1
        try:
            answer = await self._batcher.submit(
                timed, key=None, rows=_units(request), deadline=deadline
            )
        finally:
            self.waiting -= 1
        if isinstance(answer, BaseException):
            raise answer
        return answer

    async def _carry(self, requests: Sequence[InferenceRequest]) -> Sequence[Answer]:
        now = time.monotonic()
        return await self._call(
            [
                Asked(replace(request, deadline=None), (request.deadline or now) - now)
                for request in requests
            ]
        )


async def infer_each(infer: Infer, asked: Sequence[Asked]) -> list[Answer]:
    """The other end of a hop: what `infer` answers or raises for each request."""
    now = time.monotonic()
    return await asyncio.gather(
        *(infer(replace(each.request, deadline=now + each.budget_s)) for each in asked),
        return_exceptions=True,
    )


def _units(request: InferenceRequest) -> int:
    size = sum(array.nbytes for array in request.inputs.values())
    return 1 + size // _UNIT
