"""A transport that sends an answer in one piece.

An ASGI answer comes as two messages, its head and its body, and uvicorn writes each to the socket
at once: two system calls, two packets, and a client that wakes up twice. For an answer of some
hundred bytes that is more than the whole of an inference (docs/adr/0009).
"""

import asyncio

_HEAD = b"HTTP/1.1 "


class OneWrite:
    """Keeps the head of an answer until its body, or the end of this turn of the loop, comes.

    uvicorn writes a head whole, as one piece that starts with the protocol's name.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head = b""
        self.is_closing = transport.is_closing
        self.get_extra_info = transport.get_extra_info

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
