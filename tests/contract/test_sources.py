"""What every registered source must do. A new one needs a rig here, and has its tests."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from pydantic import BaseModel, ValidationError

import connectors
from app.clock import SystemClock
from app.config.connectors import ConnectorConfig
from app.errors import ConnectorError, EndOfStream
from app.interfaces import Source
from app.pipeline.outcome import Outcome
from app.registry import SOURCES
from app.streams.source_runner import SourceRunner
from app.types import Message
from connectors.mqtt import MqttConfig
from connectors.mqtt.client import MqttConnection
from tests.fakes.context import StillClock
from tests.integration.mosquitto import Mosquitto

assert connectors.__all__
NAMES = sorted(registration.names[0] for registration in SOURCES)


@dataclass
class Rig:
    """A configuration that works, and what makes two messages come. `MESSAGES` come in all."""

    config: dict[str, object]
    feed: Callable[[], Awaitable[None]]

    def make(self, name: str) -> Source:
        registration = SOURCES.get(name)
        config = registration.config.model_validate(self.config)
        return registration.factory(config, SystemClock())


async def nothing() -> None:
    """The messages are there already."""


def file_rig(folder: Path) -> Rig:
    path = folder / "recording.jsonl"
    path.write_text(
        '{"t": 0, "source": "a", "payload": 1}\n{"t": 0, "source": "b", "payload": 2}\n'
    )
    return Rig({"path": str(path), "pipeline": "p"}, nothing)


def camera_rig(folder: Path) -> Rig:
    path = folder / "video.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (64, 48))
    if not writer.isOpened():
        pytest.skip("this OpenCV cannot write MJPEG")
    for _ in range(2):
        writer.write(np.zeros((48, 64, 3), np.uint8))
    writer.release()
    return Rig({"device": str(path), "pipeline": "p"}, nothing)


def mqtt_rig(broker: Mosquitto) -> Rig:
    config = {
        "host": "127.0.0.1",
        "port": broker.port,
        "topics": [{"filter": "t/#", "pipeline": "p"}],
    }

    async def feed() -> None:
        connection = MqttConnection(MqttConfig.model_validate({"id": "feed", **config}))
        try:
            await connection.open()
            for number in range(2):
                await connection.publish(f"t/{number}", b"1", qos=1, retain=False, timeout=5.0)
        finally:
            await connection.close()

    return Rig(config, feed)


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def rig(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> Rig:
    if name == "file":
        made = file_rig(tmp_path)
    elif name == "camera":
        made = camera_rig(tmp_path)
    elif name == "mqtt":
        made = mqtt_rig(request.getfixturevalue("mosquitto"))
    else:
        pytest.fail(f"source {name!r} has no rig in the contract suite")
    made.config["id"] = "contract"
    return made


async def read_two(source: Source) -> list[Message]:
    messages = []
    for _ in range(2):
        received = await asyncio.wait_for(source.read(), 10)
        await received.ack(True)
        messages.append(received.message)
    return messages


def test_config_shares_the_common_fields_and_is_frozen(name: str, rig: Rig) -> None:
    config_class = SOURCES.get(name).config
    config = config_class.model_validate({**rig.config, "type": name, "max_queue_depth": 7})
    assert isinstance(config, ConnectorConfig)
    assert (config.id, config.max_queue_depth, config.routes()) == ("contract", 7, ("p",))
    with pytest.raises(ValidationError, match="frozen"):
        config.id = "other"  # type: ignore[misc]  # it cannot be set


@pytest.mark.parametrize("wrong", [{"no_such_field": 1}, {"id": ""}, {"on_full": "explode"}])
def test_config_refuses_what_it_does_not_know(
    name: str, rig: Rig, wrong: dict[str, object]
) -> None:
    config_class: type[BaseModel] = SOURCES.get(name).config
    with pytest.raises(ValidationError):
        config_class.model_validate({**rig.config, **wrong})


def test_making_a_source_opens_nothing(name: str) -> None:
    registration = SOURCES.get(name)
    nowhere: dict[str, dict[str, object]] = {
        "file": {"path": "nowhere.jsonl"},
        "camera": {"device": "nowhere"},
        "mqtt": {"host": "nowhere.invalid", "topics": [{"filter": "t", "pipeline": "p"}]},
    }
    config = registration.config.model_validate({"id": "contract", **nowhere[name]})
    registration.factory(config, StillClock())


async def test_messages_are_complete(name: str, rig: Rig) -> None:
    source = rig.make(name)
    await source.connect()
    await rig.feed()
    messages = await read_two(source)
    await source.close()
    assert len({message.id for message in messages}) == 2
    for message in messages:
        assert message.source
        assert message.pipeline == "p"
        assert message.error is None
        assert message.captured_at > 1.6e9
        assert message.metadata["connector"] == "contract"


async def test_close_is_idempotent_and_needs_no_connect(name: str, rig: Rig) -> None:
    source = rig.make(name)
    await source.close()
    await source.connect()
    await source.close()
    await source.close()


async def test_reading_while_closed_is_an_error_of_the_contract(name: str, rig: Rig) -> None:
    source = rig.make(name)
    with pytest.raises(ConnectorError):
        await source.read()
    await source.connect()
    await source.close()
    with pytest.raises(ConnectorError):
        await source.read()


async def test_connect_after_close_works(name: str, rig: Rig) -> None:
    source = rig.make(name)
    for _ in range(2):
        await source.connect()
        await rig.feed()
        assert len(await read_two(source)) == 2
        await source.close()


async def test_a_cancelled_read_leaves_the_source_usable(name: str, rig: Rig) -> None:
    source = rig.make(name)
    await source.connect()
    reading = asyncio.ensure_future(source.read())
    await asyncio.sleep(0)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    await rig.feed()
    try:
        await read_two(source)
    except EndOfStream:
        # A camera keeps no frames: the one that was being read may be gone.
        assert name == "camera"
    await source.close()


async def test_under_a_runner_every_message_is_settled(name: str, rig: Rig) -> None:
    done = asyncio.Semaphore(0)

    async def process(message: Message) -> Outcome:
        done.release()
        return Outcome("processed", None, message)

    runner = SourceRunner(
        name, rig.make(name), process, clock=SystemClock(), on_full="block", max_concurrency=2
    )
    running = asyncio.create_task(runner.run())
    give_up = asyncio.get_running_loop().time() + 10
    while runner.status().state == "connecting":
        assert asyncio.get_running_loop().time() < give_up
        await asyncio.sleep(0.01)
    await rig.feed()
    for _ in range(2):
        await asyncio.wait_for(done.acquire(), 10)
    await runner.drain(5.0)
    await running
    total = runner.counts.snapshot()["total"]
    assert total == {
        "captured": 2,
        "processed": 2,
        "downgraded": 0,
        "dropped": {},
        "in_flight": 0,
    }
    assert runner.status().ack_failures == 0
