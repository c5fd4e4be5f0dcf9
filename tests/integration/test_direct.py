"""The direct HTTP door: a real uvicorn on a real port, without Ray."""

import socket
from collections.abc import AsyncIterator

import httpx
import pytest

from app.api.dataplane import DataPlane
from app.api.http.direct_server import DirectConfig, DirectServer, _bound
from app.api.http.rest import build_model_app
from app.errors import ConfigurationError
from models.repository.repository import ModelRepository
from models.serving.service import LocalModelService
from tests.integration.mosquitto import free_port
from tests.paths import ZOO

pytestmark = pytest.mark.integration
VECTOR = {
    "inputs": [
        {"name": "vector", "shape": [1, 5], "datatype": "FP32", "data": [600, 21, 40, 1013, 90]}
    ]
}


@pytest.fixture
async def url() -> AsyncIterator[str]:
    service = LocalModelService(ModelRepository([ZOO]), "air-quality")
    await service.load()
    app = build_model_app(DataPlane({"air-quality": service}), timeout_s=5.0)
    server = DirectServer(app, DirectConfig(port=free_port()))
    await server.start()
    yield f"http://127.0.0.1:{server.port}"
    await server.stop()
    await service.close()


async def test_it_serves_the_same_application(url: str) -> None:
    async with httpx.AsyncClient(base_url=url) as client:
        answer = await client.post("/v2/models/air-quality/infer", json=VECTOR)
        assert answer.status_code == 200
        assert answer.json()["outputs"][0]["shape"] == [1, 5]
        assert (await client.get("/v2/models/air-quality")).json()["name"] == "air-quality"
        assert (await client.get("/nowhere")).status_code == 404


def test_an_answer_waits_for_no_acknowledgement() -> None:
    """asyncio switches Nagle's algorithm off for connections whose socket names its protocol."""
    with _bound(DirectConfig(port=free_port())) as listening:
        assert listening.proto == socket.IPPROTO_TCP


async def test_the_request_id_comes_back(url: str) -> None:
    async with httpx.AsyncClient(base_url=url) as client:
        own = await client.get("/v2/models/air-quality", headers={"x-request-id": "abc-1"})
        assert own.headers["x-request-id"] == "abc-1"
        forged = await client.get("/v2/models/air-quality", headers={"x-request-id": "a b"})
        assert len(forged.headers["x-request-id"]) == 32


async def test_an_address_that_cannot_be_bound_is_a_configuration_error() -> None:
    async def nothing(scope: object, receive: object, send: object) -> None:
        """Never called."""

    config = DirectConfig(host="192.0.2.1", port=9)  # an address that no machine has
    with pytest.raises(ConfigurationError, match="cannot listen"):
        await DirectServer(nothing, config).start()
