"""A model whose process dies while it runs, or has no memory: the product around it goes on."""

import resource
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import grpc
import httpx
import psutil
import pytest

from app.api.grpc.proto import inference_pb2 as pb
from tests.faults.acting_product import acting_product
from tests.faults.acts import INFER, grpc_message
from tests.faults.models import GOOD, MIB
from tests.faults.server import SETTLE_SECONDS
from tests.integration.product import Product

pytestmark = pytest.mark.integration

REPLACED_SECONDS = 10.0
LEFT_MIB = 256
"""Memory that the process of the model may still take; a tenth of what it tries to."""


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    running = acting_product(tmp_path_factory.mktemp("product"))
    try:
        running.start()
        yield running
    finally:
        assert running.stop() == []


def over_http(product: Product, act: str) -> int:
    """HAProxy says 502 where the process behind it dies, or closes the connection if it had used
    the one to the process before: either tells a client that it may try again, as a 503 does."""
    document = {"inputs": [{"name": "act", "shape": [1], "datatype": "BYTES", "data": [act]}]}
    url = f"{product.url}/v2/models/acting/infer"
    try:
        status = httpx.post(url, json=document, timeout=20.0).status_code
    except httpx.RemoteProtocolError:
        return 503
    return 503 if status == 502 else status


def over_grpc(product: Product, act: str) -> int:
    with grpc.insecure_channel(product.grpc_address) as channel:
        try:
            channel.unary_unary(INFER)(grpc_message("acting", act), timeout=20.0)
        except grpc.RpcError as error:
            return {"UNAVAILABLE": 503, "INTERNAL": 500}.get(error.code().name, 0)
    return 200


class Others:
    """Asks another model all the while, over both doors, and keeps what was no right answer."""

    def __init__(self, product: Product) -> None:
        self.wrong: list[object] = []
        self.asked = 0
        self._product = product
        self._done = threading.Event()
        self._threads = [threading.Thread(target=ask) for ask in (self._http, self._grpc)]

    def __enter__(self) -> "Others":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()

    def _http(self) -> None:
        tensor = {"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}
        with httpx.Client(base_url=self._product.url) as client:
            while not self._done.wait(0.02):
                answer = client.post(f"/v2/models/{GOOD}/infer", json={"inputs": [tensor]})
                self.asked += 1
                if answer.status_code != 200 or answer.json()["outputs"][0]["data"] != [3, 6, 9]:
                    self.wrong.append(answer.text)

    def _grpc(self) -> None:
        message = pb.ModelInferRequest(model_name=GOOD)
        tensor = message.inputs.add(name="x", datatype="FP32", shape=[1, 3])
        tensor.contents.fp32_contents.extend([1, 2, 3])
        with grpc.insecure_channel(self._product.grpc_address) as channel:
            call = channel.unary_unary(INFER)
            while not self._done.wait(0.02):
                self.asked += 1
                try:
                    call(message.SerializeToString(), timeout=5.0)
                except grpc.RpcError as error:
                    self.wrong.append(error.code())


@pytest.mark.parametrize("ask", [over_http, over_grpc])
def test_fault_030_a_model_that_takes_its_process_with_it(
    product: Product, ask: Callable[[Product, str], int]
) -> None:
    product.wait_until(lambda: ask(product, "work") == 200, REPLACED_SECONDS)
    with Others(product) as others:
        started = time.monotonic()
        assert ask(product, "crash") in (500, 503)
        product.wait_until(lambda: ask(product, "work") == 200, REPLACED_SECONDS)
        assert time.monotonic() - started < REPLACED_SECONDS
        live = httpx.get(f"{product.url}/v2/health/live", timeout=1.0)
    assert live.status_code == 200
    assert others.asked > 20
    assert others.wrong == []


@pytest.mark.parametrize("ask", [over_http, over_grpc])
def test_fault_058_a_model_process_that_may_have_no_more_memory(
    product: Product, ask: Callable[[Product, str], int]
) -> None:
    """The kernel refuses it memory in the middle of a run. Whether its process dies of it or not,
    who asked is told, others notice nothing, and soon the model answers again."""
    product.wait_until(lambda: ask(product, "work") == 200, REPLACED_SECONDS)
    process = psutil.Process(product.process_status("acting")["pid"])
    before = process.memory_info().rss
    most = process.memory_info().vms + LEFT_MIB * MIB
    resource.prlimit(process.pid, resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))
    try:
        with Others(product) as others:
            assert ask(product, "hoard") in (500, 503)
            product.wait_until(lambda: ask(product, "work") == 200, REPLACED_SECONDS)
            assert httpx.get(f"{product.url}/v2/health/live", timeout=1.0).status_code == 200
            product.wait_until(lambda: others.asked > 10, 5.0)
    finally:
        with suppress(ProcessLookupError):
            resource.prlimit(
                process.pid, resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
            )
    assert others.wrong == []
    with suppress(psutil.NoSuchProcess):
        product.wait_until(
            lambda: process.memory_info().rss - before < LEFT_MIB * MIB / 4, SETTLE_SECONDS
        )
