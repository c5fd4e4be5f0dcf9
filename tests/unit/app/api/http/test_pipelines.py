"""Pipelines over HTTP, through the gateway's application."""

from collections.abc import AsyncIterator

import cv2
import httpx
import numpy as np
import pytest

from app.api.dataplane import DataPlane
from app.api.http.gateway import build_gateway_app
from app.errors import DeadlineExceeded, InferenceFailed, InvalidInput, QueueFull
from tests.fakes.http import client_of, refuses
from tests.fakes.models import FakeHandle
from tests.fakes.nodes import ManualClock
from tests.fakes.pipelines import PipelineBench
from tests.unit.app.api.gateway_app import PIPELINES, client_for, opened, statuses
from tests.unit.app.imaging.test_header import FILES, jpeg_declaring, png_declaring


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with opened() as made:
        yield made


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
