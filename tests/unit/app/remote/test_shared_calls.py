"""Requests that share a call to another process, in virtual time but for the deadlines."""

import asyncio
import time
from collections.abc import Sequence

import numpy as np
import pytest

from app.errors import DeadlineExceeded, InvalidInput, ModelNotReady
from app.remote.shared_calls import Answer, Asked, SharedCalls, infer_each
from app.types import InferenceRequest, InferenceResponse


def soon() -> float:
    return time.monotonic() + 30.0


def request(tag: int, size: int = 1) -> InferenceRequest:
    return InferenceRequest("m", {"x": np.full(size, tag, np.uint8)}, id=str(tag))


class OtherProcess:
    """Answers each request with its id, a turn of the loop later; refuses id 13."""

    def __init__(self) -> None:
        self.calls: list[list[str | None]] = []
        self.budgets: list[float] = []
        self.away = False

    async def call(self, asked: Sequence[Asked]) -> Sequence[Answer]:
        self.calls.append([each.request.id for each in asked])
        self.budgets += [each.budget_s for each in asked]
        assert all(each.request.deadline is None for each in asked)
        await asyncio.sleep(0.001)
        if self.away:
            raise ModelNotReady("the process is away")
        return await infer_each(self.infer, asked)

    async def infer(self, request: InferenceRequest) -> InferenceResponse:
        assert request.deadline is not None
        if request.id == "13":
            raise InvalidInput("13 is not welcome")
        return InferenceResponse("m", "1", request.inputs, request.id)


async def test_what_waits_shares_a_call() -> None:
    process = OtherProcess()
    hop = SharedCalls(process.call, calls=1)
    for _ in range(12):  # so that sharing is known to pay
        await asyncio.gather(*(hop.infer(request(tag), soon()) for tag in range(8)))
    process.calls.clear()
    answers = await asyncio.gather(*(hop.infer(request(tag), soon()) for tag in range(8)))
    assert [answer.id for answer in answers] == [str(tag) for tag in range(8)]
    assert sum(map(len, process.calls)) == 8
    assert len(process.calls) < 8


async def test_only_the_guilty_request_of_a_call_fails() -> None:
    hop = SharedCalls(OtherProcess().call)
    answers = await asyncio.gather(
        *(hop.infer(request(tag), soon()) for tag in range(10, 16)), return_exceptions=True
    )
    assert isinstance(answers.pop(3), InvalidInput)
    assert all(isinstance(answer, InferenceResponse) for answer in answers)


async def test_all_of_a_call_fail_where_the_process_is_away() -> None:
    process = OtherProcess()
    process.away = True
    hop = SharedCalls(process.call, calls=1)
    answers = await asyncio.gather(
        *(hop.infer(request(tag), soon()) for tag in range(4)), return_exceptions=True
    )
    assert all(isinstance(answer, ModelNotReady) for answer in answers)


async def test_a_deadline_crosses_as_what_is_left_of_it() -> None:
    process = OtherProcess()
    hop = SharedCalls(process.call)
    await hop.infer(request(1), time.monotonic() + 5.0)
    with pytest.raises(DeadlineExceeded):
        await hop.infer(request(2), time.monotonic() - 1.0)
    (budget,) = process.budgets
    assert 4.0 < budget <= 5.0


async def test_large_requests_do_not_share_one_enormous_call() -> None:
    process = OtherProcess()
    hop = SharedCalls(process.call, calls=1)
    for _ in range(12):
        await asyncio.gather(*(hop.infer(request(tag), soon()) for tag in range(8)))
    process.calls.clear()
    large = 40 * 1024 * 1024
    await asyncio.gather(*(hop.infer(request(tag, large), soon()) for tag in range(3)))
    assert [len(call) for call in process.calls] == [1, 1, 1]
