"""HTTP/1.1 as bytes: requests that no client library would send, and their answers as they come."""

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse

TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True)
class Answer:
    """A response; the names of `headers` are in lower case. `closes`: no other one can follow."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    closes: bool = True


class NoAnswer(Exception):
    """The server closed the connection, or said nothing in time, without a whole response."""


class Connection:
    """One connection to a port of this machine, for one request after the other."""

    def __init__(self, port: int, timeout_s: float = TIMEOUT_SECONDS) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout_s)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    def exchange(self, data: bytes, *, end: bool = False, method: str = "POST") -> Answer:
        """Send bytes and read one response; `end` closes our side after them. Raises NoAnswer.

        Whether a response has a body depends on the `method` of its request, too.
        """
        try:
            self.socket.sendall(data)
            if end:
                self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            """It may have answered before all was sent."""
        return self.read(method)

    def read(self, method: str = "POST") -> Answer:
        """Raises NoAnswer."""
        response = HTTPResponse(self.socket, method=method)
        try:
            response.begin()
            body = response.read()
        except (HTTPException, OSError) as error:
            raise NoAnswer(f"{type(error).__name__}: {error}") from error
        finally:
            closes = response.will_close
            response.close()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, headers, body, bool(closes))


def request(
    method: str,
    target: str | bytes,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
) -> bytes:
    """A request as bytes, with a Content-Length unless `headers` say otherwise."""
    fields = {"host": "localhost", "content-length": str(len(body)), **(headers or {})}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    path = target if isinstance(target, bytes) else target.encode()
    return b"%s %s HTTP/1.1\r\n%s\r\n%s" % (method.encode(), path, lines.encode(), body)


def exchange(port: int, data: bytes, *, end: bool = False) -> Answer:
    """One request on a connection of its own. Raises NoAnswer."""
    with Connection(port) as connection:
        return connection.exchange(data, end=end)
