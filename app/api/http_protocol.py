"""uvicorn's HTTP protocol with one write an answer.

An ASGI answer comes as two messages, its head and its body, and uvicorn writes each to the socket
at once: two system calls, two packets, and a client that wakes up twice. For an answer of some
hundred bytes that is more than the whole of an inference (docs/adr/0009).
"""

import asyncio
from typing import cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_HEAD = b"HTTP/1.1 "


class _OneWrite:
    """A transport that keeps the head of an answer until its body, or this turn's end, comes.

    uvicorn writes a head whole, as one piece that starts with the protocol's name.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head = b""
        self.write_eof = transport.write_eof
        self.is_closing = transport.is_closing
        self.get_extra_info = transport.get_extra_info
        self.pause_reading = transport.pause_reading
        self.resume_reading = transport.resume_reading

    def write(self, data: bytes) -> None:
        if self._head:
            head, self._head = self._head, b""
            self._transport.writelines((head, data))
        elif data.startswith(_HEAD):
            self._head = data
            asyncio.get_running_loop().call_soon(self._flush)
        else:
            self._transport.write(data)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._head:
            head, self._head = self._head, b""
            self._transport.write(head)

    def __getattr__(self, name: str) -> object:
        return getattr(self._transport, name)


class OneWriteProtocol(HttpToolsProtocol):
    """To be given to uvicorn as `http=`."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(cast(asyncio.Transport, _OneWrite(transport)))
