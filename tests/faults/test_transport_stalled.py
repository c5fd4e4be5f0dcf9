"""gRPC calls whose message never comes, or never whole: gRPC waits for it as long as the connection
lives, and meanwhile they must hold nothing that others need."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.faults import http2
from tests.faults.abuse import SLOW_CLIENTS, fds_at_rest, settled
from tests.faults.server import MIB, InferencePlane
from tests.faults.wire import Connection

pytestmark = pytest.mark.integration

CALLS = 1000
"""That the server takes at once; one connection gets a quarter of them."""


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InferencePlane]:
    folder = tmp_path_factory.mktemp("few")
    server = InferencePlane(folder, grpc={"calls": CALLS}, healthy=True)
    server.start()
    yield server
    server.stop()


def test_fault_048_messages_that_never_come_whole_hold_nothing_else(
    few: InferencePlane,
) -> None:
    """Each takes one stream of its own connection, and memory for what came of it: 48 KB here."""
    before = fds_at_rest(few)
    begun = http2.PREFACE + http2.call("ModelInfer") + http2.data(http2.message(b"", said=MIB))
    part = 3 * http2.data(bytes(16_000))
    with few.peak_within(96.0), ExitStack() as stack:
        for _ in range(SLOW_CLIENTS):
            client = stack.enter_context(Connection(few.grpc_port))
            client.socket.sendall(begun + part)
        assert settled(lambda: few.fds() - before >= SLOW_CLIENTS, 5.0)
        few.well()
    assert settled(lambda: few.fds() - before < 20)
    few.well()


def test_fault_048_one_connection_does_not_take_every_call(few: InferencePlane) -> None:
    with few.peak_within(64.0), Connection(few.grpc_port) as connection:
        try:
            connection.socket.sendall(http2.PREFACE + stalled(CALLS + 100))
        except OSError:
            """It may be closed: these are more streams than it said that it takes."""
        few.well()
    few.well()


def test_fault_048_calls_that_are_left_are_free_again(few: InferencePlane) -> None:
    for _ in range(5):
        with Connection(few.grpc_port) as connection:
            connection.socket.sendall(http2.PREFACE + stalled(CALLS // 4))
            few.well()
    few.well()


def stalled(calls: int) -> bytes:
    """So many calls on one connection, the message of none of which comes whole."""
    begun = http2.message(b"", said=1000)
    streams = range(1, 2 * calls, 2)
    return b"".join(http2.call("ModelInfer", each) + http2.data(begun, each) for each in streams)


def test_fault_047_calls_without_a_message_hold_nothing(few: InferencePlane) -> None:
    """gRPC answers none of them; more than may run at once are begun here."""
    for _ in range(5):
        with Connection(few.grpc_port) as connection:
            connection.socket.sendall(http2.PREFACE)
            for stream in range(1, 2 * CALLS // 4, 2):
                begun = http2.call("ModelInfer", stream) + http2.data(b"", stream, end=True)
                connection.socket.sendall(begun)
            few.well()
    few.well()
