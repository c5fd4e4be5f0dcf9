"""Who listens on a port already.

SO_REUSEPORT lets the replicas of one machine share a port, and any other process of the same user
with them: the kernel would hand it half of the connections, and no bind would fail.
"""

import os
import socket
from typing import NamedTuple

import psutil

from app.errors import ConfigurationError

_EVERY_ADDRESS = frozenset({"0.0.0.0", "::"})  # noqa: S104 - only compared with


class Listener(NamedTuple):
    """A process that listens; `pid` and `parent` are None where the system does not tell them."""

    pid: int | None
    parent: int | None
    name: str

    def __str__(self) -> str:
        return "a process of another user" if self.pid is None else f"{self.name} (PID {self.pid})"


def listeners(host: str, port: int) -> list[Listener]:
    """Those that would get connections to `host` and `port`, each process once."""
    wanted = _addresses(host, port)
    everywhere = bool(wanted & _EVERY_ADDRESS)
    pids = {
        connection.pid
        for connection in psutil.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
        and connection.laddr
        and connection.laddr.port == port
        and (everywhere or _plain(connection.laddr.ip) in wanted | _EVERY_ADDRESS)
    }
    return [_listener(pid) for pid in pids]


def check_not_taken(host: str, port: int, field: str) -> None:
    """Raises ConfigurationError if anybody listens there but replicas of the same application.

    Those have the same parent as this process, the raylet, which starts all of a machine.
    """
    for listener in listeners(host, port):
        if listener.parent != os.getppid():
            raise ConfigurationError(
                f"cannot listen on {host}:{port}: the port is taken by {listener}", field=field
            )


def _listener(pid: int | None) -> Listener:
    if pid is None:
        return Listener(None, None, "")
    try:
        process = psutil.Process(pid)
        return Listener(pid, process.ppid(), process.name())
    except psutil.NoSuchProcess:
        return Listener(pid, None, "a process that has just ended")


def _plain(address: str) -> str:
    """An IPv4 address on a socket for both families, which is how gRPC listens, as IPv4 alone."""
    return address.removeprefix("::ffff:")


def _addresses(host: str, port: int) -> frozenset[str]:
    try:
        found = socket.getaddrinfo(host.strip("[]") or None, port, type=socket.SOCK_STREAM)
    except OSError:
        return frozenset({host})
    return frozenset(str(address[0]) for *_, address in found)
