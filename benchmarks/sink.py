"""A server that only reads requests and answers all of them alike, so many a second.

python -m benchmarks.sink --port N --rate R

What a load generator costs shows when it sends to this: no other server is cheaper, and one that
answers at the rate of the model makes the generator as slow.
"""

import argparse
import asyncio
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import cast

from benchmarks.bodies import RequestBody
from benchmarks.load import LoadResult, run_wrk
from benchmarks.processes import free_ports, running
from benchmarks.ray_config import PROJECT

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
BUFFER_BYTES = 1 << 18
TICK_SECONDS = 0.001


class Sink(asyncio.BufferedProtocol):
    """One connection: counts the bytes of a request and forgets them."""

    def __init__(self, waiting: "deque[asyncio.Transport]") -> None:
        self._waiting = waiting
        self._buffer = memoryview(bytearray(BUFFER_BYTES))
        self._transport: asyncio.Transport | None = None
        self._head = b""
        self._left = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def get_buffer(self, _sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, count: int) -> None:
        if self._left == 0:
            self._head += bytes(self._buffer[:count])
            head, end, body = self._head.partition(b"\r\n\r\n")
            if not end:
                return
            self._head = b""
            self._left = content_length(head) - len(body)
        else:
            self._left -= count
        if self._left == 0 and self._transport is not None:
            self._waiting.append(self._transport)


def content_length(head: bytes) -> int:
    """Raises ValueError for a request that names no length, which none of ours is."""
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    raise ValueError("there is no Content-Length")


@contextmanager
def load_beside(body: RequestBody, rate: float, connections: int) -> Iterator[list[LoadResult]]:
    """wrk sends `body` to a sink of `rate` answers a second until the block is left.

    The list then holds what wrk counted.
    """
    (port,) = free_ports(1)
    words = [sys.executable, "-m", "benchmarks.sink", "--port", str(port), "--rate", str(rate)]
    results: list[LoadResult] = []
    ended = False

    def send() -> None:
        while not ended:
            results.append(run_wrk(f"http://127.0.0.1:{port}/", body, connections, 1.0))

    with (
        TemporaryDirectory(prefix="manta-bench-") as directory,
        running(words, {"PYTHONPATH": str(PROJECT)}, Path(directory)) as program,
    ):
        program.wait_until(lambda: "listening" in program.last_lines())
        sender = Thread(target=send)
        sender.start()
        try:
            yield results
        finally:
            ended = True
            sender.join()


async def serve(port: int, rate: float) -> None:
    waiting: deque[asyncio.Transport] = deque()
    loop = asyncio.get_running_loop()
    await loop.create_server(lambda: Sink(waiting), "127.0.0.1", port)
    print("listening", flush=True)
    due = time.monotonic()
    while True:
        await asyncio.sleep(TICK_SECONDS)
        now = time.monotonic()
        while waiting and due <= now:
            waiting.popleft().write(ANSWER)
            due += 1 / rate
        due = max(due, now - 0.1)  # what could not be answered for want of requests is lost


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True)
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.port, arguments.rate))


if __name__ == "__main__":
    main()
