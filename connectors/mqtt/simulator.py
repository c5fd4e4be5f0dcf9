"""Simulated sensors on an MQTT broker, and what the pipelines do about them."""

import asyncio
from collections.abc import Callable, Iterable

from app.clock import SystemClock
from app.errors import NotConnected
from app.types import JsonValue
from connectors.mqtt.client import MqttConnection
from connectors.mqtt.config import BrokerConfig
from connectors.simulator import Simulated, simulate

PUBLISH_TIMEOUT_S = 10.0


async def simulate_sensors(
    broker: BrokerConfig,
    *,
    seconds: float,
    readings: Iterable[dict[str, JsonValue]] = (),
    readings_per_s: float = 1.0,
    reading_topic: str = "sensors/floor1/sim/env",
    picture: bytes | None = None,
    frames_per_s: float = 1.0,
    frame_topic: str = "sensors/floor1/cam1/frame",
    actions_filter: str | None = "actuators/#",
    show: Callable[[str], None] = print,
    published: Callable[[str], None] | None = None,
    linger_s: float = 1.0,
) -> Simulated:
    """Publish for `seconds` seconds, QoS 1; show every action as "topic payload" on one line.

    `published` is told the topic of everything that the broker has got.
    Listens `linger_s` seconds longer for the last answers. Raises NotConnected or
    ConnectorRejected for a broker that is away or refuses, InvalidInput for a bad picture.
    """
    connection = MqttConnection(broker)
    listening: asyncio.Task[None] | None = None

    async def publish(topic: str, payload: bytes) -> None:
        await connection.publish(topic, payload, qos=1, retain=False, timeout=PUBLISH_TIMEOUT_S)
        if published is not None:
            published(topic)

    try:
        await connection.open()
        if actions_filter is not None:
            await connection.subscribe([(actions_filter, 1)])
            listening = asyncio.create_task(_show_actions(connection, show))
        simulated = await simulate(
            publish,
            SystemClock(),
            seconds=seconds,
            readings=readings,
            readings_per_s=readings_per_s,
            reading_topic=reading_topic,
            picture=picture,
            frames_per_s=frames_per_s,
            frame_topic=frame_topic,
        )
        if listening is not None:
            await asyncio.sleep(linger_s)
        return simulated
    finally:
        if listening is not None:
            listening.cancel()
        await connection.close()


async def _show_actions(connection: MqttConnection, show: Callable[[str], None]) -> None:
    while True:
        try:
            message = await connection.receive()
        except NotConnected:
            return
        connection.acknowledge(message)
        show(f"{message.topic} {bytes(message.payload).decode(errors='replace')}")
