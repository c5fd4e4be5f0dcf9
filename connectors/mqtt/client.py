"""One MQTT connection, from its start to its end, for asyncio.

paho-mqtt runs its network loop on a thread of its own (`loop_start`); everything that it tells is
handed over to the event loop. Its reconnecting is switched off (`reconnect_on_failure=False`, so
the thread ends with the connection): when to connect again is decided once, by the runner
(app/streams/source_runner.py; for actions app/streams/sinks.py), and a new connection gets a new
client.
"""

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable, Sequence

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from app.errors import ConnectorError, ConnectorRejected, NotConnected
from connectors.mqtt.config import BrokerConfig

HANDSHAKE_S = 10.0
TAKEN_OVER = 0x8E
TAKEN_OVER_PAUSE_S = 10.0
# Reason codes of CONNACK and SUBACK that no retry can mend (MQTT 5.0, sections 3.2.2.2 and 3.9.3):
# protocol version, client id, user name or password, not authorised, banned, authentication
# method, topic filter, topic name, shared and wildcard subscriptions not supported.
FINAL_REASONS = frozenset({0x84, 0x85, 0x86, 0x87, 0x8A, 0x8C, 0x8F, 0x90, 0x9E, 0xA2})
MAX_PACKET_BYTES = 64 * 2**20


def refusal(what: str, reason: ReasonCode) -> ConnectorError:
    """The error for a refusal by the broker: ConnectorRejected where a retry cannot help."""
    text = f"{what}: {reason}"
    return ConnectorRejected(text) if reason.value in FINAL_REASONS else NotConnected(text)


class MqttConnection:
    """Use once: `open`, then any of the rest, then `close`.

    At most `buffer` messages wait between the network thread and `receive`. Above that the thread
    stops reading, so that TCP holds the broker back.
    """

    def __init__(
        self,
        broker: BrokerConfig,
        *,
        client_id: str = "",
        clean_start: bool = True,
        session_expiry_s: int = 0,
        buffer: int = 64,
        will: tuple[str, bytes] | None = None,
    ) -> None:
        self._broker = broker
        self._clean_start = clean_start
        self._session_expiry_s = session_expiry_s
        self._buffer = buffer
        self._room = threading.Semaphore(buffer)
        self._closing = threading.Event()
        self._received: asyncio.Queue[MQTTMessage | ConnectorError] = asyncio.Queue()
        self._acknowledged: dict[int, asyncio.Future[list[ReasonCode]]] = {}
        self._lost: ConnectorError | None = None
        self._loop = asyncio.get_running_loop()
        self._connack: asyncio.Future[None] = self._loop.create_future()
        self._client = self._make_client(client_id, will)

    @property
    def alive(self) -> bool:
        return self._lost is None and not self._closing.is_set()

    async def open(self) -> None:
        """Connect and log in. Raises NotConnected or ConnectorRejected; `close` must follow."""
        broker = self._broker
        address = f"{broker.host}:{broker.port}"
        try:
            await asyncio.to_thread(self._connect)
            self._client.loop_start()
            await asyncio.wait_for(self._connack, HANDSHAKE_S)
        except ssl.SSLCertVerificationError as error:
            raise ConnectorRejected(f"the broker at {address} is not trusted: {error}") from error
        except asyncio.TimeoutError as error:
            raise NotConnected(f"the broker at {address} does not answer") from error
        except OSError as error:
            raise NotConnected(f"cannot reach the broker at {address}: {error}") from error

    async def subscribe(self, topics: Sequence[tuple[str, int]]) -> None:
        """Subscribe to (filter, qos) pairs, all or none. Raises as `open` does."""
        if self._broker.protocol == "5":
            # A retained message is an old one: it is wanted once, not after each break.
            new_only = SubscribeOptions.RETAIN_SEND_IF_NEW_SUB
            rc, mid = self._client.subscribe(
                [(name, SubscribeOptions(qos=qos, retainHandling=new_only)) for name, qos in topics]
            )
        else:
            rc, mid = self._client.subscribe(list(topics))
        reasons = await self._acknowledgement(rc, mid, HANDSHAKE_S)
        for (name, _), reason in zip(topics, reasons, strict=False):
            if reason.is_failure:
                raise refusal(f"the broker refuses a subscription to {name!r}", reason)

    async def publish(
        self, topic: str, payload: bytes, *, qos: int, retain: bool, timeout: float
    ) -> None:
        """Returns once the broker has it (QoS 1), or once it is sent (QoS 0)."""
        info = self._client.publish(topic, payload, qos, retain)
        for reason in await self._acknowledgement(info.rc, info.mid, timeout):
            if reason.is_failure:
                raise refusal(f"the broker refuses a message on {topic!r}", reason)

    async def receive(self) -> MQTTMessage:
        """The next message, in order of arrival. Raises NotConnected after the last one."""
        received = await self._received.get()
        if isinstance(received, ConnectorError):
            self._received.put_nowait(received)
            raise received
        self._room.release()
        return received

    def acknowledge(self, message: MQTTMessage) -> None:
        """Tell the broker not to deliver this message again.

        Without effect once the connection is over: the broker then delivers the message again, and
        its number may by then stand for another one.
        """
        if self.alive:
            self._client.ack(message.mid, message.qos)

    async def close(self) -> None:
        """Log off and end the network thread, within seconds also where the broker is silent."""
        self._closing.set()
        self._client.disconnect()
        stopping = asyncio.ensure_future(asyncio.to_thread(self._client.loop_stop))
        done, _ = await asyncio.wait({stopping}, timeout=2.0)
        sock = self._client.socket()
        if not done and isinstance(sock, socket.socket):
            sock.shutdown(socket.SHUT_RDWR)
        await stopping
        # paho closes the sockets that wake its thread when it is freed; in a cycle with its
        # callbacks' owner that would be whenever the collector next runs.
        client = self._client
        client.on_connect = client.on_disconnect = client.on_message = None
        client.on_subscribe = client.on_publish = None

    def _make_client(self, client_id: str, will: tuple[str, bytes] | None) -> Client:
        broker = self._broker
        is_v5 = broker.protocol == "5"
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            clean_session=None if is_v5 else self._clean_start,
            protocol=MQTTProtocolVersion.MQTTv5 if is_v5 else MQTTProtocolVersion.MQTTv311,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        if broker.username is not None:
            password = broker.password.get_secret_value() if broker.password else None
            client.username_pw_set(broker.username, password)
        if broker.tls is not None:
            tls = broker.tls
            client.tls_set(tls.ca_file, tls.cert_file, tls.key_file)
        if will is not None:
            client.will_set(will[0], will[1], qos=1, retain=True)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        client.on_subscribe = self._on_subscribe
        client.on_publish = self._on_publish
        return client

    def _connect(self) -> None:
        broker = self._broker
        # paho notices silence after two of its periods, so they are 0.7 of ours.
        keepalive = max(1, int(broker.keepalive * 0.7))
        if broker.protocol != "5":
            self._client.connect(broker.host, broker.port, keepalive)
            return
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho's own
        properties.SessionExpiryInterval = self._session_expiry_s
        properties.ReceiveMaximum = self._buffer
        properties.MaximumPacketSize = MAX_PACKET_BYTES
        self._client.connect(
            broker.host,
            broker.port,
            keepalive,
            clean_start=self._clean_start,
            properties=properties,
        )

    async def _acknowledgement(
        self, rc: MQTTErrorCode, mid: int | None, timeout: float
    ) -> list[ReasonCode]:
        if self._lost is not None:
            raise self._lost
        if rc != MQTTErrorCode.MQTT_ERR_SUCCESS or mid is None:
            # paho knows of a loss a little before the event loop does.
            error = NotConnected(f"cannot send to the broker: {rc.name}")
            self._break(error)
            raise error
        # The network thread reports through the event loop, so not before this line.
        future = self._acknowledged[mid] = self._loop.create_future()
        try:
            return await asyncio.wait_for(future, timeout)
        except asyncio.TimeoutError as error:
            raise NotConnected(f"the broker did not acknowledge within {timeout:g} s") from error
        finally:
            self._acknowledged.pop(mid, None)

    # Below, the network thread: nothing but handing over to the event loop.

    def _hand_over(self, callback: Callable[..., None], *arguments: object) -> None:
        self._loop.call_soon_threadsafe(callback, *arguments)

    def _on_connect(
        self,
        _client: Client,
        _userdata: object,
        _flags: ConnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        self._hand_over(self._entered, reason)

    def _on_disconnect(
        self,
        _client: Client,
        _userdata: object,
        _flags: DisconnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        self._hand_over(self._lose, reason)

    def _on_message(self, _client: Client, _userdata: object, message: MQTTMessage) -> None:
        while not self._room.acquire(timeout=0.1):
            if self._closing.is_set():
                return
        self._hand_over(self._received.put_nowait, message)

    def _on_subscribe(
        self,
        _client: Client,
        _userdata: object,
        mid: int,
        reasons: list[ReasonCode],
        _properties: Properties | None,
    ) -> None:
        self._hand_over(self._resolve, mid, reasons)

    def _on_publish(
        self,
        _client: Client,
        _userdata: object,
        mid: int,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        self._hand_over(self._resolve, mid, [reason])

    # Below, the event loop again.

    def _entered(self, reason: ReasonCode) -> None:
        if self._connack.done():
            return
        if reason.is_failure:
            self._connack.set_exception(refusal("the broker refuses the connection", reason))
        else:
            self._connack.set_result(None)

    def _resolve(self, mid: int, reasons: list[ReasonCode]) -> None:
        future = self._acknowledged.get(mid)
        if future is not None and not future.done():
            future.set_result(reasons)

    def _lose(self, reason: ReasonCode) -> None:
        if reason.value == TAKEN_OVER:
            text = "another client with the same client id took over the session"
            self._break(NotConnected(text, TAKEN_OVER_PAUSE_S))
        else:
            self._break(NotConnected(f"lost the connection to the broker: {reason}"))

    def _break(self, error: ConnectorError) -> None:
        if self._lost is not None:
            return
        self._lost = error
        if not self._connack.done():
            self._connack.set_exception(error)
        for future in self._acknowledged.values():
            if not future.done():
                future.set_exception(error)
        self._received.put_nowait(error)
