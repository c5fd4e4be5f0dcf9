"""Configuration of MQTT connectors and actions."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator
from typing_extensions import Self

from app.config.connectors import ActionConfig, ConnectorConfig, OnFull
from app.config.paths import PathInFile
from app.formats.payload import Serializer
from app.registry import ComponentConfig


def _valid_filter(value: str) -> str:
    """A topic filter as MQTT 5.0, section 4.7 has it; a shared one (4.8.2) is allowed."""
    levels = value.split("/")
    for level in levels:
        if level != "+" and "+" in level:
            raise ValueError("'+' must be a whole level")
    if any("#" in level for level in levels[:-1]) or ("#" in levels[-1] and levels[-1] != "#"):
        raise ValueError("'#' must be the last level")
    if "\0" in value:
        raise ValueError("must not contain NUL")
    return value


def _valid_topic(value: str) -> str:
    if any(character in value for character in "+#\0"):
        raise ValueError("a topic to publish to has no '+', '#' or NUL")
    return value


TopicFilter = Annotated[str, Field(min_length=1, max_length=1024), AfterValidator(_valid_filter)]
TopicName = Annotated[str, Field(min_length=1, max_length=1024), AfterValidator(_valid_topic)]


class Tls(ComponentConfig):
    """The broker's certificate is always checked, against `ca_file` or the system's authorities."""

    ca_file: PathInFile | None = None
    cert_file: PathInFile | None = None
    key_file: PathInFile | None = None


class TopicRoute(ComponentConfig):
    """Which messages go to which pipeline; the first matching route of a connector wins."""

    filter: TopicFilter
    pipeline: str = Field(min_length=1)
    serializer: Serializer = "json"
    qos: Literal[0, 1] = 1


class BrokerConfig(ComponentConfig):
    """How to reach and enter a broker. A broker gone silent is noticed in 1.5 x `keepalive` s."""

    host: str = Field(min_length=1)
    port: int = Field(default=1883, ge=1, le=65535)
    username: str | None = None
    password: SecretStr | None = None
    keepalive: int = Field(default=30, ge=2, le=3600)
    tls: Tls | None = None
    protocol: Annotated[Literal["5", "3.1.1"], BeforeValidator(str)] = "5"


class MqttConfig(ConnectorConfig, BrokerConfig):
    """One broker and the topics read from it.

    `client_id` must be the same after a restart for QoS 1 messages published meanwhile to be
    delivered; where absent it is made of this machine's name and `id`. `clean_session` true gives
    that up. The broker keeps the session for `session_expiry_s`, and sends at most
    `receive_maximum` messages that are not acknowledged (both MQTT 5 only).

    With `status_topic`, the broker holds a retained `{"status": "online"}` there while the
    connector is connected, and `"offline"` otherwise, also when this process dies.
    """

    type: Literal["mqtt"] = "mqtt"
    topics: tuple[TopicRoute, ...] = Field(min_length=1)
    client_id: str | None = Field(default=None, min_length=1, max_length=128)
    clean_session: bool = False
    session_expiry_s: int = Field(default=86_400, ge=0, le=0xFFFFFFFE)
    receive_maximum: int = Field(default=64, ge=1, le=65535)
    max_payload_bytes: int = Field(default=8 * 2**20, ge=1)
    status_topic: TopicName | None = None
    on_full: OnFull = "block"

    @model_validator(mode="after")
    def _filters_differ(self) -> Self:
        filters = [route.filter for route in self.topics]
        if len(set(filters)) != len(filters):
            raise ValueError("topics: the same filter is there twice")
        return self

    def routes(self) -> tuple[str, ...]:
        return tuple(route.pipeline for route in self.topics)


class MqttActionConfig(ActionConfig, BrokerConfig):
    """Publishes each action as JSON.

    `host` is the id of an mqtt connector, whose connection settings are used, or a host name, to
    which the other settings then belong. An action's own target goes before `topic`.
    """

    type: Literal["mqtt"] = "mqtt"
    topic: TopicName | None = None
    qos: Literal[0, 1] = 1
    retain: bool = False
    timeout_s: float = Field(default=5.0, gt=0, le=300)
