"""The product itself is ended: every process at once under load, and with nobody to see to it.
tests/integration/test_supervisor.py has the other ways, on a server that obeys nobody."""

import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest

from app.api.ports import listeners
from tests.integration.product import Product, project_files

pytestmark = pytest.mark.integration

ENDED_SECONDS = 10.0
LAST_OF_BANNER = "/v1/pipelines/read-text"
VECTOR = {"name": "vector", "shape": [1, 5], "datatype": "FP32", "data": [600, 21, 40, 1013, 90]}


@pytest.fixture
def product(tmp_path: Path) -> Iterator[Product]:
    running = Product(tmp_path, *project_files())
    running.start()
    family = psutil.Process(running.pid).children(recursive=True)
    try:
        yield running
    finally:
        running.stop()
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.kill()


class Load:
    """Requests one after the other, each on a connection of its own, until `done`."""

    def __init__(self, url: str) -> None:
        self.answers: Counter[str] = Counter()
        self._url = f"{url}/v2/models/air-quality/infer"
        self._done = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(4)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        while not self._done.is_set():
            try:
                answer = httpx.post(self._url, json={"inputs": [VECTOR]}, timeout=5.0)
                self.answers[str(answer.status_code)] += 1
            except httpx.HTTPError as error:
                self.answers[type(error).__name__] += 1
                time.sleep(0.05)


def gone(product: Product, family: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(family, timeout=ENDED_SECONDS)
    assert alive == []
    assert listeners("127.0.0.1", product.port) == []


def test_fault_116_158_a_signal_to_every_process_under_load(product: Product) -> None:
    supervisor = psutil.Process(product.pid)
    family = supervisor.children(recursive=True)
    product.wait_until(lambda: LAST_OF_BANNER in product.log.read_text(), 20)
    printed = len(product.log.read_text().splitlines())
    with Load(product.url) as load:
        product.wait_until(lambda: load.answers["200"] > 50, 20)
        for process in (supervisor, *family):
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGTERM)
        assert supervisor.wait(ENDED_SECONDS) == 0
    gone(product, family)
    lines = product.log.read_text().splitlines()[printed:]
    said = [line for line in lines if "manta.actions" not in line]
    assert len(said) == 1, said
    assert "SIGTERM" in said[0]
    assert set(load.answers) <= {"200", "503", "ConnectError", "ReadError", "RemoteProtocolError"}


def test_fault_158_the_supervisor_is_killed(product: Product) -> None:
    supervisor = psutil.Process(product.pid)
    family = supervisor.children(recursive=True)
    supervisor.kill()
    gone(product, family)
