"""MQTT: topics as sources, topics as targets of actions, and simulated sensors."""

from connectors.mqtt.config import MqttActionConfig, MqttConfig, TopicRoute
from connectors.mqtt.sink import MqttSink
from connectors.mqtt.source import MqttSource

__all__ = ["MqttActionConfig", "MqttConfig", "MqttSink", "MqttSource", "TopicRoute"]
