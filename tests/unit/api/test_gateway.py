"""The gateway's application: server routes, pipelines, status, metrics, documents."""

from collections.abc import AsyncIterator, Mapping, Sequence

import cv2
import httpx
import numpy as np
import pytest
from fastapi.routing import APIRoute
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette
from starlette.routing import Route

from app import __version__
from app.api.dataplane import EXTENSIONS, DataPlane
from app.api.gateway import build_gateway_app
from app.api.infer import InferEndpoint
from app.errors import DeadlineExceeded, InferenceFailed, InvalidInput, QueueFull
from app.interfaces import ModelHandle
from app.limits import Limits
from app.types import JsonValue
from tests.fakes.http import chunks, client_of, refuses
from tests.fakes.models import FakeHandle
from tests.fakes.nodes import ManualClock
from tests.fakes.pipelines import PipelineBench
from tests.unit.imaging.test_header import FILES, jpeg_declaring, png_declaring

PIPELINES = """
pipelines:
  - {id: echo, nodes: [{id: a, type: scripted}]}
  - {id: size, nodes: [{id: image, type: image.decode}, {id: a, type: scripted, params: SIZE}],
     edges: [{from: image, to: a}]}
  - {id: find, nodes: [{id: image, type: image.decode}, {id: dog, type: scripted.box}],
     edges: [{from: image, to: dog}]}
  - {id: infer, model: fake}
  - {id: lacks, model: absent}
  - {id: fails, nodes: [{id: a, type: scripted, params: {fails: model down}}]}
  - {id: filters, nodes: [{id: a, type: scripted, params: {filters: true}}]}
  - {id: late, model: fake, deadline_ms: 1}
  - {id: cheaper, model: fake, deadline_ms: 1, fallback: guess}
  - {id: guess, nodes: [{id: b, type: scripted, params: {result: cheap}}]}
""".replace("SIZE", "{result: seen}")

STATUSES: list[dict[str, JsonValue]] = [
    {
        "application": "gateway",
        "replica": "r1",
        "models": {"digits": {"state": "ready", "reason": "", "succeeded": 3, "waiting": 2}},
        "pipelines": {
            "air": {"state": "ready", "processed": 5, "seconds": 1.5},
            "door": {"state": "unavailable", "reason": "model 'x' is not served here"},
        },
        "connectors": {},
    },
    {
        "application": "streams",
        "replica": "r2",
        "models": {"digits": {"state": "failed", "reason": "why"}},
        "pipelines": {},
        "connectors": {
            "hall": {
                "state": "running",
                "counts": {
                    "total": {},
                    "sources": {
                        'a"\n\\': {
                            "captured": 9,
                            "processed": 4,
                            "downgraded": 1,
                            "dropped": {"late": 2, "invalid": 1},
                            "in_flight": 1,
                        }
                    },
                },
            },
            "yard": {"state": "backing_off", "counts": {"sources": {}}},
        },
    },
]


async def statuses() -> Sequence[Mapping[str, JsonValue]]:
    return STATUSES


def client_for(
    models: Mapping[str, ModelHandle] | None = None, clock: ManualClock | None = None
) -> httpx.AsyncClient:
    """A gateway with the pipelines above; their nodes are not opened."""
    known = {"fake": FakeHandle()} if models is None else models
    bench = PipelineBench(models={"fake": FakeHandle(), **known}, clock=clock or ManualClock())
    return client_of(build_gateway_app(DataPlane(known), bench.host(PIPELINES), statuses, 5.0))


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    bench = PipelineBench(models={"fake": FakeHandle()}, clock=ManualClock())
    host = bench.host(PIPELINES)
    await host.open()
    app = build_gateway_app(DataPlane({"fake": FakeHandle()}), host, statuses, 5.0)
    async with client_of(app) as made:
        yield made
    await host.close()


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


async def test_a_json_document_through_a_pipeline(client: httpx.AsyncClient) -> None:
    response = await client.post(
        "/v1/pipelines/echo", json={"t": 21.5}, headers={"x-request-id": "abc"}
    )
    assert response.json() == {"id": "abc", "pipeline": "echo", "result": [{"t": 21.5}]}
    again = await client.post("/v1/pipelines/echo", json=1)
    other = await client.post("/v1/pipelines/echo", json=1)
    assert len({again.json()["id"], other.json()["id"], ""}) == 3


async def test_an_id_that_is_too_long_is_cut(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/pipelines/echo", json=1, headers={"x-request-id": "a" * 5000})
    assert response.json()["id"] == "a" * 128


@pytest.mark.parametrize(
    "content_type", ["image/jpeg", "IMAGE/PNG", "", "application/octet-stream"]
)
async def test_a_picture_through_a_pipeline(client: httpx.AsyncClient, content_type: str) -> None:
    response = await client.post(
        "/v1/pipelines/size", content=FILES["jpeg"], headers={"content-type": content_type}
    )
    assert (response.status_code, response.json()["result"]) == (200, "seen")


async def test_detections_are_answered_object_by_object(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/pipelines/find", content=FILES["png"])
    [dog] = response.json()["result"]
    assert (dog["label"], dog["score"], dog["box"]) == ("dog", 0.9, [1, 2, 11, 12])


async def test_annotate_answers_the_picture(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/pipelines/find?annotate=1", content=FILES["png"])
    assert response.headers["content-type"] == "image/jpeg"
    picture = cv2.imdecode(np.frombuffer(response.content, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert picture.shape == (37, 53, 3)
    for off in ("0", "false"):
        plain = await client.post(f"/v1/pipelines/find?annotate={off}", content=FILES["png"])
        assert plain.headers["content-type"] == "application/json"


async def test_annotate_needs_something_to_draw(client: httpx.AsyncClient) -> None:
    refuses(await client.post("/v1/pipelines/size?annotate=1", content=FILES["png"]), 400)
    refuses(await client.post("/v1/pipelines/echo?annotate=1", json={}), 400)


@pytest.mark.parametrize("name", ["absent", "..%2F..", "a%00b", "x" * 5000, "%F0%9F%98%80"])
async def test_unknown_pipelines(client: httpx.AsyncClient, name: str) -> None:
    response = await client.post(f"/v1/pipelines/{name}", json=1)
    assert len(refuses(response, 404)) < 1100


async def test_a_pipeline_that_cannot_run_here_says_why(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/pipelines/lacks", json=1)
    refuses(response, 404, "model 'absent' is not served here")


async def test_fault_002_empty_body(client: httpx.AsyncClient) -> None:
    refuses(await client.post("/v1/pipelines/echo"), 400, "the body is empty")


async def test_fault_001_body_that_is_no_json(client: httpx.AsyncClient) -> None:
    headers = {"content-type": "application/json; charset=utf-8"}
    refuses(await client.post("/v1/pipelines/echo", content=b"{", headers=headers), 400, "JSON")


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


@pytest.mark.parametrize("bomb", [png_declaring(65_000, 65_000), jpeg_declaring(65_000, 65_000)])
@pytest.mark.parametrize("pipeline", ["size", "find?annotate=1"])
async def test_fault_052_pictures_that_declare_too_much(
    client: httpx.AsyncClient, bomb: bytes, pipeline: str
) -> None:
    response = await client.post(f"/v1/pipelines/{pipeline}", content=bomb)
    refuses(response, 413, "65000 x 65000")


@pytest.mark.parametrize("picture", [b"<svg/>", b"II*\0", b"GIF89a", FILES["jpeg"][:200]])
async def test_fault_053_what_is_no_picture(client: httpx.AsyncClient, picture: bytes) -> None:
    refuses(await client.post("/v1/pipelines/size", content=picture), 400, "picture")


async def test_fault_029_a_failing_node(client: httpx.AsyncClient) -> None:
    refuses(await client.post("/v1/pipelines/fails", json=1), 500, "model down")
    assert (await client.post("/v1/pipelines/echo", json=1)).status_code == 200


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InferenceFailed("model 'fake' failed"), 500),
        (InvalidInput("input 'x' has shape [1]"), 400),
        (QueueFull("too many"), 503),
        (DeadlineExceeded("too late"), 504),
    ],
)
async def test_errors_of_a_model_come_through_a_pipeline(error: Exception, status: int) -> None:
    bench = PipelineBench(models={"fake": FakeHandle(error)})
    text = "pipelines: [{id: p, nodes: [{id: t, type: env.vector_to_tensor}, INFER], EDGES}]"
    text = text.replace("INFER", "{id: m, type: infer, params: {model: fake}}")
    host = bench.host(text.replace("EDGES", "edges: [{from: t, to: m}]"))
    app = build_gateway_app(DataPlane({}), host, statuses, 5.0)
    reading = dict.fromkeys(("co2_ppm", "temperature", "humidity", "pressure", "voc"), 1)
    refuses(await client_of(app).post("/v1/pipelines/p", json=reading), status, str(error))


async def test_fault_029_a_bug_in_a_node_is_not_told(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    response = await client_for().post("/v1/pipelines/echo", json=1)  # its node was never opened
    assert refuses(response, 500) == "internal error"
    assert caplog.records[-1].exc_info


async def test_a_message_that_a_node_filters_out_is_an_answer(
    client: httpx.AsyncClient,
) -> None:
    for query in ("", "?annotate=1"):
        response = await client.post(f"/v1/pipelines/filters{query}", json=1)
        assert response.status_code == 200
        answer = response.json()
        assert (answer["result"], answer["filtered"]) == (None, True)


class StaleClock(ManualClock):
    """Ahead of the moment at which any request is captured."""

    def time(self) -> float:
        return 1e12


async def test_fault_033_a_late_message_is_a_deadline_and_runs_no_model() -> None:
    handle = FakeHandle()
    client = client_for({"fake": handle}, clock=StaleClock())
    refuses(await client.post("/v1/pipelines/late", content=b"x"), 504, "deadline")
    assert handle.requests == []


async def test_the_fallback_answers_for_a_late_message() -> None:
    bench = PipelineBench(models={"fake": FakeHandle()}, clock=StaleClock())
    host = bench.host(PIPELINES)
    await host.open()
    app = build_gateway_app(DataPlane({}), host, statuses, 5.0)
    response = await client_of(app).post("/v1/pipelines/cheaper", content=b"x")
    assert response.status_code == 200
    assert (response.json()["pipeline"], response.json()["result"]) == ("guess", "cheap")


async def test_every_pipeline_is_listed_with_its_state(client: httpx.AsyncClient) -> None:
    await client.post("/v1/pipelines/echo", json=1)
    listed = (await client.get("/v1/pipelines")).json()["pipelines"]
    assert listed["echo"]["processed"] == 1
    assert listed["lacks"]["state"] == "unavailable"
    assert len(listed) == 10


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
    assert "/openapi.json" in (await client.get("/docs")).text
    document = (await client.get("/openapi.json")).json()
    assert document["info"]["title"] == "Manta"


async def test_openapi_lists_exactly_what_is_served(client: httpx.AsyncClient) -> None:
    transport = client._transport
    assert isinstance(transport, httpx.ASGITransport)
    endpoint = transport.app
    assert isinstance(endpoint, InferEndpoint)
    assert isinstance(endpoint._app, Starlette)
    served = {
        (route.path, method.lower())
        for route in endpoint._app.routes
        if isinstance(route, APIRoute | Route)
        for method in (route.methods or set()) - {"HEAD"}
        if not route.path.startswith(("/docs", "/redoc", "/openapi.json"))
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
