"""Writes of an answer, seen from below uvicorn."""

import asyncio
from typing import Any

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn import Config
from uvicorn.server import ServerState

from app.api.http import connection
from app.api.http.connection import Connection, connections_within
from app.config.limits import DEFAULT, Limits

REQUEST = b"%s / HTTP/1.1\r\nhost: a\r\n\r\n"


class RecordingTransport(asyncio.Transport):
    """Keeps what would be sent, a piece a system call."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes] = []
        self.closed = False
        self.is_read = True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent.append(bytes(data))

    def writelines(self, list_of_data: Any) -> None:
        self.sent.append(b"".join(list_of_data))

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        self.is_read = False

    def resume_reading(self) -> None:
        self.is_read = True


def connected(
    application: ASGIApp, limits: Limits = DEFAULT
) -> tuple[Connection, RecordingTransport]:
    config = Config(application, lifespan="off", log_config=None, date_header=False)
    config.load()
    transport = RecordingTransport()
    protocol = connections_within(limits)(config, ServerState(), {})
    protocol.connection_made(transport)
    return protocol, transport


def sent_for(request: bytes, *pieces: bytes, wait: bool = False) -> RecordingTransport:
    """What leaves for one request when the application answers with these pieces of a body."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        size = b"%d" % sum(map(len, pieces))
        headers = [(b"content-length", size)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        if wait:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        for number, piece in enumerate(pieces, 1):
            more = number < len(pieces)
            await send({"type": "http.response.body", "body": piece, "more_body": more})

    async def main() -> RecordingTransport:
        protocol, transport = connected(application)
        protocol.data_received(request)
        for _ in range(6):
            await asyncio.sleep(0)
        protocol.connection_lost(None)
        return transport

    return asyncio.run(main())


def test_head_and_body_leave_in_one_piece() -> None:
    transport = sent_for(REQUEST % b"POST", b"hello")
    assert len(transport.sent) == 1
    assert transport.sent[0].startswith(b"HTTP/1.1 200 OK\r\n")
    assert transport.sent[0].endswith(b"\r\n\r\nhello")


def test_later_pieces_of_a_body_follow_on_their_own() -> None:
    transport = sent_for(REQUEST % b"GET", b"one", b"two")
    assert transport.sent[0].endswith(b"\r\n\r\none")
    assert transport.sent[1:] == [b"two"]


def test_a_head_does_not_wait_longer_than_a_turn_for_its_body() -> None:
    transport = sent_for(REQUEST % b"GET", b"late", wait=True)
    assert [piece[:4] for piece in transport.sent] == [b"HTTP", b"late"]


def test_an_answer_without_a_body_leaves_too() -> None:
    transport = sent_for(REQUEST % b"HEAD", b"hello")
    assert len(transport.sent) == 1
    assert transport.sent[0].endswith(b"\r\n\r\n")


def test_closing_sends_what_is_kept() -> None:
    transport = sent_for(b"HEAD / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", b"hello")
    assert transport.closed
    assert len(transport.sent) == 1


def test_an_application_is_given_a_body_when_all_of_it_is_there() -> None:
    received = received_of(b"a" * 100_000, b"b" * 100_000, limits=DEFAULT)
    assert [(len(body), more) for body, more in received] == [(200_000, False)]


def test_a_body_over_the_limit_is_not_read_on() -> None:
    received = received_of(b"a" * 100_000, limits=Limits(body_bytes=99_999))
    assert [(len(body), more) for body, more in received] == [(100_000, True)]


def received_of(*pieces: bytes, limits: Limits) -> list[tuple[bytes, bool]]:
    """What an application gets of a body of 200,000 bytes of which these pieces have come."""
    received: list[tuple[bytes, bool]] = []

    async def application(_scope: Scope, receive: Receive, _send: Send) -> None:
        while message := await receive():
            if message["type"] == "http.disconnect":
                return
            received.append((message["body"], message["more_body"]))

    async def main() -> None:
        protocol, transport = connected(application, limits)
        head = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 200000\r\n\r\n"
        for piece in (head, *pieces):
            protocol.data_received(piece)
            is_over = limits.body_bytes < len(piece)
            assert transport.is_read is not is_over
            for _ in range(4):
                await asyncio.sleep(0)
        protocol.connection_lost(None)
        await asyncio.sleep(0)

    asyncio.run(main())
    return received


@pytest.mark.parametrize("begun", [False, True])
def test_a_request_that_outlasts_its_process_is_told_so(
    begun: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_ENDING_SECONDS", 0)

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if begun:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"part", "more_body": True})
        await asyncio.Event().wait()

    async def main() -> RecordingTransport:
        protocol, transport = connected(application)
        protocol.data_received(REQUEST % b"POST")
        for _ in range(6):
            await asyncio.sleep(0)
        assert not transport.closed
        protocol.shutdown()
        for _ in range(6):
            await asyncio.sleep(0)
        return transport

    transport = asyncio.run(main())
    assert transport.closed
    sent = b"".join(transport.sent)
    assert (b" 503 Service Unavailable\r\nretry-after: 1\r\n" in sent) is not begun
    assert (b" 200 OK" in sent) is begun
