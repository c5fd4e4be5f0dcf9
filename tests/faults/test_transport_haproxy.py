"""HAProxy, which stands in front of the product: what is silent there is closed, and so keeps
nobody out for longer."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack

import grpc
import httpx
import pytest
from websockets.sync.client import connect

from app.api.proto import inference_pb2 as pb
from tests.faults.abuse import BODY, INFER, ends, head
from tests.faults.models import GOOD, write_repository
from tests.faults.wire import Connection, request
from tests.integration.product import Product, project_files

pytestmark = pytest.mark.integration

PLACES = 64
"""Connections that HAProxy keeps here, so that few of them fill it."""

SILENT_SECONDS = 30.0
"""As serve_config.yaml has it."""


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    folder = tmp_path_factory.mktemp("product")
    serve, _ = project_files()
    serve["applications"] = serve["applications"][:1]
    serve["applications"][0]["args"] = {
        "repositories": [str(write_repository(folder / "models"))],
        "inline": [GOOD],
        "loaded_models_file": str(folder / "loaded.json"),
    }
    running = Product(folder, serve, {"version": 1})
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
