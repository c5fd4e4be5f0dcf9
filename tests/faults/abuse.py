"""What clients do to a connection, and the small limits at which it must end."""

import json
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest

from tests.faults.models import GOOD
from tests.faults.server import MIB, InferencePlane
from tests.faults.wire import Connection, NoAnswer, request

INFER = f"/v2/models/{GOOD}/infer"
BODY = json.dumps(
    {"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}]}
).encode()
BODY_BYTES = 2 * MIB
DECOMPRESSED_BYTES = 4 * MIB
RECEIVE_SECONDS = 2.0
IDLE_SECONDS = 4
CONNECTIONS = 700
SLOW_CLIENTS = 500

_LINGER_NOT = np.array([1, 0], np.int32).tobytes()


def head(*lines: str, path: str = INFER) -> bytes:
    return "\r\n".join([f"POST {path} HTTP/1.1", "host: localhost", *lines, "", ""]).encode()


def ends(connection: Connection, within_s: float) -> bool:
    """Whether the server closes the connection, after whatever it says."""
    connection.socket.settimeout(within_s)
    try:
        while connection.socket.recv(65536):
            pass
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    return True


def dripping(clients: Sequence[Connection], byte: bytes, seconds: float) -> int:
    """How many of these, each sending this byte twice a second, the server ends in that time."""
    until = time.monotonic() + seconds
    with ThreadPoolExecutor(32) as pool:
        return sum(pool.map(lambda client: _drips(client, byte, until), clients))


def _drips(client: Connection, byte: bytes, until: float) -> bool:
    client.socket.settimeout(0.5)
    while time.monotonic() < until:
        try:
            client.socket.sendall(byte)
            if not client.socket.recv(65536):
                return True
        except TimeoutError:
            continue
        except OSError:
            return True
    return False


def reset(connection: Connection) -> None:
    """Close it without a goodbye."""
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
    connection.close()


def answers(plane: InferencePlane) -> bool:
    try:
        return plane.http(request("POST", INFER, BODY)).status == 200
    except (NoAnswer, OSError):
        return False


@contextmanager
def good_client(plane: InferencePlane) -> Iterator[list[bool]]:
    """Asks all the while, over and over; gives whether each of its requests was answered."""
    served: list[bool] = []
    done = threading.Event()

    def ask() -> None:
        while not done.wait(0.05):
            started = time.monotonic()
            served.append(answers(plane) and time.monotonic() - started < 1.0)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield served
    finally:
        done.set()
        asking.join()


def settled(holds: Callable[[], bool], within_s: float = 15.0) -> bool:
    """Whether a condition comes true in time."""
    give_up = time.monotonic() + within_s
    while time.monotonic() < give_up:
        if holds():
            return True
        time.sleep(0.1)
    return holds()


def fds_at_rest(plane: InferencePlane) -> int:
    """How many files the plane holds open once those that others left are closed."""
    before, now = -1, plane.fds()
    while now != before:
        time.sleep(0.5)
        before, now = now, plane.fds()
    return now


@contextmanager
def descriptors(most: int) -> Iterator[None]:
    """Let this process and those it starts open at least so many files, or skip the test."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < most:
        pytest.skip(f"no process may have more than {hard} files open here; {most} are needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def descriptors_of(plane: InferencePlane, most: int) -> Iterator[None]:
    """Let the plane have no more open files than that."""
    before = resource.prlimit(plane.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(plane.pid, resource.RLIMIT_NOFILE, (most, before[1]))
    yield
    resource.prlimit(plane.pid, resource.RLIMIT_NOFILE, before)
