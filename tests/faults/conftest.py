from collections.abc import Iterator

import pytest

from tests.faults.server import InferencePlane


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InferencePlane]:
    """One inference plane with its usual limits for the whole session."""
    server = InferencePlane(tmp_path_factory.mktemp("plane"))
    server.start()
    yield server
    server.stop()
