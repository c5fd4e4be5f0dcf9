"""What a gRPC server gives to a handler, without a server."""

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
    """`remaining` is what the caller's deadline leaves, in seconds; None where it has none."""

    def __init__(self, remaining: float | None = None) -> None:
        self._remaining = remaining

    def time_remaining(self) -> float | None:
        return self._remaining

    async def abort(self, code: grpc.StatusCode, details: str) -> NoReturn:
        raise Aborted(code, details)


async def sent(*messages: bytes) -> AsyncIterator[bytes]:
    """The requests of a stream whose caller then closes its side."""
    for message in messages:
        yield message
