"""The gateway's application: server routes, pipelines, status, metrics, documents."""

from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi.routing import APIRoute
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette
from starlette.routing import Route

from app import __version__
from app.api.dataplane import EXTENSIONS, DataPlane
from app.api.http.gateway import build_gateway_app
from app.api.http.infer_route import InferEndpoint
from app.api.http.origin import OriginGuard
from app.config.limits import Limits
from tests.fakes.http import chunks, client_of, refuses
from tests.fakes.models import FakeHandle
from tests.fakes.nodes import ManualClock
from tests.fakes.pipelines import PipelineBench
from tests.unit.app.api.gateway_app import PIPELINES, STATUSES, client_for, opened, statuses


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with opened() as made:
        yield made


async def test_server_metadata(client: httpx.AsyncClient) -> None:
    response = await client.get("/v2")
    assert response.json() == {
        "name": "manta",
        "version": __version__,
        "extensions": list(EXTENSIONS),
    }


async def test_health() -> None:
    for state, status in (("ready", 200), ("loading", 503), ("failed", 503)):
        client = client_for({"good": FakeHandle(), "other": FakeHandle(state=state)})
        assert (await client.get("/v2/health/live")).json() == {"live": True}
        response = await client.get("/v2/health/ready")
        assert (response.status_code, response.json()) == (status, {"ready": status == 200})


async def test_the_gateway_answers_for_every_model(client: httpx.AsyncClient) -> None:
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}
    response = await client.post("/v2/models/fake/infer", json={"inputs": [tensor]})
    assert response.json()["outputs"][0]["data"] == [2, 4, 6]
    assert (await client.get("/v2/models/fake")).json()["name"] == "fake"
    refuses(await client.get("/v2/models/absent"), 404, "there is no model 'absent'")
    refuses(await client.post("/v2/models/absent/infer"), 404, "there is no model 'absent'")


async def test_fault_038_wrong_methods(client: httpx.AsyncClient) -> None:
    for method, path, allowed in (
        ("GET", "/v1/pipelines/echo", "POST"),
        ("DELETE", "/v1/pipelines", "GET"),
        ("POST", "/v1/status", "GET"),
        ("POST", "/v2/health/live", "GET"),
        ("GET", "/v2/models/fake/infer", "POST"),
    ):
        response = await client.request(method, path)
        refuses(response, 405)
        assert allowed in response.headers["allow"].split(", ")


@pytest.mark.parametrize("content_type", ["text/html", "video/mp4", "application/xml"])
async def test_fault_039_content_types_that_are_not_handled(
    client: httpx.AsyncClient, content_type: str
) -> None:
    response = await client.post(
        "/v1/pipelines/echo", content=b"x", headers={"content-type": content_type}
    )
    refuses(response, 415, content_type, "image/* or application/json")


async def test_fault_040_compressed_bodies(client: httpx.AsyncClient) -> None:
    headers = {"content-encoding": "br"}
    refuses(await client.post("/v1/pipelines/echo", content=b"x", headers=headers), 415)


async def test_fault_042_and_043_bodies_over_the_limit() -> None:
    host = PipelineBench(models={"fake": FakeHandle()}, clock=ManualClock()).host(PIPELINES)
    await host.open()
    limits = Limits(body_bytes=100)
    client = client_of(build_gateway_app(DataPlane({}), host, statuses, 5.0, limits))
    for content in (b"x" * 101, chunks(b"x" * 60, b"x" * 60)):
        refuses(await client.post("/v1/pipelines/echo", content=content), 413, "100 bytes")
    assert (await client.post("/v1/pipelines/echo", content=b"x" * 100)).status_code == 200


async def test_status(client: httpx.AsyncClient) -> None:
    assert (await client.get("/v1/status")).json() == {
        "version": __version__,
        "processes": STATUSES,
    }


async def test_metrics(client: httpx.AsyncClient) -> None:
    response = await client.get("/metrics")
    assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    samples = {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }
    expected: dict[tuple[str, ...], float] = {
        ("manta_model_ready", "gateway", "digits", "r1"): 1,
        ("manta_model_ready", "streams", "digits", "r2"): 0,
        ("manta_model_requests_succeeded_total", "gateway", "digits", "r1"): 3,
        ("manta_model_waiting", "gateway", "digits", "r1"): 2,
        ("manta_pipeline_ready", "gateway", "air", "r1"): 1,
        ("manta_pipeline_ready", "gateway", "door", "r1"): 0,
        ("manta_pipeline_processed_total", "gateway", "air", "r1"): 5,
        ("manta_pipeline_seconds_total", "gateway", "air", "r1"): 1.5,
        ("manta_connector_ready", "streams", "hall", "r2"): 1,
        ("manta_connector_ready", "streams", "yard", "r2"): 0,
        ("manta_stream_captured_total", "streams", "hall", "r2", 'a"\n\\'): 9,
        ("manta_stream_in_flight", "streams", "hall", "r2", 'a"\n\\'): 1,
        ("manta_stream_dropped_total", "streams", "hall", "late", "r2", 'a"\n\\'): 2,
        ("manta_stream_dropped_total", "streams", "hall", "invalid", "r2", 'a"\n\\'): 1,
    }
    assert expected.items() <= samples.items()


async def test_documents(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    assert document["info"]["title"] == "Manta"


async def test_openapi_lists_exactly_what_is_served(client: httpx.AsyncClient) -> None:
    transport = client._transport
    assert isinstance(transport, httpx.ASGITransport)
    assert isinstance(transport.app, OriginGuard)
    endpoint = transport.app.app
    assert isinstance(endpoint, InferEndpoint)
    assert isinstance(endpoint._app, Starlette)
    served = {
        (route.path, method.lower())
        for route in endpoint._app.routes
        if isinstance(route, APIRoute | Route)
        for method in (route.methods or set()) - {"HEAD"}
        if not route.path.startswith(("/docs", "/openapi.json"))
    }
    document = (await client.get("/openapi.json")).json()
    listed = {(path, method) for path, item in document["paths"].items() for method in item}
    assert listed == served
    for path, item in document["paths"].items():
        for operation in item.values():
            named = {p["name"] for p in operation.get("parameters", []) if p["in"] == "path"}
            assert all(f"{{{name}}}" in path for name in named)
            assert path.count("{") == len(named)
            assert operation["summary"]


async def test_unknown_paths_answer_in_the_form_of_their_place(client: httpx.AsyncClient) -> None:
    for path in (
        "/v2/nothing",
        "/v1/nothing",
        "/nothing",
        "/",
        "/v2/../v1/status/x",
        "/v1/status/",
    ):
        refuses(await client.get(path), 404)
