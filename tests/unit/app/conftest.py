from collections.abc import Iterator

import pytest

from tests.fakes.pipelines import ScriptedNode, scripted_nodes


@pytest.fixture(autouse=True, scope="module")
def node_types() -> Iterator[None]:
    with scripted_nodes():
        yield


@pytest.fixture
def journal() -> list[str]:
    """What the scripted nodes do in this test, in order."""
    ScriptedNode.journal.clear()
    return ScriptedNode.journal
