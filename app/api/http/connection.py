"""HTTP connections, where uvicorn's own would not do.

An answer leaves in one piece. A client that leaves before it is answered: its inference is given
up, and what waits in a queue is dropped from it and never run. uvicorn tells an application that a
client left only where that asks for it, and asking costs a task for every request. Requests that
come too slowly, heads that are too long and connections over the limit are ended. What is no HTTP
is answered with an error of the usual form.
"""

import asyncio
import re
from collections.abc import Callable
from http import HTTPStatus
from typing import cast

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.api.http.answers import error_body
from app.api.http.request_id import RequestId
from app.api.http.transport import OneWrite
from app.api.status import retry_headers, status_of
from app.config.limits import DEFAULT, Limits
from app.errors import HeadTooLarge, InvalidInput, MantaError, ModelNotReady, QueueFull, TooSlow

_KEY = "manta.connection"
_INFERENCE = re.compile(r"/v2/models/.+/infer|/v1/models/.+[:/]predict|/api/v1/(?:infer|batch)")
"""Other calls are not given up: a change of what is served would be left half done."""

_LINGER_SECONDS = 2.0
"""How long a client that was answered early may go on sending before it is cut off; cut off at
once, it might not get to read the answer."""

_ENDING_SECONDS = 5
"""How long a process that ends lets a request go on. Serve kills a replica 10 s after it was told
to end (deployments/options.py), of which it goes on as before for the first 3 s."""

_PIPELINED = 64
"""Requests that may wait on one connection: each takes fifty times the memory of its bytes."""


class Connection(HttpToolsProtocol):
    """To be given to uvicorn as `http=`, around what `answering` makes.

    `limits` are of its class: see `connections_within`. One timer runs while a request is being
    received, and none once it is there: whole requests mostly come at once.
    """

    limits: Limits = DEFAULT
    serving: "asyncio.Task[object] | None" = None
    is_lost = False

    _part: str = "head"  # of a request, that is being received: "head", "body" or "none"
    _head_bytes = 0  # of this request; where others came in the same piece, only what came later
    _piece_bytes = 0
    _headers_of_head = 0
    _timer: asyncio.TimerHandle | None = None
    _refusal: MantaError = InvalidInput("the request is not valid HTTP/1.1")

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn
        super().connection_made(cast(asyncio.Transport, OneWrite(transport)))
        if len(self.connections) > self.limits.connections:
            self._refuse(QueueFull(f"{self.limits.connections} connections are open already"))
        else:
            self._set_timer(self.limits.receive_seconds, self._too_slow)

    def data_received(self, data: bytes) -> None:
        self._piece_bytes = len(data)
        if self._part == "none":
            self._part = "head"
        if self._part == "head":
            self._head_bytes += self._piece_bytes
        super().data_received(data)
        if self._part == "none":
            return
        if self._timer is None:
            self._set_timer(self.limits.receive_seconds, self._too_slow)
        if self._part == "head" and self._head_bytes > self.limits.head_bytes:
            self._refuse(self._head_too_large())
        elif len(self.headers) > max(self.limits.headers, self._headers_of_head):
            most = self.limits.headers
            self._refuse(HeadTooLarge(f"the request has more than {most} headers"))

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._part = "head"
        self.scope[_KEY] = self  # type: ignore[literal-required]  # ours, for GivenUp alone

    def on_headers_complete(self) -> None:
        if max(self._head_bytes, self._piece_bytes) > self.limits.head_bytes:
            size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
            if size > self.limits.head_bytes:
                self._refusal = self._head_too_large()
                raise self._refusal  # to the parser, which uvicorn then has answered
        if len(self.pipeline) >= _PIPELINED:
            self._refusal = QueueFull(f"{_PIPELINED} requests of this connection wait already")
            raise self._refusal
        self._part = "body"
        self._headers_of_head = len(self.headers)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Unlike uvicorn's, it keeps the body until all of it is there, or too much. That one stops
        reading and wakes the application for every 64 KB, and every application here wants the
        whole: of the loop's time for a tensor of 600 KB, such turns are a sixth."""
        if self.cycle is None or self.cycle.response_complete:
            return  # an upgrade's, or of a request that is answered already
        self.cycle.body += body
        if len(self.cycle.body) > self.limits.body_bytes:
            self.flow.pause_reading()
            self.cycle.message_event.set()

    def on_message_complete(self) -> None:
        self._part, self._head_bytes = "none", 0  # what follows in the same piece is another's
        self._clear_timer()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._part == "body":
            self._clear_timer()
            self._set_timer(_LINGER_SECONDS, self.transport.close)

    def handle_websocket_upgrade(self) -> None:
        self._part = "none"
        self._clear_timer()
        super().handle_websocket_upgrade()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._clear_timer()
        self.is_lost = True
        if self.serving is not None:
            self.serving.cancel()

    def shutdown(self) -> None:
        """Called by uvicorn as it stops: what is being answered may finish, within its time. Cut
        off by the end of the process instead, its client would not learn that it may ask again."""
        super().shutdown()
        asyncio.get_running_loop().call_later(_ENDING_SECONDS, self._out_of_time)

    def _out_of_time(self) -> None:
        if not self.is_lost:
            self._refuse(ModelNotReady("the process that was to answer is ending; ask again"))

    def send_400_response(self, msg: str) -> None:
        del msg  # uvicorn's words
        self._refuse(self._refusal)

    def _too_slow(self) -> None:
        if self._head_bytes or self.cycle is not None:
            seconds = self.limits.receive_seconds
            self._refuse(TooSlow(f"the request was not there within {seconds:g} s"))
        else:
            self.transport.close()

    def _refuse(self, error: MantaError) -> None:
        """Answer what no application is asked about, unless something is being answered."""
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            self.transport.write(_refusal(error))
        self._clear_timer()
        self._part = "none"
        self.transport.close()

    def _head_too_large(self) -> MantaError:
        most = self.limits.head_bytes
        return HeadTooLarge(f"the request line and headers are over the limit of {most} bytes")

    def _set_timer(self, seconds: float, then: Callable[[], None]) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, then)

    def _clear_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def connections_within(limits: Limits) -> type[Connection]:
    """The class of connections that keep to these limits."""
    return type("Connection", (Connection,), {"limits": limits})


def _refusal(error: MantaError) -> bytes:
    status = status_of(error).http
    body = error_body(error)
    headers = "".join(f"{name}: {value}\r\n" for name, value in retry_headers(status).items())
    return (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n{headers}"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
        "connection: close\r\n\r\n"
    ).encode() + body


class GivenUp:
    """ASGI wrapper: cancels an inference whose client has left."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection = scope.get(_KEY)
        if connection is None or not _INFERENCE.fullmatch(scope["path"]):
            await self._app(scope, receive, send)
            return
        connection.serving = asyncio.current_task()
        try:
            await self._app(scope, receive, send)
        except asyncio.CancelledError:
            if not connection.is_lost:
                raise
        finally:
            connection.serving = None


def answering(app: ASGIApp) -> ASGIApp:
    """`app` with what Serve sees to on its own path: request ids, and clients that leave."""
    return RequestId(GivenUp(app))
