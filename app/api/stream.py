"""`WS /api/v1/stream?pipeline=NAME`: pictures or JSON in, JSON results out, the newest first.

While one message is processed only the newest of those that arrive is kept. An answer is
`{"id", "pipeline", "result", "dropped"}`, or `{"error", "status", "dropped"}`, where `dropped`
counts the messages left out since the answer before. Close codes (RFC 6455): 1009 for a message
that is too big, 1003 for text that is no JSON, 1008 for an unknown pipeline, and 1013 where too
many sockets are open.
"""

import asyncio
import contextlib

import orjson
from starlette.routing import BaseRoute, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from app.api.content import picture_or_document
from app.api.fields import decode_json
from app.api.http import log_failure
from app.api.pipelines import answer_of, run_content
from app.api.status import status_of, text_of
from app.errors import InvalidInput, MantaError
from app.limits import Limits
from app.pipeline.host import PipelineHost
from app.types import JsonValue

TOO_BIG, WRONG_TYPE, REFUSED, OVERLOADED = 1009, 1003, 1008, 1013


class _Closed(Exception):
    """The socket must be closed with `code`."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class _Newest:
    """Holds one message: a newer one takes the place of one that still waits."""

    def __init__(self) -> None:
        self._waiting: list[object] = []
        self._arrived = asyncio.Event()
        self._dropped = 0

    def put(self, content: object) -> None:
        self._dropped += len(self._waiting)
        self._waiting = [content]
        self._arrived.set()

    async def take(self) -> object:
        await self._arrived.wait()
        self._arrived.clear()
        return self._waiting.pop()

    def dropped(self) -> int:
        """How many since this was asked last."""
        count, self._dropped = self._dropped, 0
        return count


def stream_routes(pipelines: PipelineHost, timeout_s: float, limits: Limits) -> list[BaseRoute]:
    open_sockets = 0

    async def stream(socket: WebSocket) -> None:
        nonlocal open_sockets
        await socket.accept()
        if open_sockets >= limits.sockets:
            await socket.close(OVERLOADED, "too many sockets are open")
            return
        open_sockets += 1
        try:
            await _serve(socket, pipelines, timeout_s, limits)
        finally:
            open_sockets -= 1

    return [WebSocketRoute("/api/v1/stream", stream)]


async def _serve(
    socket: WebSocket, pipelines: PipelineHost, timeout_s: float, limits: Limits
) -> None:
    name = socket.query_params.get("pipeline", "")
    newest = _Newest()

    async def answer() -> None:
        while True:
            content = await newest.take()
            result: dict[str, JsonValue]
            try:
                result = answer_of(
                    pipelines, *await run_content(pipelines, name, content, timeout_s)
                )
            except Exception as error:  # noqa: BLE001 - the stream goes on after a bad frame
                status = status_of(error).http
                log_failure(status, error)
                result = {"error": text_of(error), "status": status}
            text = orjson.dumps(
                result | {"dropped": newest.dropped()}, option=orjson.OPT_SERIALIZE_NUMPY
            )
            await socket.send_text(text.decode())

    async def receive() -> None:
        while True:
            newest.put(_content(await socket.receive(), limits))

    try:
        pipelines.get(name)
    except MantaError as error:
        await socket.close(REFUSED, text_of(error)[:100])
        return
    tasks = [asyncio.ensure_future(receive()), asyncio.ensure_future(answer())]
    done, waiting = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    for task in done:
        failure = task.exception()
        if isinstance(failure, _Closed):
            with contextlib.suppress(RuntimeError, WebSocketDisconnect):
                await socket.close(failure.code, str(failure))
        elif failure is not None and not isinstance(failure, WebSocketDisconnect):
            raise failure


def _content(message: object, limits: Limits) -> object:
    """Raises WebSocketDisconnect at the end of the socket, and _Closed for a bad message."""
    if not isinstance(message, dict) or message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect
    data, text = message.get("bytes"), message.get("text")
    size = len(data) if data is not None else len(text or "")
    if size > limits.body_bytes:
        raise _Closed(TOO_BIG, f"a message may have {limits.body_bytes} bytes")
    if data is not None:
        return data
    try:
        return picture_or_document(decode_json((text or "").encode(), limits.json_depth))
    except (InvalidInput, UnicodeEncodeError):
        raise _Closed(WRONG_TYPE, "send pictures as binary frames, or JSON as text") from None
