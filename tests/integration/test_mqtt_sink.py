"""Actions over MQTT and the simulated site, against a real Mosquitto."""

import asyncio
import json

import cv2
import numpy as np
import pytest

from app.clock import SystemClock
from app.errors import ConnectorRejected, NotConnected
from app.pipeline.outcome import Outcome
from app.streams.sinks import ConnectedSink
from app.types import Action, Message
from connectors.mqtt import MqttActionConfig, MqttSink
from connectors.mqtt.config import BrokerConfig
from connectors.mqtt.simulator import simulate_sensors
from tests.integration.mosquitto import Mosquitto
from tests.integration.mqtt import (
    config_of,
    connected,
    runner_of,
    running,
    until,
)

pytestmark = pytest.mark.integration


def action(target: str | None = None) -> Action:
    return Action("m1:guard:0", "guard", "mqtt", {"zone": "frontdoor"}, target)


def sink_to(mosquitto: Mosquitto, topic: str) -> ConnectedSink:
    """As pipelines have it: connected by itself, without a pause before the next attempt."""
    broker = BrokerConfig(host="127.0.0.1", port=mosquitto.port)
    sink = MqttSink(MqttActionConfig(host="floor1", topic=topic), broker)
    return ConnectedSink("mqtt", sink, SystemClock(), random=lambda: 0.0)


async def test_actions_are_published(mosquitto: Mosquitto) -> None:
    sink = sink_to(mosquitto, "actuators/default")
    async with connected(mosquitto) as watcher:
        await watcher.subscribe([("actuators/#", 1)])
        await sink.write(action())
        await asyncio.gather(*(sink.write(action("actuators/frontdoor")) for _ in range(5)))
        received = [await asyncio.wait_for(watcher.receive(), 5) for _ in range(6)]
    assert [message.topic for message in received] == [
        "actuators/default",
        *["actuators/frontdoor"] * 5,
    ]
    assert json.loads(received[1].payload) == {
        "id": "m1:guard:0",
        "agent": "guard",
        "target": "actuators/frontdoor",
        "payload": {"zone": "frontdoor"},
    }
    await sink.close()


async def test_a_sink_writes_again_after_the_broker_came_back(mosquitto: Mosquitto) -> None:
    sink = sink_to(mosquitto, "actuators/a")
    await sink.connect()
    mosquitto.kill()
    with pytest.raises(NotConnected):
        await sink.write(action())
    mosquitto.start()
    await sink.write(action())
    await sink.close()


async def test_a_sink_with_a_wrong_password_is_rejected(locked_mosquitto: Mosquitto) -> None:
    config = MqttActionConfig(host="127.0.0.1", port=locked_mosquitto.port, topic="a")
    sink = MqttSink(config, config)
    with pytest.raises(ConnectorRejected):
        await sink.connect()
    await sink.close()


async def test_simulated_sensors_publish_and_show_the_actions(mosquitto: Mosquitto) -> None:
    broker = BrokerConfig(host="127.0.0.1", port=mosquitto.port)
    sink = sink_to(mosquitto, "actuators/vent")
    messages: list[Message] = []
    shown: list[str] = []

    async def process(message: Message) -> Outcome:
        messages.append(message)
        if message.pipeline == "env-quality":
            await sink.write(Action(message.id, "co2", "mqtt", {"open": True}))
        return Outcome("processed", None, message)

    _, picture = cv2.imencode(".jpg", np.zeros((40, 60, 3), np.uint8))
    runner = runner_of(config_of(mosquitto), process)
    async with running(runner):
        await until(lambda: runner.status().state == "running")
        simulated = await simulate_sensors(
            broker,
            seconds=0.5,
            readings=({"co2_ppm": 900 + n} for n in range(100)),
            readings_per_s=20.0,
            reading_topic="sensors/sim/env",
            frame_topic="sensors/sim/frame",
            picture=picture.tobytes(),
            frames_per_s=10.0,
            show=shown.append,
            linger_s=0.3,
        )
    await sink.close()
    assert (simulated.readings, simulated.frames) == (10, 5)
    assert sorted(message.pipeline for message in messages) == ["env-quality"] * 10 + ["vision"] * 5
    assert len(shown) == 10
    assert shown[0].startswith('actuators/vent {"id":')
