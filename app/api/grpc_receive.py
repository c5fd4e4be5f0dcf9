"""The message of a call that has one, which must be there in time.

gRPC itself waits for the rest of a message as long as the connection lives. So a call of one
message is handled as one of many, of which the first is read here; over the wire they are the same.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import NoReturn, Protocol

import grpc


class Context(Protocol):
    """What is used of grpc.aio's ServicerContext."""

    def time_remaining(self) -> float | None:
        """Seconds until the caller gives up; None where it never does."""
        ...

    async def read(self) -> object:
        """The next message, or something that is no bytes where the caller sends none any more."""
        ...

    async def abort(self, code: grpc.StatusCode, details: str) -> NoReturn: ...


def one_message(
    call: Callable[[bytes, Context], Awaitable[bytes]], seconds: float
) -> grpc.RpcMethodHandler:
    """The handler of a call whose message must be there `seconds` after its headers."""

    async def handle(_: AsyncIterator[bytes], context: Context) -> bytes:
        return await call(await _received(context, seconds), context)

    return grpc.stream_unary_rpc_method_handler(handle)


async def _received(context: Context, seconds: float) -> bytes:
    late = False

    call = asyncio.current_task()

    def give_up() -> None:
        nonlocal late
        late = True
        if call is not None:
            call.cancel()

    timer = asyncio.get_running_loop().call_later(seconds, give_up)
    try:
        message = await context.read()
    except asyncio.CancelledError:
        if not late:
            raise
        text = f"the message was not there within {seconds:g} s"
        await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, text)
    finally:
        timer.cancel()
    if not isinstance(message, bytes):
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the call has no message")
    return message
