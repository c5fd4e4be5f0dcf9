from collections.abc import Iterator

import pytest

from tests.fakes.pipelines import scripted_nodes


@pytest.fixture(autouse=True, scope="module")
def node_types() -> Iterator[None]:
    with scripted_nodes():
        yield
