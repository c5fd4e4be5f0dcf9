"""Connections to the gRPC port that are old, or whose peer is no longer there."""

import time
from collections.abc import Iterator
from contextlib import ExitStack

import grpc
import pytest

from tests.faults import http2
from tests.faults.server import InferencePlane
from tests.faults.wire import Connection

pytestmark = pytest.mark.integration

KEEPALIVE_SECONDS = 1.0
AGE_SECONDS = 4.0
GRACE_SECONDS = 2.0
JITTER = 0.1
"""Of the age, by which gRPC keeps clients from coming back all at once."""

STALLED = http2.PREFACE + http2.call("ModelInfer") + http2.data(http2.message(b"", said=1000))


@pytest.fixture(scope="module")
def aging(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InferencePlane]:
    server = InferencePlane(
        tmp_path_factory.mktemp("aging"),
        limits={"receive_seconds": GRACE_SECONDS / 2},
        grpc={
            "connection_age_s": AGE_SECONDS,
            "keepalive_s": KEEPALIVE_SECONDS,
            "keepalive_timeout_s": KEEPALIVE_SECONDS,
        },
        timeout_s=GRACE_SECONDS / 2,
        healthy=True,
    )
    server.start()
    yield server
    server.stop()


def seconds_open(client: Connection, within_s: float, *, answers: bool) -> float:
    """How long until the server closes the connection, to which a byte is sent now and then."""
    started = time.monotonic()
    client.socket.settimeout(0.2)
    while time.monotonic() - started < within_s:
        try:
            client.socket.sendall(http2.data(b"x") if answers else b"")
            received = client.socket.recv(65536)
        except TimeoutError:
            continue
        except OSError:
            break
        if not received:
            break
        if answers:
            client.socket.sendall(http2.pongs(received))
    return time.monotonic() - started


def test_fault_048_a_message_that_never_comes_whole_ends_with_its_connection(
    aging: InferencePlane,
) -> None:
    most = AGE_SECONDS * (1 + JITTER) + GRACE_SECONDS
    with ExitStack() as stack:
        clients = [stack.enter_context(Connection(aging.grpc_port)) for _ in range(20)]
        for client in clients:
            client.socket.sendall(STALLED)
        aging.well()
        first, *others = clients
        assert AGE_SECONDS < seconds_open(first, most + 5.0, answers=True) < most + 1.0
        for client in others:
            assert seconds_open(client, 1.0, answers=False) < 1.0
    aging.well()


@pytest.mark.parametrize("begun", [http2.PREFACE, STALLED], ids=["idle", "in a call"])
def test_fault_049_a_peer_that_is_gone_is_noticed(aging: InferencePlane, begun: bytes) -> None:
    with Connection(aging.grpc_port) as client:
        client.socket.sendall(begun)
        took = seconds_open(client, 2 * KEEPALIVE_SECONDS + 3.0, answers=False)
        assert took < 2 * KEEPALIVE_SECONDS + 1.0
    aging.well()


def test_no_call_fails_because_its_connection_is_old(aging: InferencePlane) -> None:
    until = time.monotonic() + 2 * AGE_SECONDS
    with aging.channel() as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ServerLive")
        while time.monotonic() < until:
            try:
                call(b"", timeout=5.0)
            except grpc.RpcError as error:
                pytest.fail(f"{error.code()}: {error.details()}")
            time.sleep(0.002)
    aging.well()
