"""Ten thousand connections on which nothing is said."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.faults import http2
from tests.faults.abuse import descriptors, fds_at_rest, settled
from tests.faults.server import InferencePlane
from tests.faults.wire import Connection, request

pytestmark = pytest.mark.integration

IDLE = 10_000
CAP = 1000
"""Connections that a door takes, as Limits has it."""

MOST_MIB = 300.0
"""Some 5 KB for each over HTTP and 15 KB over gRPC, of which the allocator keeps most."""

Door = tuple[Callable[[InferencePlane], int], bytes]
DOORS: dict[str, Door] = {
    "http": (lambda plane: plane.port, b""),
    "grpc": (lambda plane: plane.grpc_port, http2.PREFACE),
}
doors = pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)


@contextmanager
def serving(folder: Path, connections: int) -> Iterator[InferencePlane]:
    with descriptors(IDLE + 1000):
        plane = InferencePlane(folder, limits={"connections": connections}, healthy=True)
        plane.start()
        yield plane
        plane.stop()


@pytest.fixture(scope="module")
def capped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InferencePlane]:
    with serving(tmp_path_factory.mktemp("capped"), CAP) as plane:
        yield plane


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InferencePlane]:
    with serving(tmp_path_factory.mktemp("wide"), IDLE + 500) as plane:
        yield plane


@contextmanager
def idle(plane: InferencePlane, door: Door) -> Iterator[None]:
    """Ten thousand connections to a door, all open as far as their clients know."""
    port, opening = door
    with ExitStack() as stack:
        for _ in range(IDLE):
            connection = stack.enter_context(Connection(port(plane)))
            try:
                connection.socket.sendall(opening)
            except OSError:
                """It was refused already."""
        yield


@doors
def test_fault_049_of_ten_thousand_a_thousand_are_kept(capped: InferencePlane, door: Door) -> None:
    before = fds_at_rest(capped)
    with capped.peak_within(64.0), idle(capped, door):
        assert settled(lambda: CAP - 10 <= capped.fds() - before <= CAP + 10, 10.0)
        started = time.monotonic()
        status = capped.http(request("GET", "/v2/health/live")).status
        assert status == (503 if door is DOORS["http"] else 200)
        assert time.monotonic() - started < 1.0
    assert settled(lambda: capped.fds() - before < 20)
    capped.well()


@doors
def test_fault_049_ten_thousand_do_not_slow_others(wide: InferencePlane, door: Door) -> None:
    before = fds_at_rest(wide)
    with wide.peak_within(MOST_MIB), idle(wide, door):
        assert settled(lambda: wide.fds() - before >= IDLE, 15.0)
        started = time.monotonic()
        wide.answers()
        assert time.monotonic() - started < 1.0
    assert settled(lambda: wide.fds() - before < 20)
    wide.well(growth_mib=MOST_MIB)
