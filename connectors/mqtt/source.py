"""MQTT topics as a source."""

import hashlib
import platform
import uuid
from dataclasses import replace

from paho.mqtt.client import MQTTMessage, topic_matches_sub

from app.errors import ConnectorError, NotConnected, RequestError
from app.formats.payload import decode
from app.interfaces import Ack, Clock, Received
from app.registry import SOURCES
from app.types import Message
from connectors.mqtt.client import HANDSHAKE_S, MqttConnection
from connectors.mqtt.config import MqttConfig, TopicRoute

MAX_ID_LENGTH = 256
SHORT_SESSION_S = 15.0
TAKE_OVER_PAUSE_S = 10.0
ONLINE = b'{"status":"online"}'
OFFLINE = b'{"status":"offline"}'


class MqttSource:
    """Messages of one broker; a message's source is its topic.

    A QoS 1 message is acknowledged after it was processed: until then the broker keeps it, and
    delivers it again to the same client id after a break. One that was given back unprocessed is
    delivered again after the next connect only, as MQTT has no other way.
    """

    def __init__(self, config: MqttConfig, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._client_id = config.client_id or f"manta-{platform.node()}-{config.id}"
        self._connection: MqttConnection | None = None
        self._connected_at = 0.0
        self._short_sessions = 0

    async def connect(self) -> None:
        try:
            await self._connect()
        except ConnectorError:
            self._short_sessions = 0
            raise
        self._connected_at = self._clock.monotonic()

    async def _connect(self) -> None:
        config = self._config
        will = (config.status_topic, OFFLINE) if config.status_topic else None
        self._connection = connection = MqttConnection(
            config,
            client_id=self._client_id,
            clean_start=config.clean_session,
            session_expiry_s=0 if config.clean_session else config.session_expiry_s,
            buffer=config.receive_maximum,
            will=will,
        )
        await connection.open()
        await connection.subscribe([(route.filter, route.qos) for route in config.topics])
        await self._announce(connection, ONLINE)

    async def read(self) -> Received:
        if self._connection is None:
            raise NotConnected("not connected")
        connection = self._connection
        while True:
            try:
                delivered = await connection.receive()
            except NotConnected as error:
                raise self._explained(error) from error
            topic = _topic(delivered)
            route = self._route(topic)
            if route is not None:
                return Received(self._message(delivered, topic, route), _ack(connection, delivered))
            # Left over from an earlier configuration of the same session.
            connection.acknowledge(delivered)

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            if connection.alive:
                await self._announce(connection, OFFLINE)
        except NotConnected:
            pass
        finally:
            await connection.close()

    def _explained(self, error: NotConnected) -> NotConnected:
        """Recognise two clients that push each other out, where the broker does not say so.

        Brokers of MQTT 3.1.1, and Mosquitto 2.0.11 also with MQTT 5, just hang up. The sign is
        that connecting succeeds at once and does not last, time after time.
        """
        lasted = self._clock.monotonic() - self._connected_at
        self._short_sessions = self._short_sessions + 1 if lasted < SHORT_SESSION_S else 0
        if error.retry_after or self._short_sessions < 2:
            return error
        return NotConnected(
            f"{error}, again soon after connecting: "
            f"does another client use the client id {self._client_id!r}?",
            TAKE_OVER_PAUSE_S,
        )

    async def _announce(self, connection: MqttConnection, status: bytes) -> None:
        topic = self._config.status_topic
        if topic is not None:
            await connection.publish(topic, status, qos=1, retain=True, timeout=HANDSHAKE_S)

    def _route(self, topic: str) -> TopicRoute | None:
        for route in self._config.topics:
            name = route.filter
            if name.startswith("$share/"):
                name = name.split("/", 2)[2]
            if topic_matches_sub(name, topic):
                return route
        return None

    def _message(self, delivered: MQTTMessage, topic: str, route: TopicRoute) -> Message:
        payload = bytes(delivered.payload)
        content: object = None
        failure: RequestError | None = None
        try:
            content = decode(route.serializer, payload, self._config.max_payload_bytes)
        except RequestError as error:
            failure = error
        message = Message(
            id=message_id(delivered, topic, content),
            source=topic,
            content=content,
            captured_at=self._clock.time(),
            pipeline=route.pipeline,
            metadata={"topic": topic, "connector": self._config.id, "retained": delivered.retain},
        )
        if failure is None:
            return message
        # As it came, for the dead letters; what is too large is not kept.
        kept = payload if len(payload) <= self._config.max_payload_bytes else b""
        return replace(message, content=kept).with_error("decode", failure)


def message_id(delivered: MQTTMessage, topic: str, content: object) -> str:
    """An id that stays the same when the broker delivers the message again.

    A publisher that puts an `id` (text or integer) into its JSON object decides itself, which also
    covers what it publishes twice. Otherwise, of QoS 1, it is a hash of topic, payload and MQTT
    packet number, the last being the same in a redelivery (MQTT 5.0, section 4.4) and telling two
    equal readings apart, until the numbers start again after 65535 messages. A retained message is
    the same one whenever it is delivered, so without the number. QoS 0 is never delivered again.
    """
    if isinstance(content, dict):
        given = content.get("id")
        if isinstance(given, str | int) and not isinstance(given, bool):
            own = f"{topic}#{given}"
            return own if len(own) <= MAX_ID_LENGTH else _digest(own.encode())
    if delivered.qos == 0 and not delivered.retain:
        return uuid.uuid4().hex
    number = 0 if delivered.retain else delivered.mid
    head = f"{number} {len(topic)} {topic}"
    return _digest(head.encode() + delivered.payload)


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _topic(delivered: MQTTMessage) -> str:
    try:
        return delivered.topic
    except UnicodeDecodeError:
        return ""


def _ack(connection: MqttConnection, delivered: MQTTMessage) -> Ack:
    async def ack(accepted: bool) -> None:
        if accepted and delivered.qos > 0:
            connection.acknowledge(delivered)

    return ack


SOURCES.register("mqtt", MqttConfig, MqttSource)
