"""What a gRPC server gives to a handler, without a server."""

import asyncio
from collections.abc import AsyncIterator
from typing import NoReturn

import grpc


class Aborted(Exception):
    """How a call ended that was not answered."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(code, details)
        self.code = code
        self.details = details


class FakeContext:
    """`remaining` is what the caller's deadline leaves, in seconds; None where it has none.

    The caller sends `messages`; with `stalls` it sends nothing more after them, and never ends.
    """

    def __init__(
        self, remaining: float | None = None, *messages: bytes, stalls: bool = False
    ) -> None:
        self._remaining = remaining
        self._messages = list(messages)
        self._stalls = stalls

    def time_remaining(self) -> float | None:
        return self._remaining

    async def read(self) -> object:
        if self._messages:
            return self._messages.pop(0)
        if self._stalls:
            await asyncio.Event().wait()
        return grpc.aio.EOF

    async def abort(self, code: grpc.StatusCode, details: str) -> NoReturn:
        raise Aborted(code, details)


async def sent(*messages: bytes) -> AsyncIterator[bytes]:
    """The requests of a stream whose caller then closes its side."""
    for message in messages:
        yield message
