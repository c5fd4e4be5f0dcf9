"""Requests to a model's process on the same machine, over a Unix domain socket.

A frame is a request's number, the length of what follows, and a pickle: of the request one way, of
its answer the other way. A frame without a pickle takes the request back; from the model's process,
it says that this process is about to end. What is sent in one turn of the loop is one write.

Whoever can open the socket can run code in the process that listens: it is open to its user only.
"""

import asyncio
import itertools
import pickle
import socket
import struct
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TypeAlias, cast

from app.errors import DeadlineExceeded, InferenceFailed, ModelNotReady, QueueFull
from app.types import Arrays, InferenceRequest, InferenceResponse, JsonValue

MAX_WAITING = 1024
"""Requests of one channel that have no answer yet."""

STOP_SECONDS = 5.0
"""How long requests under way may take when the model's process ends."""

Infer: TypeAlias = Callable[[InferenceRequest], Awaitable[InferenceResponse]]
_Fields: TypeAlias = (
    "tuple[str, Arrays, str | None, str | None, tuple[str, ...], Mapping[str, JsonValue]]"
)

_HEAD = struct.Struct("<QQ")
_END = 0
"""The number of no request."""

_ACCEPT_SECONDS = 0.01
"""Callers that were about to connect when the socket's name was removed are accepted in this time.
asyncio would forget them, and they would wait in vain, if the server were closed under them."""

_LARGE = 65536
"""Bytes from which on a frame is not copied to be sent together with others."""

_SEND_BUFFER = 4 * 1024 * 1024
"""Bytes that the kernel takes at once, if it is allowed to: a tensor of a picture has some MiB, and
asyncio copies what is left."""


class Channel(asyncio.Protocol):
    """The caller's end. Deadlines cross as the seconds that are left."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[InferenceResponse]] = {}
        self._frames = _Frames()
        self.open = False

    @classmethod
    async def connect(cls, name: str, path: str) -> "Channel":
        """To the process of model `name`. Raises OSError."""
        loop = asyncio.get_running_loop()
        _, channel = await loop.create_unix_connection(lambda: cls(name), path)
        return channel

    @property
    def waiting(self) -> int:
        """Requests without an answer."""
        return len(self._waiting)

    async def infer(self, request: InferenceRequest, deadline: float) -> InferenceResponse:
        """Raises what the model's process raised, ModelNotReady if that process ends before it
        answers, DeadlineExceeded if it does not in time, and QueueFull. A request that is cancelled
        or too late is taken back.
        """
        if not self.open:
            raise self._away()
        if len(self._waiting) >= MAX_WAITING:
            raise QueueFull(f"{MAX_WAITING} requests are waiting already; try again later")
        loop = asyncio.get_running_loop()
        number = next(self._numbers)
        future: asyncio.Future[InferenceResponse] = loop.create_future()
        self._waiting[number] = future
        timer = loop.call_at(deadline, self._expire, future)
        self._frames.put(number, _packed(request, deadline - time.monotonic()))
        try:
            return await future
        finally:
            timer.cancel()
            if self._waiting.pop(number, None) is not None and self.open:
                self._frames.put(number, b"")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._frames.attach(cast(asyncio.Transport, transport))
        self.open = True

    def data_received(self, data: bytes) -> None:
        for number, body in self._frames.received(data):
            if number == _END:
                self.open = False
                self._frames.end()
                continue
            future = self._waiting.pop(number, None)
            if future is not None and not future.done():
                _settle(future, body)

    def connection_lost(self, _: Exception | None) -> None:
        self.open = False
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(self._away())
        self._waiting.clear()

    def _expire(self, future: "asyncio.Future[InferenceResponse]") -> None:
        if not future.done():
            future.set_exception(DeadlineExceeded(f"model {self._name!r} did not answer in time"))

    def _away(self) -> ModelNotReady:
        return ModelNotReady(f"model {self._name!r} is away")


class ChannelServer:
    """The end of the model's process: answers with what `infer` does, on the running loop."""

    def __init__(self, infer: Infer, path: Path) -> None:
        self._infer = infer
        self._path = path
        self._server: asyncio.AbstractServer | None = None
        self._callers: set[_Caller] = set()

    async def start(self) -> None:
        """Raises OSError."""
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listening.bind(str(self._path))
            self._path.chmod(0o600)
        except OSError:
            listening.close()
            raise
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(
            lambda: _Caller(self._infer, self._callers), sock=listening
        )

    async def stop(self) -> None:
        """Tell the callers, and return once what they had sent is answered, or too slow for it."""
        if self._server is None:
            return
        self._path.unlink(missing_ok=True)
        await asyncio.sleep(_ACCEPT_SECONDS)
        self._server.close()
        callers = list(self._callers)
        if not callers:
            return
        for caller in callers:
            caller.tell_end()
        await asyncio.wait([caller.closed for caller in callers], timeout=STOP_SECONDS)
        for caller in callers:
            caller.abort()


class _Caller(asyncio.Protocol):
    """One connection to the model's process."""

    def __init__(self, infer: Infer, callers: "set[_Caller]") -> None:
        self._infer = infer
        self._callers = callers
        self._running: dict[int, asyncio.Task[None]] = {}
        self._frames = _Frames()
        self._told = self._ended = False
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._frames.attach(cast(asyncio.Transport, transport))
        self._callers.add(self)

    def data_received(self, data: bytes) -> None:
        for number, body in self._frames.received(data):
            if body:
                task = asyncio.ensure_future(self._answer(number, _unpacked(body)))
                self._running[number] = task
                task.add_done_callback(partial(self._done, number))
            elif number in self._running:
                self._running[number].cancel()

    def eof_received(self) -> bool:
        """Whether the connection stays: a caller that was told sends no more, but still reads."""
        self._ended = True
        if self._told and not self._running:
            self._close()
        return self._told

    def connection_lost(self, _: Exception | None) -> None:
        self.closed.set_result(None)
        self._callers.discard(self)
        for task in self._running.values():
            task.cancel()

    def tell_end(self) -> None:
        self._told = True
        self._frames.put(_END, b"")

    def abort(self) -> None:
        self._frames.transport.abort()

    async def _answer(self, number: int, request: InferenceRequest) -> None:
        try:
            answer: object = _response_fields(await self._infer(request))
        except Exception as error:  # noqa: BLE001 - every error is the caller's answer
            answer = error
        self._frames.put(number, _pickled(answer))

    def _done(self, number: int, _: "asyncio.Task[None]") -> None:
        del self._running[number]
        if self._ended and not self._running:
            self._close()

    def _close(self) -> None:
        self._frames.flush()
        self._frames.transport.close()


class _Frames:
    """Cuts what a connection receives into frames, and joins those that it sends."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport
        self._received = bytearray()
        self._sending: list[bytes] = []

    def received(self, data: bytes) -> Iterator[tuple[int, memoryview]]:
        """The numbers and bodies of the frames that are complete now; each body is to be read
        before the next is asked for."""
        self._received += data
        start, end = 0, len(self._received)
        while end - start >= _HEAD.size:
            number, length = _HEAD.unpack_from(self._received, start)
            if end - start - _HEAD.size < length:
                break
            start += _HEAD.size
            with memoryview(self._received) as view, view[start : start + length] as body:
                yield number, body
            start += length
        del self._received[:start]

    def attach(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        connection = cast(socket.socket, transport.get_extra_info("socket"))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)

    def put(self, number: int, body: bytes) -> None:
        if not self._sending:
            asyncio.get_running_loop().call_soon(self.flush)
        self._sending.append(_HEAD.pack(number, len(body)))
        if len(body) < _LARGE:
            self._sending.append(body)
        else:
            self.flush()
            self._write(body)

    def flush(self) -> None:
        sending, self._sending = self._sending, []
        if sending:
            self._write(b"".join(sending))

    def _write(self, data: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(data)

    def end(self) -> None:
        self.flush()
        if not self.transport.is_closing():
            self.transport.write_eof()


def _packed(request: InferenceRequest, budget_s: float) -> bytes:
    fields: _Fields = (
        *(request.model, request.inputs, request.version, request.id),
        *(request.outputs, request.parameters),
    )
    return pickle.dumps((budget_s, fields), pickle.HIGHEST_PROTOCOL)


def _unpacked(body: memoryview) -> InferenceRequest:
    budget_s, fields = pickle.loads(body)  # noqa: S301 - from a process of this user
    return InferenceRequest(*cast(_Fields, fields), deadline=time.monotonic() + budget_s)


def _response_fields(response: InferenceResponse) -> tuple[str, str, Arrays, str | None]:
    return response.model, response.version, response.outputs, response.id


def _pickled(answer: object) -> bytes:
    try:
        return pickle.dumps(answer, pickle.HIGHEST_PROTOCOL)
    except Exception:  # noqa: BLE001 - a model's own error may hold anything
        return pickle.dumps(InferenceFailed("its answer cannot be sent to another process"))


def _settle(future: "asyncio.Future[InferenceResponse]", body: memoryview) -> None:
    try:
        answer = pickle.loads(body)  # noqa: S301 - from a process of this user
    except Exception:  # noqa: BLE001 - a model's own error may be made from more than its text
        answer = InferenceFailed("its answer cannot be read in this process")
    if isinstance(answer, BaseException):
        future.set_exception(answer)
    else:
        future.set_result(InferenceResponse(*answer))
