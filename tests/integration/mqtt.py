"""The MQTT connector's parts around a real broker, for tests."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import cast

from app.clock import SystemClock
from app.pipeline.outcome import Outcome
from app.streams.source_runner import Process, SourceRunner
from app.types import JsonValue, Message
from connectors.mqtt import MqttConfig, MqttSource
from connectors.mqtt.client import MqttConnection
from connectors.mqtt.config import BrokerConfig
from tests.integration.mosquitto import Mosquitto

JPEG = b"\xff\xd8\xff\xe0" + bytes(range(256)) + b"\xff\xd9"


ROUTES = [
    {"filter": "sensors/+/env", "pipeline": "env-quality", "serializer": "json"},
    {"filter": "sensors/+/frame", "pipeline": "vision", "serializer": "jpeg"},
]


def config_of(broker: Mosquitto, **options: object) -> MqttConfig:
    values = {
        "id": "floor1",
        "host": "127.0.0.1",
        "port": broker.port,
        "client_id": "manta-test",
        "topics": ROUTES,
        **options,
    }
    return MqttConfig.model_validate(values)


def runner_of(config: MqttConfig, process: Process, jitter: float = 0.1) -> SourceRunner:
    return SourceRunner(
        config.id,
        MqttSource(config, SystemClock()),
        process,
        clock=SystemClock(),
        on_full=config.on_full,
        random=lambda: jitter,
    )


@asynccontextmanager
async def running(runner: SourceRunner) -> AsyncIterator[None]:
    task = asyncio.create_task(runner.run())
    try:
        yield
    finally:
        await runner.drain(5.0)
        await task


@asynccontextmanager
async def connected(broker: Mosquitto, client_id: str = "") -> AsyncIterator[MqttConnection]:
    connection = MqttConnection(
        BrokerConfig(host="127.0.0.1", port=broker.port), client_id=client_id
    )
    try:
        await connection.open()
        yield connection
    finally:
        await connection.close()


async def publish(broker: Mosquitto, topic: str, *payloads: bytes, retain: bool = False) -> None:
    async with connected(broker) as connection:
        for payload in payloads:
            await connection.publish(topic, payload, qos=1, retain=retain, timeout=5.0)


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up, f"not so within {seconds} s"
        await asyncio.sleep(0.01)


def collecting(messages: list[Message]) -> Callable[[Message], Awaitable[Outcome]]:
    async def process(message: Message) -> Outcome:
        if message.error is not None:
            return Outcome("dropped", "invalid", message)
        messages.append(message)
        return Outcome("processed", None, message)

    return process


def numbers(messages: list[Message]) -> set[int]:
    return {cast(dict[str, int], message.content)["n"] for message in messages}


def total(runner: SourceRunner) -> dict[str, JsonValue]:
    return cast(dict[str, JsonValue], runner.counts.snapshot()["total"])
