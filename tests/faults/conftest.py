from collections.abc import Iterator

import pytest

from tests.faults import abuse
from tests.faults.server import InferencePlane


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InferencePlane]:
    """One inference plane with its usual limits for the whole session."""
    server = InferencePlane(tmp_path_factory.mktemp("plane"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InferencePlane]:
    """One with small limits, so that being over them is cheap.

    What one module does to its memory is not counted against the next.
    """
    server = InferencePlane(
        tmp_path_factory.mktemp("small"),
        limits={
            "body_bytes": abuse.BODY_BYTES,
            "decompressed_bytes": abuse.DECOMPRESSED_BYTES,
            "receive_seconds": abuse.RECEIVE_SECONDS,
            "idle_seconds": abuse.IDLE_SECONDS,
            "connections": abuse.CONNECTIONS,
        },
        healthy=True,
    )
    with abuse.descriptors(4 * abuse.CONNECTIONS):
        server.start()
        yield server
        server.stop()
