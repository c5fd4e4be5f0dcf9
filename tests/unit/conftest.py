"""What no unit test may do: start Ray, use the network, or sleep."""

import itertools
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest


def _forbidden(what: str, instead: str) -> Callable[..., NoReturn]:
    def refuse(*_arguments: object, **_options: object) -> NoReturn:
        pytest.fail(f"a unit test may not {what}; {instead}")

    return refuse


@pytest.fixture(autouse=True, scope="package")
def guard() -> Iterator[None]:
    """Ray is forbidden where it was imported already; a later start of it fails at its sockets."""
    network = "use a fake of tests/fakes, or move the test to tests/contract or tests/integration"
    clock = "use tests/virtual_time.py or a ManualClock"
    with pytest.MonkeyPatch.context() as patch:
        for name in ("connect", "connect_ex", "bind"):
            patch.setattr(socket.socket, name, _forbidden(f"{name} a socket", network))
        patch.setattr(time, "sleep", _forbidden("call time.sleep", clock))
        if "ray" in sys.modules:
            patch.setattr("ray.init", _forbidden("call ray.init", network))
        yield


_NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def caches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("caches")


@pytest.fixture(autouse=True)
def own_cache(caches: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fakes stand for equal files: what was found out of one says nothing of the next."""
    monkeypatch.setenv("MANTA_ARTEFACT_CACHE", str(caches / str(next(_NUMBERS))))
