"""The gRPC door: one grpc.aio server with its options, credentials and standard services."""

import logging
from pathlib import Path

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2

from app.api.dataplane import DataPlane
from app.api.grpc.config import GrpcConfig, TlsConfig
from app.api.grpc.health import HealthServicer
from app.api.grpc.proto import inference_pb2
from app.api.grpc.servicer import SERVICE, GrpcServicer
from app.api.ports import check_not_taken
from app.config.limits import DEFAULT, Limits
from app.errors import ConfigurationError

logger = logging.getLogger(__name__)

MIN_PING_SECONDS = 10.0
"""Clients that ask more often whether the connection lives are cut off, as floods."""

CONNECTION_SHARE = 4
"""One connection gets the calls of the server divided by this. A call begins with its headers: with
no share, one client whose messages never come could take all of them."""

HEALTH = "grpc.health.v1.Health"


class GrpcServer:
    """Built and started by `start`, stopped once; must live on one event loop.

    `port` is the one it listens on, where the configuration asked for any free one.
    """

    def __init__(
        self,
        config: GrpcConfig,
        dataplane: DataPlane,
        timeout_s: float,
        limits: Limits = DEFAULT,
    ) -> None:
        self.port = config.port
        self._config = config
        self._health = HealthServicer(dataplane.ready, (SERVICE,))
        self._server = grpc.aio.server(
            options=_options(config, limits, timeout_s), maximum_concurrent_rpcs=config.calls
        )
        servicer = GrpcServicer(dataplane, timeout_s, limits)
        self._server.add_generic_rpc_handlers((servicer.handler(),))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        if config.reflection:
            names = (SERVICE, HEALTH, reflection.SERVICE_NAME)
            reflection.enable_server_reflection(names, self._server, pool=_described())

    async def start(self) -> None:
        """Raises ConfigurationError if the address is taken or a TLS file cannot be used."""
        address = f"{self._config.host}:{self._config.port}"
        if self._config.tls is None:
            self.port = self._bound(address, None)
        else:
            self.port = self._bound(address, _credentials(self._config.tls))
        await self._server.start()
        logger.info("gRPC is served on %s:%d", self._config.host, self.port)

    async def stop(self, grace_s: float = 5.0) -> None:
        """Take no more calls, and give those that run `grace_s` to end."""
        self._health.close()
        await self._server.stop(grace_s)

    def _bound(self, address: str, credentials: grpc.ServerCredentials | None) -> int:
        if self._config.port:
            check_not_taken(self._config.host, self._config.port, "grpc")
        try:
            port: int = (
                self._server.add_insecure_port(address)
                if credentials is None
                else self._server.add_secure_port(address, credentials)
            )
        except RuntimeError:
            port = 0
        if port == 0:
            raise ConfigurationError(
                f"gRPC cannot listen on {address}: the address is taken or not this machine's",
                field="grpc",
            )
        return port


def _options(config: GrpcConfig, limits: Limits, timeout_s: float) -> list[tuple[str, int]]:
    """The names are those of gRPC core's channel arguments."""
    options = [
        ("grpc.max_receive_message_length", limits.body_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_concurrent_streams", max(1, config.calls // CONNECTION_SHARE)),
        ("grpc.max_allowed_incoming_connections", limits.connections),
        ("grpc.max_connection_idle_ms", limits.idle_seconds * 1000),
        ("grpc.server_handshake_timeout_ms", _ms(limits.receive_seconds)),
        ("grpc.so_reuseport", 1),
        ("grpc.keepalive_time_ms", _ms(config.keepalive_s)),
        ("grpc.keepalive_timeout_ms", _ms(config.keepalive_timeout_s)),
        # Without it the answer to a ping may take a minute, whatever the line above says.
        ("grpc.http2.ping_timeout_ms", _ms(config.keepalive_timeout_s)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", _ms(MIN_PING_SECONDS)),
    ]
    if config.connection_age_s is not None:
        options += [
            ("grpc.max_connection_age_ms", _ms(config.connection_age_s)),
            ("grpc.max_connection_age_grace_ms", _ms(limits.receive_seconds + timeout_s)),
        ]
    return options


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))


def _credentials(tls: TlsConfig) -> grpc.ServerCredentials:
    return grpc.ssl_server_credentials(
        [(_pem(tls.key, "key"), _pem(tls.cert, "cert"))],
        root_certificates=None if tls.client_ca is None else _pem(tls.client_ca, "client_ca"),
        require_client_auth=tls.client_ca is not None,
    )


def _pem(path: Path, field: str) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        reason = f"{path} cannot be read: {error.strerror}"
        raise ConfigurationError(reason, field=f"grpc.tls.{field}") from error
    if b"-----BEGIN " not in data:
        raise ConfigurationError(f"{path} is no PEM file", field=f"grpc.tls.{field}")
    return data


def _described() -> DescriptorPool:
    """What reflection may tell: our messages are in a pool of their own (see proto/)."""
    for module in (health_pb2, reflection_pb2):
        inference_pb2.POOL.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    return inference_pb2.POOL
