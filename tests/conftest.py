"""What holds for every test."""

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What a run finds out and downloads is neither taken from the user's cache nor put there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MANTA_ARTEFACT_CACHE", str(tmp_path_factory.mktemp("artefact-cache")))
        yield
