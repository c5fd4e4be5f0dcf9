import pytest
from paho.mqtt.client import MQTTMessage
from pydantic import ValidationError

from app.errors import ConfigurationError, InvalidInput
from app.interfaces import Sink
from app.registry import SINKS, SOURCES
from app.types import Action
from connectors.mqtt import MqttActionConfig, MqttConfig
from connectors.mqtt.source import message_id
from connectors.replay import ReplayConfig

GATEWAY = {
    "id": "floor1-mqtt",
    "type": "mqtt",
    "host": "192.168.10.40",
    "port": 1883,
    "username": "edge",
    "password": "changeme",
    "topics": [
        {
            "filter": "sensors/floor1/+/env",
            "pipeline": "env-quality",
            "serializer": "json",
        },
        {
            "filter": "sensors/floor1/cam1/frame",
            "pipeline": "frontdoor-vision",
            "serializer": "jpeg",
        },
    ],
}


def test_the_gateway_documents_connector_loads() -> None:
    registration = SOURCES.get("mqtt")
    config = registration.config.model_validate(GATEWAY)
    assert isinstance(config, MqttConfig)
    assert (config.on_full, config.clean_session, config.protocol) == ("block", False, "5")
    assert "changeme" not in repr(config) + config.model_dump_json()


@pytest.mark.parametrize("name", ["#", "a/#", "+", "a/+/b", "/", "a//b", "$share/g/a/#"])
def test_filters_of_the_standard_are_accepted(name: str) -> None:
    MqttConfig.model_validate({**GATEWAY, "topics": [{"filter": name, "pipeline": "p"}]})


@pytest.mark.parametrize("name", ["", "a#", "#/a", "a/#/b", "a+/b", "a/+b", "a\0b"])
def test_other_filters_are_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="filter"):
        MqttConfig.model_validate({**GATEWAY, "topics": [{"filter": name, "pipeline": "p"}]})


def test_the_same_filter_twice_is_refused() -> None:
    route = {"filter": "a", "pipeline": "p"}
    with pytest.raises(ValidationError, match="twice"):
        MqttConfig.model_validate({**GATEWAY, "topics": [route, {**route, "pipeline": "q"}]})


def test_protocol_may_be_a_number() -> None:
    assert MqttConfig.model_validate({**GATEWAY, "protocol": 5}).protocol == "5"


def delivered(payload: bytes, mid: int = 1, qos: int = 1, retain: bool = False) -> MQTTMessage:
    message = MQTTMessage(mid, b"t")
    message.payload, message.qos, message.retain = payload, qos, retain
    return message


def test_a_redelivered_message_has_the_same_id() -> None:
    first = message_id(delivered(b"on", mid=7), "t", None)
    assert message_id(delivered(b"on", mid=7), "t", None) == first
    assert message_id(delivered(b"on", mid=8), "t", None) != first
    assert message_id(delivered(b"off", mid=7), "t", None) != first
    assert message_id(delivered(b"on", mid=7), "u", None) != first


def test_long_topics_give_different_ids() -> None:
    one, other = "a" * 100 + "b", "a" * 100 + "c"
    assert message_id(delivered(b"on"), one, None) != message_id(delivered(b"on"), other, None)


def test_a_publisher_may_give_the_id() -> None:
    assert message_id(delivered(b"", mid=7), "t", {"id": 5}) == "t#5"
    assert message_id(delivered(b"", mid=8), "t", {"id": "x"}) == "t#x"
    assert message_id(delivered(b"x"), "t", {"id": True}) != "t#True"


def test_a_retained_message_is_the_same_in_every_session() -> None:
    one = message_id(delivered(b"on", mid=1, retain=True), "t", None)
    assert message_id(delivered(b"on", mid=2, retain=True), "t", None) == one


def test_qos_0_messages_all_differ() -> None:
    ids = {message_id(delivered(b"on", mid=0, qos=0), "t", None) for _ in range(10)}
    assert len(ids) == 10


def sink(**options: object) -> Sink:
    connectors = {
        "floor1-mqtt": MqttConfig.model_validate(GATEWAY),
        "rec": ReplayConfig(id="rec", path="a.jsonl"),
    }
    config = MqttActionConfig.model_validate({"host": "floor1-mqtt", **options})
    return SINKS.get("mqtt").factory(config, connectors)


def test_a_host_that_is_another_kind_of_connector_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="host: connector 'rec' is not of type mqtt"):
        sink(host="rec")


@pytest.mark.parametrize(
    ("target", "error"), [(None, "no target, and no topic"), ("a/#", "no topic"), ("a\0", "NUL")]
)
async def test_an_action_without_a_usable_topic_is_refused(target: str | None, error: str) -> None:
    with pytest.raises(InvalidInput, match=error):
        await sink().write(Action("1", "guard", "mqtt", {}, target))
