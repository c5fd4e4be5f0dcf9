"""Actions as MQTT messages."""

from collections.abc import Mapping

from pydantic import BaseModel

from app.errors import ConfigurationError, InvalidInput, NotConnected
from app.formats.actions import action_json
from app.registry import SINKS
from app.types import Action
from connectors.mqtt.client import MqttConnection
from connectors.mqtt.config import BrokerConfig, MqttActionConfig


class MqttSink:
    """Publishes actions over a connection of its own."""

    def __init__(self, config: MqttActionConfig, broker: BrokerConfig) -> None:
        self._config = config
        self._broker = broker
        self._connection: MqttConnection | None = None

    async def connect(self) -> None:
        connection = MqttConnection(self._broker)
        try:
            await connection.open()
        except BaseException:
            await connection.close()
            raise
        self._connection = connection

    async def write(self, action: Action) -> None:
        topic = action.target or self._config.topic
        if not topic:
            raise InvalidInput(f"action of {action.agent!r} has no target, and no topic is set")
        if any(character in topic for character in "+#\0"):
            raise InvalidInput(f"target {topic!r} is no topic: it has '+', '#' or NUL")
        if self._connection is None or not self._connection.alive:
            raise NotConnected(f"not connected to the broker at {self._broker.host}")
        await self._connection.publish(
            topic,
            action_json(action),
            qos=self._config.qos,
            retain=self._config.retain,
            timeout=self._config.timeout_s,
        )

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()


def _make_sink(config: MqttActionConfig, connectors: Mapping[str, BaseModel]) -> MqttSink:
    named = connectors.get(config.host)
    if named is None:
        return MqttSink(config, config)
    if not isinstance(named, BrokerConfig):
        raise ConfigurationError(f"connector {config.host!r} is not of type mqtt", field="host")
    return MqttSink(config, named)


SINKS.register("mqtt", MqttActionConfig, _make_sink)
