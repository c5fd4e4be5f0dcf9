"""Messages of calls, and those that never come."""

import asyncio
from collections.abc import Coroutine

import pytest

from app.api.grpc_receive import Context, one_message
from tests.fakes.grpc import Aborted, FakeContext, sent
from tests.virtual_time import run_virtual


async def echo(data: bytes, context: Context) -> bytes:
    assert context.time_remaining() is None
    await asyncio.sleep(100)  # an answer may take its time
    return data


def handled(context: FakeContext) -> Coroutine[object, object, bytes]:
    answer: Coroutine[object, object, bytes] = one_message(echo, 5.0).stream_unary(sent(), context)
    return answer


def test_a_message_is_answered_however_long_that_takes() -> None:
    assert run_virtual(handled(FakeContext(None, b"hello", stalls=True))) == b"hello"


def test_fault_048_a_message_that_does_not_come_ends_the_call() -> None:
    with pytest.raises(Aborted, match="not there within 5 s") as raised:
        run_virtual(handled(FakeContext(stalls=True)))
    assert raised.value.code.name == "DEADLINE_EXCEEDED"


def test_fault_047_a_call_without_a_message() -> None:
    with pytest.raises(Aborted, match="no message") as raised:
        run_virtual(handled(FakeContext()))
    assert raised.value.code.name == "INVALID_ARGUMENT"


async def test_a_call_that_is_cancelled_while_it_is_read_stays_cancelled() -> None:
    running = asyncio.ensure_future(handled(FakeContext(stalls=True)))
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
