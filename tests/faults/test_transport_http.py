"""What is done to connections and bodies: slow, endless, too large, too many, torn off."""

import gzip
import json
import socket
import time
import zlib
from contextlib import ExitStack

import numpy as np
import pytest

from tests.faults.abuse import (
    BODY,
    BODY_BYTES,
    CONNECTIONS,
    DECOMPRESSED_BYTES,
    IDLE_SECONDS,
    INFER,
    RECEIVE_SECONDS,
    SLOW_CLIENTS,
    answers,
    descriptors_of,
    dripping,
    ends,
    fds_at_rest,
    good_client,
    head,
    reset,
    settled,
)
from tests.faults.server import MIB, InferencePlane
from tests.faults.wire import Connection, request

pytestmark = pytest.mark.integration

VALUES = 500_000
"""2 MB as they are sent, 6 MB as text."""

UNREAD = 2
"""Answers of which nothing is taken; the allocator keeps some 8 MB for each."""


def test_fault_042_a_body_over_the_limit_is_refused_by_its_length(small: InferencePlane) -> None:
    with Connection(small.port) as connection:
        length = BODY_BYTES + 1
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
    with small.peak_within(2 * DECOMPRESSED_BYTES / MIB + 8):
        for packed, status in ((bomb, 413), (nested, 400)):
            data = request("POST", INFER, packed, {"content-encoding": "gzip"})
            assert small.http(data).status == status
    small.well()


@pytest.mark.parametrize("part", ["head", "body"])
def test_fault_048_slow_clients_are_ended_and_good_ones_served(
    small: InferencePlane, part: str
) -> None:
    begun = {"head": b"POST ", "body": head("content-length: 1000") + b"{"}[part]
    with ExitStack() as stack:
        clients = [stack.enter_context(Connection(small.port)) for _ in range(SLOW_CLIENTS)]
        started = time.monotonic()
        for client in clients:
            client.socket.sendall(begun)
        small.well()
        with good_client(small) as served:
            assert dripping(clients, b"x", 10.0) == SLOW_CLIENTS
        assert time.monotonic() - started < RECEIVE_SECONDS + 5.0
        assert len(served) >= 10
        assert all(served)
    small.well()


def test_fault_049_an_idle_connection_is_closed(small: InferencePlane) -> None:
    with Connection(small.port) as connection:
        assert connection.exchange(request("POST", INFER, BODY)).status == 200
        started = time.monotonic()
        assert ends(connection, IDLE_SECONDS + 2.0)
        assert time.monotonic() - started > IDLE_SECONDS - 0.5
    small.well()


def test_fault_048_a_client_that_takes_nothing_of_its_answer_is_ended(
    small: InferencePlane,
) -> None:
    size = {"binary_data_size": 4 * VALUES}
    tensor = {"name": "x", "shape": [VALUES], "datatype": "FP32", "parameters": size}
    json_part = json.dumps({"inputs": [tensor]}).encode()
    data = request(
        "POST",
        "/v2/models/vector/infer",
        json_part + np.full(VALUES, 1.2345678e-30, np.float32).tobytes(),
        {"inference-header-content-length": str(len(json_part))},
    )
    before = fds_at_rest(small)
    with ExitStack() as stack:
        for _ in range(UNREAD):
            client = stack.enter_context(Connection(small.port))
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.socket.sendall(data)
        assert settled(lambda: small.fds() - before >= UNREAD, 2.0)
        time.sleep(IDLE_SECONDS / 2)
        assert small.fds() - before >= UNREAD, (
            "the answer is too small: it is in the kernel's buffers"
        )
        assert settled(lambda: small.fds() <= before, 4 * IDLE_SECONDS)
    small.well()


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
        pytest.param(head("x-long: " + "a" * MIB)[:-4], 431, id="a header that never ends"),
        pytest.param(head(*(f"x-{n}: 1" for n in range(1000))), 400, id="1000 headers"),
    ],
)
def test_fault_050_heads_over_the_limit(small: InferencePlane, data: bytes, status: int) -> None:
    assert small.http(data).status == status
    small.well()


def test_fault_050_trailers_over_the_limit(small: InferencePlane) -> None:
    begun = head("transfer-encoding: chunked") + b"1\r\n{\r\n0\r\n"
    with small.peak_within(32.0), Connection(small.port) as connection:
        assert connection.exchange(begun + b"a:b\r\n" * 4_000_000).status == 431
        assert ends(connection, 5.0)
    small.well()


def test_fault_050_requests_one_behind_the_other(small: InferencePlane) -> None:
    """Their heads are over the limit together, and none of them is."""
    one = request("POST", INFER, BODY, {"x-long": "a" * 2000})
    with Connection(small.port) as connection:
        connection.socket.sendall(50 * one)
        assert [connection.read().status for _ in range(2)] == [200, 200]
    many = request("GET", "/v2/health/live") * 20_000
    with small.peak_within(32.0), Connection(small.port) as connection:
        assert connection.exchange(many).status == 503
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
    before = fds_at_rest(small)
    for _ in range(10):
        clients = [Connection(small.port) for _ in range(200)]
        for client in clients:
            client.socket.sendall(head("content-length: 100") + b"{")
            reset(client)
    assert settled(lambda: small.fds() - before < 20)
    small.well()


def test_fault_057_a_process_without_descriptors_left_recovers(small: InferencePlane) -> None:
    limit = small.fds() + 40
    with descriptors_of(small, limit), ExitStack() as stack:
        for _ in range(120):
            stack.enter_context(Connection(small.port))
        time.sleep(0.5)
        assert small.fds() >= limit - 1, "it had descriptors left"
    assert settled(lambda: answers(small))
    small.well()
