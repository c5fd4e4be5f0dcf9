"""The OpenAPI document is true, as far as a short run of schemathesis can tell."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.faults import fuzz_openapi
from tests.faults.models import GOOD
from tests.faults.server import InferencePlane

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(
        not fuzz_openapi.INSTALLED, reason="schemathesis is not installed: it needs Python 3.11"
    ),
]


@pytest.fixture
def healthy(tmp_path: Path) -> Iterator[InferencePlane]:
    """A plane of its own, since its models may be unloaded."""
    plane = InferencePlane(tmp_path, healthy=True)
    plane.start()
    yield plane
    plane.stop()


@pytest.mark.parametrize("known", [True, False], ids=["names that are there", "names made up"])
def test_every_answer_is_in_the_document(healthy: InferencePlane, known: bool) -> None:
    found = fuzz_openapi.run(healthy, 10, known=known)
    assert not found, found
    httpx.post(f"{healthy.base_url}/v2/repository/models/{GOOD}/load").raise_for_status()
    healthy.well(growth_mib=128.0)
