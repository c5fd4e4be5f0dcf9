"""Which replica is asked, over real sockets."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from app.errors import ModelNotReady
from app.remote import local_replicas
from app.remote.local_replicas import Found, LocalReplicas
from app.remote.unix_socket import Channel, ChannelServer
from app.types import InferenceRequest, InferenceResponse


class Replicas:
    """Those of a model, and what a look at them finds."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.gate = asyncio.Event()
        self.paths: list[str] = []
        self.elsewhere = 0
        self.looks = 0
        self.away = False
        self._servers: dict[str, ChannelServer] = {}

    async def start(self, name: str) -> None:
        async def infer(request: InferenceRequest) -> InferenceResponse:
            await self.gate.wait()
            return InferenceResponse("m", name, request.inputs)

        path = self.folder / name
        server = self._servers[str(path)] = ChannelServer(infer, path)
        await server.start()
        self.paths.append(str(path))

    async def stop(self, name: str) -> None:
        path = str(self.folder / name)
        self.paths.remove(path)
        await self._servers.pop(path).stop()

    async def close(self) -> None:
        self.gate.set()
        for server in self._servers.values():
            await server.stop()

    async def look(self) -> Found:
        self.looks += 1
        if self.away:
            raise ModelNotReady("nobody answers")
        return Found(list(self.paths), self.elsewhere)

    def found(self) -> LocalReplicas:
        return LocalReplicas("m", self.look)


@pytest.fixture
async def replicas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Replicas]:
    monkeypatch.setattr(local_replicas, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(local_replicas, "LOOK_AGAIN_SECONDS", 0.01)
    replicas = Replicas(tmp_path)
    yield replicas
    await replicas.close()
    await asyncio.sleep(0.01)


async def until(condition: Callable[[], object]) -> None:
    give_up = time.monotonic() + 5.0
    while not condition():
        assert time.monotonic() < give_up
        await asyncio.sleep(0.001)


async def asked(channel: Channel) -> InferenceResponse:
    request = InferenceRequest("m", {"x": np.zeros(1)})
    return await channel.infer(request, time.monotonic() + 10.0)


async def version(found: LocalReplicas) -> str:
    channel = found.channel(0)
    assert channel is not None
    return (await asked(channel)).version


@asynccontextmanager
async def busy(channel: Channel, requests: int) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        for _ in range(requests):
            task = asyncio.ensure_future(asked(channel))
            stack.callback(task.cancel)
        await asyncio.sleep(0)
        yield
    await asyncio.sleep(0)


async def test_none_is_known_before_the_first_look(replicas: Replicas) -> None:
    await replicas.start("1")
    found = replicas.found()
    assert found.channel(0) is None
    await until(lambda: found.channel(0) is not None)


async def test_the_one_with_the_least_to_do_is_asked(replicas: Replicas) -> None:
    await replicas.start("1")
    await replicas.start("2")
    found = replicas.found()
    await until(lambda: found.channel(0) is not None)
    first = found.channel(0)
    assert first is not None
    async with busy(first, 1):
        second = found.channel(0)
        assert second is not None
        assert second is not first
        async with busy(second, 2):
            assert found.channel(0) is first


async def test_replicas_elsewhere_get_their_share(replicas: Replicas) -> None:
    await replicas.start("1")
    replicas.elsewhere = 2
    found = replicas.found()
    await until(lambda: found.channel(0) is not None)
    channel = found.channel(0)
    assert channel is not None
    async with busy(channel, 3):
        assert found.channel(5) is None
        assert found.channel(6) is channel


async def test_replicas_come_and_go(replicas: Replicas) -> None:
    replicas.gate.set()
    await replicas.start("1")
    found = replicas.found()
    await until(lambda: found.channel(0) is not None)
    assert await version(found) == "1"
    await replicas.stop("1")
    await until(lambda: found.channel(0) is None)
    await replicas.start("2")
    await until(lambda: found.channel(0) is not None)
    assert await version(found) == "2"


async def test_a_door_that_is_gone_already_is_passed_over(replicas: Replicas) -> None:
    replicas.gate.set()
    replicas.paths.append(str(replicas.folder / "gone"))
    await replicas.start("2")
    found = replicas.found()
    await until(lambda: found.channel(0) is not None)
    assert await version(found) == "2"


async def test_a_look_in_vain_changes_nothing(replicas: Replicas) -> None:
    await replicas.start("1")
    found = replicas.found()
    await until(lambda: found.channel(0) is not None)
    replicas.away = True
    before = replicas.looks
    await until(lambda: found.channel(0) is not None and replicas.looks > before + 1)


async def test_nobody_is_asked_while_there_are_no_requests(replicas: Replicas) -> None:
    found = replicas.found()
    await asyncio.sleep(0.05)
    assert replicas.looks == 0
    found.channel(0)
    await asyncio.sleep(0.05)
    assert replicas.looks == 1
