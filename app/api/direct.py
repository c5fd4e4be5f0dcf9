"""A second HTTP door, straight into the process that holds the models.

The first door is Serve's: HAProxy, then Serve's own code in the replica. It balances over replicas
and machines, and costs more than everything that Manta does for a request to a small model
(docs/adr/0009). Clients on the same machine that need no balancing may use this one instead. Both
serve the same application.
"""

import asyncio
import logging
import random
import re
import socket

import uvicorn
from pydantic import BaseModel, ConfigDict, Field
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import ConfigurationError

logger = logging.getLogger(__name__)

_REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}")
_STOP_SECONDS = 5


class DirectConfig(BaseModel):
    """Where the direct door listens. Replicas of one machine share the port (SO_REUSEPORT)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = "127.0.0.1"
    port: int = Field(ge=1, le=65535)
    max_connections: int = Field(default=1000, ge=1)


class RequestId:
    """ASGI wrapper: the caller's `x-request-id`, or a new one, comes back with the answer.

    On the first door this is Serve's work.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
        request_id = given if _REQUEST_ID.fullmatch(given) else b"%032x" % random.getrandbits(128)

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-request-id", request_id)]
            await send(message)

        await self._app(scope, receive, send_with_id)


class DirectServer:
    """uvicorn on the running event loop."""

    def __init__(self, app: ASGIApp, config: DirectConfig) -> None:
        self._config = config
        self._server = uvicorn.Server(
            uvicorn.Config(
                RequestId(app),
                http="httptools",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                limit_concurrency=config.max_connections,
                timeout_graceful_shutdown=_STOP_SECONDS,
            )
        )
        self._task: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        return self._config.port

    async def start(self) -> None:
        """Raises ConfigurationError if the address cannot be bound."""
        listening = _bound(self._config)
        # uvicorn tells that it has started by a flag, and by nothing that could be awaited.
        self._task = asyncio.ensure_future(self._server.serve(sockets=[listening]))
        while not self._server.started and not self._task.done():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        logger.info("listening on http://%s:%s", self._config.host, self._config.port)

    async def stop(self) -> None:
        """Refuse new connections and let the open requests finish."""
        self._server.should_exit = True
        if self._task is not None:
            await self._task


def direct_doors(app: ASGIApp, config: DirectConfig | None) -> tuple[DirectServer, ...]:
    """The direct door of a process, if its configuration asks for one."""
    return () if config is None else (DirectServer(app, config),)


def _bound(config: DirectConfig) -> socket.socket:
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    # asyncio sets TCP_NODELAY only where the protocol is named. Without it an answer, whose headers
    # and body are written one after the other, waits 40 ms for a delayed acknowledgement.
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
