"""HAProxy, which stands in front of the product: what is silent there is closed, and so keeps
nobody out for longer; where it lets a body end; and what it is told by a process that ends."""

import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import grpc
import httpx
import pytest
import yaml
from websockets.sync.client import connect

from app.api.grpc.proto import inference_pb2 as pb
from tests.faults.abuse import BODY, INFER, ends, head
from tests.faults.acting_product import acting_product
from tests.faults.models import GOOD
from tests.faults.wire import Connection, request
from tests.integration.product import Product

pytestmark = pytest.mark.integration

PLACES = 64
"""Connections that HAProxy keeps here, so that few of them fill it."""

SILENT_SECONDS = 30.0
"""As config/serve_haproxy.yaml has it."""


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    running = acting_product(tmp_path_factory.mktemp("product"), haproxy=True)
    running.environ["RAY_SERVE_HAPROXY_MAXCONN"] = str(PLACES)
    try:
        running.start()
        yield running
    finally:
        assert running.stop() == []


def test_fault_048_049_what_is_silent_is_closed_and_a_socket_is_not(product: Product) -> None:
    stream = product.url.replace("http", "ws", 1) + f"/api/v1/stream?model={GOOD}"
    with ExitStack() as stack:
        socket = stack.enter_context(connect(stream, ping_interval=None))
        silent, asked, inside = [stack.enter_context(Connection(product.port)) for _ in range(3)]
        started = time.monotonic()
        assert asked.exchange(request("POST", INFER, BODY)).status == 200
        inside.socket.sendall(head("content-length: 1000") + b"{")
        for connection in (silent, asked, inside):
            left = started + SILENT_SECONDS + 5.0 - time.monotonic()
            assert ends(connection, left)
            assert time.monotonic() - started > SILENT_SECONDS - 1.0
        socket.send(BODY.decode())
        assert json.loads(socket.recv(5.0))["outputs"][0]["data"] == [3, 6, 9]


def test_fault_049_who_comes_when_every_place_is_taken_is_let_in_by_time(product: Product) -> None:
    with ExitStack() as stack:
        for _ in range(PLACES):
            stack.enter_context(Connection(product.port))
        started = time.monotonic()
        with Connection(product.port, timeout_s=SILENT_SECONDS + 5.0) as late:
            late.socket.sendall(request("POST", INFER, BODY))
            direct = httpx.post(product.direct_url + INFER, content=BODY, timeout=1.0)
            assert direct.status_code == 200
            with grpc.insecure_channel(product.grpc_address) as channel:
                live = channel.unary_unary("/inference.GRPCInferenceService/ServerLive")
                live(pb.ServerLiveRequest().SerializeToString(), timeout=1.0)
            assert late.read().status == 200
            assert time.monotonic() - started > 5.0, "there was a place left"


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        # RFC 9112 section 6.3 lets a proxy go by the chunks, if it closes the connection after.
        (("content-length: 4", "transfer-encoding: chunked"), 200),
        (("content-length: 4", "content-length: 5"), 400),
        (("transfer-encoding: chunked, identity",), 400),
        (("content-length: +4",), 400),
    ],
)
def test_fault_051_nothing_is_smuggled_behind_a_request(
    product: Product, lines: tuple[str, ...], status: int
) -> None:
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
    with Connection(product.port) as connection:
        connection.socket.sendall(head(*lines) + body + request("GET", "/v2"))
        received = b"".join(iter(lambda: connection.socket.recv(65536), b""))
    assert re.findall(rb"HTTP/1\.1 (\d+)", received) == [str(status).encode()]


def test_fault_058_requests_that_outlast_their_process_are_told_so(product: Product) -> None:
    """The second would be run after the first, and Serve ends the process before that is done."""
    act = {"name": "act", "shape": [1], "datatype": "BYTES", "data": ["sleep 10"]}
    url = f"{product.url}/v2/models/acting/infer"
    with ThreadPoolExecutor(2) as pool:
        asked = [
            pool.submit(httpx.post, url, json={"inputs": [act]}, timeout=30.0) for _ in range(2)
        ]
        time.sleep(0.5)
        started = time.monotonic()
        take_away(product, "acting")
        answers = [each.result() for each in asked]
    assert [answer.status_code for answer in answers] == [503, 503]
    assert all("is ending" in answer.json()["error"] for answer in answers)
    assert time.monotonic() - started < 10.0


def take_away(product: Product, application: str) -> None:
    """Deploy the configuration again, without one of its applications."""
    config = yaml.safe_load(product.config_file.read_text())
    kept = [each for each in config["applications"] if each["name"] != application]
    dashboard = re.search(r"View the dashboard at \S*?(http://[0-9.:]+)", product.log.read_text())
    assert dashboard is not None
    changed = {**config, "applications": kept}
    answer = httpx.put(f"{dashboard.group(1)}/api/serve/applications/", json=changed, timeout=20.0)
    assert answer.status_code == 200, answer.text
