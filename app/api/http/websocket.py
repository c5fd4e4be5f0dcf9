"""`WS /api/v1/stream?pipeline=NAME` or `?model=NAME[&version=N]`: messages in, results out.

While one message is processed only the newest of those that arrive is kept. Every answer is a JSON
object whose `dropped` counts the messages left out since the answer before; a message that cannot
be answered gets `{"error", "status", "dropped"}`, and the stream goes on. What messages look like:
`app.api.http.websocket_targets`.

A page of a foreign origin gets 403 before the handshake (`app.api.http.origin`). Close codes
(RFC 6455, section 7.4):

    1003  a binary message on a model's stream that does not begin with the length of its JSON
    1007  text that is not UTF-8 (the server's WebSocket library)
    1008  an unknown pipeline or model, or a client that does not read its answers
    1009  a message over `limits.message_bytes`
    1011  a fault of the server
    1013  too many sockets, or a model that is not ready: try again later
"""

import asyncio
import contextlib
import logging

import orjson
from starlette.routing import BaseRoute, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from app.api.dataplane import DataPlane
from app.api.http.answers import log_failure
from app.api.http.websocket_targets import (
    HEADER,
    Answer,
    Misframed,
    ModelStream,
    PipelineStream,
    Target,
)
from app.api.status import status_of, text_of
from app.config.limits import Limits
from app.errors import InvalidInput, MantaError, ServingError
from app.pipeline.host import PipelineHost

logger = logging.getLogger(__name__)

WRONG_TYPE, REFUSED, TOO_BIG, FAULT, TRY_LATER = 1003, 1008, 1009, 1011, 1013
SLOW_READER_S = 10.0
"""How long an answer may wait for its reader. Meanwhile the newest message waits, and no other."""

_MAX_REASON = 100
"""In characters; a close frame has room for 123 bytes."""


class _Closed(Exception):
    """The socket must be closed with `code`."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class _Newest:
    """Holds one message: a newer one takes the place of one that still waits."""

    def __init__(self) -> None:
        self._waiting: list[bytes | str] = []
        self._arrived = asyncio.Event()
        self._dropped = 0

    def put(self, message: bytes | str) -> None:
        self._dropped += len(self._waiting)
        self._waiting = [message]
        self._arrived.set()

    async def take(self) -> bytes | str:
        await self._arrived.wait()
        self._arrived.clear()
        return self._waiting.pop()

    def dropped(self) -> int:
        """How many since this was asked last."""
        count, self._dropped = self._dropped, 0
        return count


def stream_routes(
    dataplane: DataPlane,
    pipelines: PipelineHost,
    timeout_s: float,
    limits: Limits,
) -> list[BaseRoute]:
    """At most `limits.sockets` are open at once."""
    open_sockets = 0

    async def stream(socket: WebSocket) -> None:
        nonlocal open_sockets
        await socket.accept()
        if open_sockets >= limits.sockets:
            await socket.close(TRY_LATER, "too many sockets are open")
            return
        open_sockets += 1
        try:
            target = await _target(socket, dataplane, pipelines, timeout_s, limits)
            await _serve(socket, target, limits)
        except _Closed as closed:
            # One that does not read may not take the close frame either.
            with contextlib.suppress(RuntimeError, WebSocketDisconnect, asyncio.TimeoutError):
                reason = str(closed)[:_MAX_REASON]
                await asyncio.wait_for(socket.close(closed.code, reason), 1.0)
        finally:
            open_sockets -= 1

    return [WebSocketRoute("/api/v1/stream", stream)]


async def _target(
    socket: WebSocket,
    dataplane: DataPlane,
    pipelines: PipelineHost,
    timeout_s: float,
    limits: Limits,
) -> Target:
    query = socket.query_params
    try:
        if ("pipeline" in query) == ("model" in query):
            raise InvalidInput("name a pipeline or a model: ?pipeline=NAME or ?model=NAME")
        if "pipeline" in query:
            pipelines.get(query["pipeline"])
            return PipelineStream(pipelines, query["pipeline"], timeout_s, limits)
        model, version = query["model"], query.get("version")
        await dataplane.model_metadata(model, version)
        return ModelStream(dataplane, model, version, timeout_s, limits)
    except ServingError as error:
        raise _Closed(TRY_LATER, text_of(error)) from error
    except MantaError as error:
        raise _Closed(REFUSED, text_of(error)) from error


async def _serve(socket: WebSocket, target: Target, limits: Limits) -> None:
    newest = _Newest()

    async def receive() -> None:
        while True:
            newest.put(_message(await socket.receive(), limits))

    async def answer() -> None:
        while True:
            answered = await _answered(target, await newest.take())
            await _send(socket, answered, newest.dropped())

    tasks = [asyncio.ensure_future(receive()), asyncio.ensure_future(answer())]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        failure = task.exception()
        if isinstance(failure, _Closed):
            raise failure
        if failure is not None and not isinstance(failure, WebSocketDisconnect):
            logger.error("a stream failed", exc_info=failure)
            raise _Closed(FAULT, "internal error")


async def _answered(target: Target, message: bytes | str) -> Answer:
    try:
        return await target.answer(message)
    except Misframed as error:
        raise _Closed(WRONG_TYPE, str(error)) from error
    except Exception as error:  # noqa: BLE001 - the stream goes on after a bad message
        status = status_of(error).http
        log_failure(status, error)
        return Answer(orjson.dumps({"error": text_of(error), "status": status}))


async def _send(socket: WebSocket, answer: Answer, dropped: int) -> None:
    """The JSON is an object with members, which gets one more."""
    json = b'%s,"dropped":%d}' % (answer.json[:-1], dropped)
    if answer.raw is None:
        sending = socket.send_text(json.decode())
    else:
        sending = socket.send_bytes(b"".join((HEADER.pack(len(json)), json, answer.raw)))
    try:
        await asyncio.wait_for(sending, SLOW_READER_S)
    except asyncio.TimeoutError:
        raise _Closed(REFUSED, "the answers are not read") from None


def _message(event: object, limits: Limits) -> bytes | str:
    """Raises WebSocketDisconnect at the end of the socket, and _Closed for what is too big."""
    if not isinstance(event, dict) or event["type"] == "websocket.disconnect":
        raise WebSocketDisconnect
    data, text = event.get("bytes"), event.get("text") or ""
    content: bytes | str = data if isinstance(data, bytes) else text
    most = limits.message_bytes
    if len(content) > most or (isinstance(content, str) and len(content.encode()) > most):
        raise _Closed(TOO_BIG, f"a message may have {most} bytes")
    return content
