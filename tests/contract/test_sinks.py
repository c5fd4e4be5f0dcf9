"""What every registered sink must do. A new one needs a rig here, and has its tests."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import pytest
import pytest_asyncio
from pydantic import ValidationError

import connectors
from app.config.connectors import ActionConfig
from app.errors import NotConnected
from app.interfaces import Sink
from app.registry import SINKS
from app.types import Action
from connectors.mqtt.client import MqttConnection
from connectors.mqtt.config import BrokerConfig
from tests.integration.mosquitto import free_port

assert connectors.__all__
NAMES = sorted(registration.names[0] for registration in SINKS)


@dataclass
class Rig:
    """A configuration that works, and how the ids of `count` delivered actions are got."""

    config: dict[str, object]
    delivered: Callable[[int], Awaitable[list[str]]]

    def make(self, name: str) -> Sink:
        registration = SINKS.get(name)
        return registration.factory(registration.config.model_validate(self.config), {})


class HttpReceiver:
    """Answers every POST with 204 and keeps its body."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.port = 0

    async def start(self) -> asyncio.Server:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                headers = head.decode().lower().split("\r\n")
                [length] = [line.split(":")[1] for line in headers if "content-length" in line]
                self.bodies.append(await reader.readexactly(int(length)))
                writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
                await writer.drain()
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest_asyncio.fixture
async def rig(
    name: str, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> AsyncIterator[Rig]:
    if name == "log":
        caplog.set_level(logging.INFO)

        async def logged(count: int) -> list[str]:
            return [record.__dict__["action"]["id"] for record in caplog.records]

        yield Rig({}, logged)
    elif name == "webhook":
        receiver = HttpReceiver()
        server = await receiver.start()

        async def posted(count: int) -> list[str]:
            return [json.loads(body)["id"] for body in receiver.bodies]

        yield Rig({"url": f"http://127.0.0.1:{receiver.port}/"}, posted)
        server.close()
    elif name == "mqtt":
        port = request.getfixturevalue("mosquitto").port
        watcher = MqttConnection(BrokerConfig(host="127.0.0.1", port=port))
        await watcher.open()
        await watcher.subscribe([("#", 1)])

        async def published(count: int) -> list[str]:
            messages = [await asyncio.wait_for(watcher.receive(), 10) for _ in range(count)]
            return [json.loads(message.payload)["id"] for message in messages]

        yield Rig({"host": "127.0.0.1", "port": port, "topic": "a"}, published)
        await watcher.close()
    else:
        pytest.fail(f"sink {name!r} has no rig in the contract suite")


def action(number: int) -> Action:
    return Action(f"id-{number}", "agent", "name", {"n": number, "nothing": None})


def test_config_is_frozen_and_refuses_what_it_does_not_know(name: str) -> None:
    config_class = SINKS.get(name).config
    assert issubclass(config_class, ActionConfig)
    assert config_class.model_config["frozen"]
    needed = {"mqtt": {"host": "h"}, "webhook": {"url": "http://h/"}}.get(name, {})
    config_class.model_validate({"type": name, **needed})
    for wrong in ({"no_such_field": 1}, {"type": "other"}):
        with pytest.raises(ValidationError):
            config_class.model_validate({**needed, **wrong})


async def test_every_action_is_delivered_also_written_at_once(name: str, rig: Rig) -> None:
    sink = rig.make(name)
    await sink.connect()
    await asyncio.gather(*(sink.write(action(number)) for number in range(20)))
    assert sorted(await rig.delivered(20)) == sorted(f"id-{number}" for number in range(20))
    await sink.close()


async def test_close_is_idempotent_and_needs_no_connect(name: str, rig: Rig) -> None:
    sink = rig.make(name)
    await sink.close()
    await sink.connect()
    await sink.close()
    await sink.close()


async def test_connect_after_close_works(name: str, rig: Rig) -> None:
    sink = rig.make(name)
    for number in range(2):
        await sink.connect()
        await sink.write(action(number))
        await sink.close()
    assert await rig.delivered(2) == ["id-0", "id-1"]


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"log"}))
async def test_a_receiver_that_is_away_may_be_tried_again(name: str) -> None:
    port = free_port()
    config = {
        "mqtt": {"host": "127.0.0.1", "port": port, "topic": "a"},
        "webhook": {"url": f"http://127.0.0.1:{port}/"},
    }[name]
    registration = SINKS.get(name)
    sink = registration.factory(registration.config.model_validate(config), {})

    async def connect_and_write() -> None:
        await sink.connect()
        await sink.write(action(1))

    with pytest.raises(NotConnected):
        await connect_and_write()
    await sink.close()
