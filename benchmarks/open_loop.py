"""Open-loop load: requests are sent when their time has come, whether or not answers are there.

A closed loop slows down with the server and so never overloads it; clients in the field do not.
The same client in a closed loop measures what there is to overload, at the same cost for a request.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from benchmarks.bodies import RequestBody

PATIENCE_SECONDS = 10.0

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True)
class Answer:
    """`due` and `latency` in seconds, both from the moment the request should have been sent, `due`
    counted from the start; `status` is 0 where there was no answer. `sent_late` is the part of
    `latency` that is the generator's own fault."""

    due: float
    latency: float
    status: int
    sent_late: float = 0.0


async def run_open_loop(
    url: str, body: RequestBody, phases: Sequence[tuple[float, float]]
) -> list[Answer]:
    """Send at an even pace through `phases` of (requests a second, seconds) each."""
    client = _Client(url, body)
    start = time.monotonic()
    requests: list[asyncio.Task[Answer]] = []
    due = 0.0
    for rate, seconds in phases:
        end = due + seconds
        while due < end:
            await asyncio.sleep(max(0.0, start + due - time.monotonic()))
            requests.append(asyncio.create_task(client.ask(start, due)))
            due += 1 / rate
    answers = await asyncio.gather(*requests)
    client.close()
    return answers


async def run_closed_loop(url: str, body: RequestBody, connections: int, seconds: float) -> float:
    """Good answers a second, with `connections` requests in flight."""
    client = _Client(url, body)
    start = time.monotonic()

    async def loop() -> int:
        good = 0
        while time.monotonic() < start + seconds:
            answer = await client.ask(start, time.monotonic() - start)
            good += answer.status == 200
        return good

    good = await asyncio.gather(*(loop() for _ in range(connections)))
    taken = time.monotonic() - start
    client.close()
    return sum(good) / taken


class _Client:
    """HTTP/1.1 over keep-alive connections, as many as there are requests in flight."""

    def __init__(self, url: str, body: RequestBody) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        headers = {
            "Host": parts.netloc,
            "Content-Length": str(len(body.content)),
            **body.headers,
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._request = f"POST {parts.path} HTTP/1.1\r\n{head}\r\n".encode() + body.content
        self._idle: list[Connection] = []

    async def ask(self, start: float, due: float) -> Answer:
        sent_late = time.monotonic() - start - due
        try:
            status = await asyncio.wait_for(self._exchange(), PATIENCE_SECONDS)
        except (OSError, EOFError, ValueError, asyncio.TimeoutError):
            status = 0
        return Answer(due, time.monotonic() - start - due, status, sent_late)

    def close(self) -> None:
        for _, writer in self._idle:
            writer.close()

    async def _exchange(self) -> int:
        reader, writer = await self._connection()
        try:
            writer.write(self._request)
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(_content_length(head))
        except BaseException:
            writer.close()
            raise
        if b"connection: close" in head.lower():
            writer.close()
        else:
            self._idle.append((reader, writer))
        return int(head.split(b" ", 2)[1])

    async def _connection(self) -> Connection:
        while self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof():
                return reader, writer
            writer.close()
        return await asyncio.open_connection(self._host, self._port)


def _content_length(head: bytes) -> int:
    """Raises ValueError for an answer without a length, which none of ours is."""
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    raise ValueError("the answer has no Content-Length")
