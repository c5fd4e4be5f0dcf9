"""A second HTTP door, straight into the process that holds the models.

The first door is Serve's: HAProxy, then Serve's own code in the replica. It balances over replicas
and machines, and costs more than everything that Manta does for a request to a small model
(docs/adr/0009). Clients on the same machine that need no balancing may use this one instead. Both
serve the same application.
"""

import asyncio
import logging
import socket

import uvicorn
from pydantic import BaseModel, ConfigDict, Field
from starlette.types import ASGIApp

from app.api.http.connection import answering, connections_within
from app.api.ports import check_not_taken
from app.config.limits import DEFAULT, Limits
from app.errors import ConfigurationError

logger = logging.getLogger(__name__)

_STOP_SECONDS = 5


class DirectConfig(BaseModel):
    """Where the direct door listens. Replicas of one machine share the port (SO_REUSEPORT)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = "127.0.0.1"
    port: int = Field(ge=1, le=65535)


class DirectServer:
    """uvicorn on the running event loop."""

    def __init__(self, app: ASGIApp, config: DirectConfig, limits: Limits = DEFAULT) -> None:
        self._config = config
        self._idle_seconds = limits.idle_seconds
        self._server = uvicorn.Server(
            uvicorn.Config(
                answering(app),
                http=connections_within(limits),
                lifespan="off",
                log_config=None,
                log_level="error",  # a warning for each bad request would fill the log
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=limits.idle_seconds,
                timeout_graceful_shutdown=_STOP_SECONDS,
            )
        )
        self._task: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        return self._config.port

    async def start(self) -> None:
        """Raises ConfigurationError if the address cannot be bound or is taken by a stranger."""
        listening = _bound(self._config)
        # Connections inherit it: the kernel ends one whose client takes nothing of an answer.
        unread_ms = self._idle_seconds * 1000
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, unread_ms)
        # uvicorn tells that it has started by a flag, and by nothing that could be awaited.
        self._task = asyncio.ensure_future(self._server.serve(sockets=[listening]))
        while not self._server.started and not self._task.done():  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.01)
        logger.info("listening on http://%s:%s", self._config.host, self._config.port)

    async def stop(self) -> None:
        """Refuse new connections and let the open requests finish."""
        self._server.should_exit = True
        if self._task is not None:
            await self._task


def direct_servers(
    app: ASGIApp, config: DirectConfig | None, limits: Limits
) -> tuple[DirectServer, ...]:
    """The direct door of a process, if its configuration asks for one."""
    return () if config is None else (DirectServer(app, config, limits),)


def _bound(config: DirectConfig) -> socket.socket:
    check_not_taken(config.host, config.port, "direct")
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    # asyncio switches Nagle's algorithm off only where the protocol is named: without it, a body
    # that is written after its head waits 40 ms for the client's delayed acknowledgement.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listening.bind((config.host, config.port))
    except OSError as error:
        listening.close()
        reason = f"cannot listen on {config.host}:{config.port}: {error.strerror}"
        raise ConfigurationError(reason, field="direct") from error
    return listening
