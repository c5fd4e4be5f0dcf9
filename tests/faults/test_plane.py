"""The fixture itself: a server that is well, and one that is not."""

import pytest

from tests.faults.server import InferencePlane

pytestmark = pytest.mark.integration


def test_it_is_well(plane: InferencePlane) -> None:
    plane.well()
    assert plane.rss() > 0
    assert plane.fds() > 0


def test_memory_that_does_not_come_back_is_noticed(plane: InferencePlane) -> None:
    with pytest.raises(AssertionError, match="memory grew"):
        plane._memory_is_back(growth_mib=-1000.0, within_s=0.2)
