"""HTTP connections, where uvicorn's own would not do.

An answer leaves in one piece. A client that leaves before it is answered: its inference is given
up, and what waits in a queue is dropped from it and never run. uvicorn tells an application that a
client left only where that asks for it, and asking costs a task for every request. What is no HTTP
is answered with an error of the usual form.
"""

import asyncio
import re
from typing import cast

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.api.http import error_body
from app.api.request_id import RequestId
from app.api.transport import OneWrite
from app.errors import InvalidInput

_KEY = "manta.connection"
_INFERENCE = re.compile(r"/v2/models/.+/infer|/v1/models/.+[:/]predict|/api/v1/(?:infer|batch)")
"""Other calls are not given up: a change of what is served would be left half done."""

_NO_HTTP = error_body(InvalidInput("the request is not valid HTTP/1.1"))
_HEAD = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
    b"connection: close\r\n\r\n" % len(_NO_HTTP)
)


class Connection(HttpToolsProtocol):
    """To be given to uvicorn as `http=`, around what `answering` makes."""

    serving: "asyncio.Task[object] | None" = None
    is_lost = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn
        super().connection_made(cast(asyncio.Transport, OneWrite(transport)))

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope[_KEY] = self  # type: ignore[literal-required]  # ours, for GivenUp alone

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.is_lost = True
        if self.serving is not None:
            self.serving.cancel()

    def send_400_response(self, msg: str) -> None:
        del msg  # uvicorn's words
        self.transport.write(_HEAD + _NO_HTTP)
        self.transport.close()


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
