"""Requests over a socket between two processes' ends, both of them here."""

import asyncio
import stat
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from app.errors import DeadlineExceeded, InferenceFailed, InvalidInput, ModelNotReady, QueueFull
from app.remote import unix_socket as module
from app.remote.unix_socket import Channel, ChannelServer
from app.types import InferenceRequest, InferenceResponse


class Model:
    """Answers with what it was asked, once `gate` is open; the id says what else it does."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.seen: list[str | None] = []
        self.cancelled: list[str | None] = []
        self.left_s = 0.0

    async def infer(self, request: InferenceRequest) -> InferenceResponse:
        self.seen.append(request.id)
        assert request.deadline is not None
        self.left_s = request.deadline - time.monotonic()
        if request.id == "refused":
            raise InvalidInput("not this one")
        if request.id == "odd":
            raise type("Local", (Exception,), {})("of a class that exists here only")
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled.append(request.id)
            raise
        return InferenceResponse(request.model, "7", request.inputs, request.id)


@asynccontextmanager
async def opened(model: Model, folder: Path) -> AsyncIterator[tuple[Channel, ChannelServer]]:
    path = folder / "door"
    server = ChannelServer(model.infer, path)
    await server.start()
    channel = await Channel.connect("m", str(path))
    try:
        yield channel, server
    finally:
        model.gate.set()
        await server.stop()
        await until(lambda: not channel.open)
        await asyncio.sleep(0)


def soon() -> float:
    return time.monotonic() + 10.0


def request(tag: object, size: int = 3) -> InferenceRequest:
    return InferenceRequest("m", {"x": np.arange(size, dtype=np.float32)}, id=str(tag))


async def until(condition: Callable[[], object]) -> None:
    give_up = time.monotonic() + 5.0
    while not condition():
        assert time.monotonic() < give_up
        await asyncio.sleep(0.001)


async def test_each_request_has_its_own_answer(tmp_path: Path) -> None:
    async with opened(Model(), tmp_path) as (channel, _):
        sizes = [1, 0, 3_000_000, 17, 70_000] * 8
        answers = await asyncio.gather(
            *(channel.infer(request(tag, size), soon()) for tag, size in enumerate(sizes))
        )
        assert [answer.id for answer in answers] == [str(tag) for tag in range(len(sizes))]
        for answer, size in zip(answers, sizes, strict=True):
            assert (answer.model, answer.version) == ("m", "7")
            np.testing.assert_array_equal(answer.outputs["x"], np.arange(size, dtype=np.float32))
        assert channel.waiting == 0


async def test_text_and_everything_else_of_a_request_crosses(tmp_path: Path) -> None:
    asked: list[InferenceRequest] = []

    async def infer(each: InferenceRequest) -> InferenceResponse:
        asked.append(each)
        return InferenceResponse("m", "1", each.inputs)

    server = ChannelServer(infer, tmp_path / "door")
    await server.start()
    channel = await Channel.connect("m", str(tmp_path / "door"))
    text = np.array([b"a", "ü".encode()], object)
    sent = InferenceRequest("m", {"text": text}, "3", "id", ("y",), {"priority": 1})
    answer = await channel.infer(sent, soon())
    assert answer.outputs["text"].tolist() == text.tolist()
    (got,) = asked
    fields = ("model", "version", "id", "outputs", "parameters")
    assert [getattr(got, field) for field in fields] == [getattr(sent, field) for field in fields]
    await server.stop()


async def test_only_the_guilty_request_fails(tmp_path: Path) -> None:
    async with opened(Model(), tmp_path) as (channel, _):
        good, refused, odd = await asyncio.gather(
            *(channel.infer(request(tag), soon()) for tag in ("good", "refused", "odd")),
            return_exceptions=True,
        )
        assert isinstance(good, InferenceResponse)
        assert isinstance(refused, InvalidInput)
        assert str(refused) == "not this one"
        assert isinstance(odd, InferenceFailed)


async def test_a_cancelled_request_is_taken_back(tmp_path: Path) -> None:
    model = Model()
    model.gate.clear()
    async with opened(model, tmp_path) as (channel, _):
        kept = asyncio.ensure_future(channel.infer(request("kept"), soon()))
        left = asyncio.ensure_future(channel.infer(request("left"), soon()))
        await until(lambda: len(model.seen) == 2)
        left.cancel()
        await until(lambda: model.cancelled == ["left"])
        assert channel.waiting == 1
        model.gate.set()
        assert (await kept).id == "kept"


async def test_a_request_that_is_taken_back_at_once_is_not_kept(tmp_path: Path) -> None:
    model = Model()
    async with opened(model, tmp_path) as (channel, server):
        task = asyncio.ensure_future(channel.infer(request("left"), soon()))
        await asyncio.sleep(0)
        task.cancel()
        assert (await channel.infer(request("kept"), soon())).id == "kept"
        began = time.monotonic()
        await server.stop()
        assert time.monotonic() - began < module.STOP_SECONDS / 2


async def test_a_deadline_crosses_and_passes(tmp_path: Path) -> None:
    model = Model()
    model.gate.clear()
    async with opened(model, tmp_path) as (channel, _):
        with pytest.raises(DeadlineExceeded):
            await channel.infer(request("late"), time.monotonic() + 0.2)
        assert 0.0 < model.left_s <= 0.2
        await until(lambda: model.cancelled == ["late"])
        assert channel.waiting == 0


async def test_what_is_under_way_is_answered_before_the_end(tmp_path: Path) -> None:
    model = Model()
    model.gate.clear()
    async with opened(model, tmp_path) as (channel, server):
        under_way = [asyncio.ensure_future(channel.infer(request(tag), soon())) for tag in range(5)]
        await until(lambda: len(model.seen) == 5)
        stopping = asyncio.ensure_future(server.stop())
        await until(lambda: not channel.open)
        with pytest.raises(ModelNotReady):
            await channel.infer(request("after"), soon())
        model.gate.set()
        assert [answer.id for answer in await asyncio.gather(*under_way)] == list("01234")
        await stopping
        assert list(tmp_path.iterdir()) == []


async def test_requests_sent_while_the_end_is_told_are_answered(tmp_path: Path) -> None:
    async with opened(Model(), tmp_path) as (channel, server):
        await channel.infer(request("first"), soon())
        stopping = asyncio.ensure_future(server.stop())
        answers = [asyncio.ensure_future(channel.infer(request(tag), soon())) for tag in range(5)]
        assert [answer.id for answer in await asyncio.gather(*answers)] == list("01234")
        await stopping


async def test_a_process_that_is_too_slow_to_end_leaves_its_callers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STOP_SECONDS", 0.05)
    model = Model()
    model.gate.clear()
    async with opened(model, tmp_path) as (channel, server):
        stuck = asyncio.ensure_future(channel.infer(request("stuck"), soon()))
        await until(lambda: model.seen)
        await server.stop()
        with pytest.raises(ModelNotReady):
            await stuck


async def test_a_caller_that_is_gone_is_not_answered(tmp_path: Path) -> None:
    model = Model()
    model.gate.clear()
    async with opened(model, tmp_path) as (_, server):
        _, writer = await asyncio.open_unix_connection(str(tmp_path / "door"))
        body = module._packed(request("lost"), 10.0)
        writer.write(module._HEAD.pack(1, len(body)) + body)
        await until(lambda: model.seen)
        writer.close()
        await until(lambda: model.cancelled == ["lost"])
        await server.stop()


async def test_a_full_channel_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 2)
    model = Model()
    model.gate.clear()
    async with opened(model, tmp_path) as (channel, _):
        asked: list[Awaitable[InferenceResponse]] = [
            asyncio.ensure_future(channel.infer(request(tag), soon())) for tag in range(2)
        ]
        await until(lambda: len(model.seen) == 2)
        with pytest.raises(QueueFull):
            await channel.infer(request("third"), soon())
        model.gate.set()
        await asyncio.gather(*asked)


async def test_only_its_user_can_open_the_door(tmp_path: Path) -> None:
    async with opened(Model(), tmp_path):
        mode = stat.S_IMODE((tmp_path / "door").stat().st_mode)
        assert mode == 0o600
