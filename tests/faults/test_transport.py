"""What is done to connections and bodies: slow, endless, too large, too many, torn off."""

import gzip
import json
import resource
import socket
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import grpc
import numpy as np
import pytest

from app.api.proto import inference_pb2 as pb
from app.types import JsonValue
from tests.faults.models import GOOD
from tests.faults.server import MIB, InferencePlane
from tests.faults.wire import Connection, NoAnswer, request

pytestmark = pytest.mark.integration

INFER = f"/v2/models/{GOOD}/infer"
BODY = json.dumps(
    {"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}]}
).encode()
LIMITS = {"body_bytes": 2 * MIB, "decompressed_bytes": 4 * MIB, "receive_seconds": 3.0}
CONNECTIONS = 700
CLIENTS = 500


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InferencePlane]:
    """A plane with small limits, so that being over them is cheap."""
    most, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))
    limits: dict[str, JsonValue] = {**LIMITS, "connections": CONNECTIONS}
    server = InferencePlane(tmp_path_factory.mktemp("small"), limits=limits, healthy=True)
    server.start()
    yield server
    server.stop()
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def head(*lines: str, path: str = INFER) -> bytes:
    return "\r\n".join([f"POST {path} HTTP/1.1", "host: manta", *lines, "", ""]).encode()


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


def test_fault_042_a_body_over_the_limit_is_refused_by_its_length(small: InferencePlane) -> None:
    with Connection(small.port) as connection:
        length = LIMITS["body_bytes"] + 1
        answer = connection.exchange(head(f"content-length: {length}"))  # nothing of it follows
        assert (answer.status, "over the limit" in answer.body.decode()) == (413, True)
        assert ends(connection, 5.0)
    small.well()


def test_fault_043_a_chunked_body_is_refused_once_it_is_over_the_limit(
    small: InferencePlane,
) -> None:
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    with Connection(small.port) as connection:
        connection.socket.sendall(head("transfer-encoding: chunked") + 33 * chunk)
        assert connection.read().status == 413
        assert ends(connection, 5.0)
    small.well()


def test_fault_044_a_million_chunks_of_one_byte(small: InferencePlane) -> None:
    with small.peak_within(64.0), Connection(small.port, timeout_s=30.0) as connection:
        data = head("transfer-encoding: chunked") + b"1\r\n \r\n" * 1_000_000 + b"0\r\n\r\n"
        assert connection.exchange(data).status in (400, 408, 413)
    small.well()


def test_fault_045_a_bomb_is_not_inflated(small: InferencePlane) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    zeros = bytes(MIB)
    bomb = b"".join(packer.compress(zeros) for _ in range(1024)) + packer.flush()
    nested = gzip.compress(bomb)
    with small.peak_within(2 * LIMITS["decompressed_bytes"] / MIB + 8):
        for packed, status in ((bomb, 413), (nested, 400)):
            data = request("POST", INFER, packed, {"content-encoding": "gzip"})
            assert small.http(data).status == status
    small.well()


def test_fault_046_a_grpc_message_over_the_limit(small: InferencePlane) -> None:
    message = pb.ModelInferRequest(model_name=GOOD, raw_input_contents=[bytes(3 * MIB)])
    with small.channel() as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        with pytest.raises(grpc.RpcError) as caught:
            call(message.SerializeToString(), timeout=5.0)
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    small.well()


@pytest.mark.parametrize("part", ["head", "body"])
def test_fault_048_slow_clients_are_ended_and_good_ones_served(
    small: InferencePlane, part: str
) -> None:
    begun = {"head": b"POST ", "body": head("content-length: 1000") + b"{"}[part]
    with ExitStack() as stack:
        clients = [stack.enter_context(Connection(small.port)) for _ in range(CLIENTS)]
        started = time.monotonic()
        for client in clients:
            client.socket.sendall(begun)
        small.well()
        with ThreadPoolExecutor(32) as pool:
            ended = sum(pool.map(lambda client: drips(client, started + 10.0), clients))
        assert ended == CLIENTS
        assert time.monotonic() - started < LIMITS["receive_seconds"] + 5.0
    small.well()


def drips(client: Connection, until: float) -> bool:
    """Send a byte now and then until the server ends the connection."""
    client.socket.settimeout(0.5)
    while time.monotonic() < until:
        try:
            client.socket.sendall(b"x")
            if not client.socket.recv(65536):
                return True
        except TimeoutError:
            continue
        except OSError:
            return True
    return False


def test_fault_049_idle_connections_over_the_limit_are_refused(small: InferencePlane) -> None:
    with ExitStack() as stack:
        idle = [stack.enter_context(Connection(small.port)) for _ in range(CONNECTIONS + 300)]
        told = []
        for connection in idle[-200:]:
            connection.socket.settimeout(5.0)
            told.append(connection.read().status)
        assert set(told) == {503}
        started = time.monotonic()
        answer = small.http(request("POST", INFER, BODY))
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert time.monotonic() - started < 1.0
        assert all(ends(connection, 10.0) for connection in idle)  # those that never said a word
    small.well()


@pytest.mark.parametrize(
    ("data", "status"),
    [
        pytest.param(head(path="/" + "a" * 300_000), 431, id="a request line of 300 kB"),
        pytest.param(head("x-long: " + "a" * MIB), 431, id="a header of 1 MB"),
        pytest.param(head(*(f"x-{n}: 1" for n in range(1000))), 400, id="1000 headers"),
    ],
)
def test_fault_050_heads_over_the_limit(small: InferencePlane, data: bytes, status: int) -> None:
    assert small.http(data).status == status
    small.well()


@pytest.mark.parametrize(
    "lines",
    [
        ("content-length: 4", "transfer-encoding: chunked"),
        ("content-length: 4", "content-length: 5"),
        ("transfer-encoding: chunked, identity",),
        ("content-length: +4",),
    ],
)
def test_fault_051_one_way_only_to_tell_where_a_body_ends(
    small: InferencePlane, lines: tuple[str, ...]
) -> None:
    with Connection(small.port) as connection:
        smuggled = head(*lines) + b"0\r\n\r\nGET /v2 HTTP/1.1\r\n\r\n"
        assert connection.exchange(smuggled).status == 400
        assert ends(connection, 5.0)
    small.well()


def test_fault_056_clients_that_reset_and_come_back_leave_nothing_open(
    small: InferencePlane,
) -> None:
    before = small.fds()
    for _ in range(10):
        clients = [Connection(small.port) for _ in range(200)]
        for client in clients:
            client.socket.sendall(head("content-length: 100") + b"{")
            linger = np.array([1, 0], np.int32).tobytes()
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)  # close resets
            client.close()
    assert settled(lambda: small.fds() - before < 20)
    small.well()


def test_fault_057_a_process_without_descriptors_left_recovers(small: InferencePlane) -> None:
    limit = small.fds() + 40
    with fd_limit(small, limit), ExitStack() as stack:
        for _ in range(120):
            stack.enter_context(Connection(small.port))
        time.sleep(0.5)
        assert small.fds() <= limit
    assert settled(lambda: answers(small))
    small.well()


@contextmanager
def fd_limit(plane: InferencePlane, most: int) -> Iterator[None]:
    _, hard = resource.prlimit(plane.pid, resource.RLIMIT_NOFILE)
    before = resource.prlimit(plane.pid, resource.RLIMIT_NOFILE, (most, hard))
    yield
    resource.prlimit(plane.pid, resource.RLIMIT_NOFILE, before)


def answers(plane: InferencePlane) -> bool:
    try:
        return plane.http(request("POST", INFER, BODY)).status == 200
    except (NoAnswer, OSError):
        return False


def settled(holds: Callable[[], bool], within_s: float = 15.0) -> bool:
    """Whether a condition comes true in time."""
    give_up = time.monotonic() + within_s
    while time.monotonic() < give_up:
        if holds():
            return True
        time.sleep(0.1)
    return holds()
