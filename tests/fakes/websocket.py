"""A WebSocket to an ASGI application in this process, without a socket."""

import asyncio
from types import TracebackType
from typing import Any

import orjson
from starlette.types import ASGIApp, Message
from typing_extensions import Self


class FakeSocket:
    """Connects on entry and goes away on exit. What the application sends is taken in order.

    While `reads` is not set, an answer waits, as it does for a client that does not read.
    """

    def __init__(self, app: ASGIApp, path: str, **headers: str) -> None:
        self._app = app
        self._path, _, self._query = path.partition("?")
        self._headers = [(k.encode(), v.encode()) for k, v in headers.items()]
        self._in: asyncio.Queue[Message] = asyncio.Queue()
        self._out: asyncio.Queue[Message] = asyncio.Queue()
        self.reads = asyncio.Event()
        self.reads.set()

    async def __aenter__(self) -> Self:
        scope = {
            "type": "websocket",
            "path": self._path,
            "query_string": self._query.encode(),
            "headers": self._headers,
            "subprotocols": [],
        }
        self._in.put_nowait({"type": "websocket.connect"})
        self._task = asyncio.ensure_future(self._app(scope, self._in.get, self._send))
        self.accepted = (await self._next())["type"] == "websocket.accept"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._in.put_nowait({"type": "websocket.disconnect", "code": 1000})
        await asyncio.wait_for(self._task, 5)

    async def _send(self, message: Message) -> None:
        if message["type"] == "websocket.send":
            await self.reads.wait()
        self._out.put_nowait(message)

    def send(self, content: str | bytes) -> None:
        kind = "text" if isinstance(content, str) else "bytes"
        self._in.put_nowait({"type": "websocket.receive", kind: content})

    async def taken(self) -> None:
        """Returns once the application has taken all that was sent."""
        for _ in range(10):
            await asyncio.sleep(0)
        assert self._in.empty()

    async def answer(self) -> dict[str, Any]:
        """The next result."""
        message = await self._next()
        assert message["type"] == "websocket.send", message
        result: dict[str, Any] = orjson.loads(message["text"])
        return result

    async def binary(self) -> bytes:
        message = await self._next()
        data: bytes = message["bytes"]
        return data

    async def close_code(self) -> int:
        message = await self._next()
        assert message["type"] == "websocket.close", message
        code: int = message["code"]
        return code

    async def _next(self) -> Message:
        return await asyncio.wait_for(self._out.get(), 5)
