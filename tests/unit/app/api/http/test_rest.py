"""The application of one model, as its process serves it."""

import asyncio
import logging
from collections.abc import AsyncIterator

import httpx
import numpy as np
import orjson
import pytest

from app.errors import DeadlineExceeded, InferenceFailed, ModelNotReady, QueueFull
from app.types import Arrays
from models.repository.repository import ModelRepository
from tests.fakes.http import refuses
from tests.fakes.models import FakeHandle
from tests.fakes.repository import tiny_repository
from tests.unit.app.api.model_app import INFER, body, client_for, serving, tensor

_ROWS = "7 7b 8 8b 9 9b 10 11 12 12b 13 13b 14 14b 14c 14d 15 16 17 18 19 23"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> ModelRepository:
    return tiny_repository(tmp_path_factory.mktemp("models"))


@pytest.fixture
async def client(repository: ModelRepository) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the real model `identity` (batch, 3)."""
    async with serving(repository, "identity") as made:
        yield made


async def test_infer(client: httpx.AsyncClient) -> None:
    response = await client.post(INFER, json={"id": "a1", **body()})
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.json() == {
        "model_name": "identity",
        "model_version": "2",
        "id": "a1",
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}],
    }


async def test_infer_on_a_version(client: httpx.AsyncClient) -> None:
    response = await client.post("/v2/models/identity/versions/2/infer", json=body())
    assert response.json()["model_version"] == "2"


async def test_metadata(client: httpx.AsyncClient) -> None:
    expected = {
        "name": "identity",
        "versions": ["2"],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 3]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 3]}],
        "parameters": {"max_batch_size": 32},
    }
    for path in ("/v2/models/identity", "/v2/models/identity/versions/2"):
        response = await client.get(path)
        assert (response.status_code, response.json()) == (200, expected)


async def test_ready(client: httpx.AsyncClient) -> None:
    for path in ("/v2/models/identity/ready", "/v2/models/identity/versions/2/ready"):
        response = await client.get(path)
        assert (response.status_code, response.json()) == (200, {"name": "identity", "ready": True})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", "JSON"),
        (b"", "JSON"),
        (b"[1]", "the body: must be a JSON object"),
        (b"[" * 250_000, "JSON"),
        (b'{"id": "\xff"}', "JSON"),
        (b'{"inputs": [{"name": "x", "data": [NaN]}]}', "JSON"),
    ],
    ids=["001", "002", "003", "004", "005", "006"],
)
async def test_fault_001_to_006_bodies(
    client: httpx.AsyncClient, content: bytes, words: str
) -> None:
    refuses(await client.post(INFER, content=content), 400, words)
    assert (await client.post(INFER, json=body())).status_code == 200


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({}, "input 'x' is missing"),
        ({"inputs": []}, "input 'x' is missing"),
        (body(name="z"), "input 'x' is missing"),
        ({"inputs": [tensor(), tensor(name="z")]}, "input 'z' is not known; the model takes: x"),
        ({"inputs": [tensor(), tensor()]}, "inputs[1].name: 'x' is there twice"),
        (body() | {"outputs": [{"name": "y"}, {"name": "y"}]}, "outputs: the same output"),
        (body() | {"outputs": [{"name": "q"}]}, "output 'q' is not known; the model gives: y"),
        (body() | {"outputs": [{"name": "y"}] * 10_000}, "outputs: more than 256"),
        (body(datatype="FP33"), "inputs[0].datatype: unknown datatype 'FP33'"),
        (body(datatype="INT32"), "input 'x' has datatype INT32; expected FP32"),
        (body(shape=[3]), "input 'x' has shape [3]; expected [-1, 3]"),
        (body(shape=[3, 1]), "input 'x' has shape [3, 1]; expected [-1, 3]"),
        (body(shape=[1, -3]), "inputs[0].shape: -3 is not a size"),
        (body(shape=[1, 3.0]), "inputs[0].shape: 3.0 is not a size"),
        (body(shape=[True, 3]), "inputs[0].shape: True is not a size"),
        (body(shape=["1", 3]), "inputs[0].shape: '1' is not a size"),
        (body(shape=[2, 2, 2, 2, 2**60 + 2]), "inputs[0].shape: "),
        (body(shape=[10**9], data=[1]), "inputs[0].shape: "),
        (body(data=[1, 2, 3, 4]), "inputs[0].data: has 4 elements but shape [1, 3] has 3"),
        (body(shape=[0, 3], data=[]), "the batch has 0 rows; this model takes 1 to 32"),
        (body(datatype="UINT8", data=[1, 2, 300]), "inputs[0].data: 300 is out of range for UINT8"),
        (body(shape=[33, 3], data=[0] * 99), "the batch has 33 rows; this model takes 1 to 32"),
    ],
    ids=_ROWS.split(),
)
async def test_fault_007_to_023_requests_that_do_not_fit(
    client: httpx.AsyncClient, content: object, words: str
) -> None:
    refuses(await client.post(INFER, content=orjson.dumps(content)), 400, words)
    assert (await client.post(INFER, json=body())).status_code == 200


@pytest.mark.parametrize(
    "name", ["absent", "%2e%2e", "a%00b", "a%0Ab", "x" * 10_000, "%F0%9F%98%80", "Identity", "%20"]
)
async def test_fault_024_and_026_unknown_names(client: httpx.AsyncClient, name: str) -> None:
    for path in ("", "/ready", "/versions/1"):
        refuses(await client.get(f"/v2/models/{name}{path}"), 404, "there is no model")
    response = await client.post(f"/v2/models/{name}/infer", json=body())
    assert len(refuses(response, 404, "there is no model")) < 1100


async def test_fault_026_a_name_with_a_slash_is_no_route(client: httpx.AsyncClient) -> None:
    for path in ("/v2/models/a%2Fb", "/v2/models/..%2F..%2Fetc", "/v2/models/"):
        refuses(await client.get(path), 404)
        refuses(await client.post(f"{path}/infer", json=body()), 404)


@pytest.mark.parametrize(
    ("version", "status"), [("1", 404), ("3", 404), ("0", 400), ("-1", 400), ("01", 400)]
)
async def test_fault_025_versions_that_are_not_served(
    client: httpx.AsyncClient, version: str, status: int
) -> None:
    prefix = f"/v2/models/identity/versions/{version}"
    refuses(await client.get(prefix), status, "version")
    refuses(await client.get(f"{prefix}/ready"), status, "version")
    refuses(await client.post(f"{prefix}/infer", json=body()), status, "version")


@pytest.mark.parametrize("state", ["loading", "failed"])
async def test_fault_027_and_028_models_that_are_not_ready(state: str) -> None:
    client = client_for(fake=FakeHandle(state=state))
    refuses(await client.post("/v2/models/fake/infer", json=body()), 503, state)
    refuses(await client.get("/v2/models/fake"), 503, state)
    for path in ("/v2/models/fake/ready", "/v2/models/fake/versions/1/ready"):
        response = await client.get(path)
        assert (response.status_code, response.json()) == (503, {"name": "fake", "ready": False})


@pytest.mark.parametrize("name", ["never-runs", "damaged"])
async def test_fault_028_real_models_that_failed_to_load(
    repository: ModelRepository, name: str
) -> None:
    async with serving(repository, "identity", name) as client:
        refuses(await client.post(f"/v2/models/{name}/infer", json=body()), 503, "failed")
        assert (await client.post(INFER, json=body())).status_code == 200


async def test_fault_029_a_model_that_fails_is_the_one_500(
    repository: ModelRepository, caplog: pytest.LogCaptureFixture
) -> None:
    def lookup(value: int) -> dict[str, object]:
        return body(datatype="INT64", shape=[1, 1], data=[value])

    path = "/v2/models/lookup/infer"
    async with serving(repository, "lookup") as client:
        text = refuses(await client.post(path, json=lookup(9)), 500)
        assert text == "model 'lookup' failed to run this request"
        assert (await client.post(path, json=lookup(3))).json()["outputs"][0]["data"] == [30]
    assert any(record.exc_info for record in caplog.records)


@pytest.mark.parametrize("error", [ValueError("/srv/secret.py broke"), KeyError("inside")])
async def test_fault_029_errors_of_no_meaning_are_not_told(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    client = client_for(fake=FakeHandle(error))
    response = await client.post("/v2/models/fake/infer", json=body())
    assert refuses(response, 500) == "internal error"
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InferenceFailed("model 'fake' failed"), 500),
        (QueueFull("512 requests are waiting already; try again later"), 503),
        (ModelNotReady("model 'fake' is away"), 503),
        (DeadlineExceeded("model 'fake' did not answer within 3 s"), 504),
    ],
    ids=["031", "035", "030", "032"],
)
async def test_fault_030_to_035_errors_of_serving(error: Exception, status: int) -> None:
    response = await client_for(fake=FakeHandle(error)).post("/v2/models/fake/infer", json=body())
    assert refuses(response, status) == str(error)
    assert ("retry-after" in response.headers) == (status == 503)


async def test_fault_031_not_a_number_is_answered_as_null() -> None:
    def nothing(inputs: Arrays) -> Arrays:
        return {"y": inputs["x"] * np.float32(np.nan)}

    response = await client_for(fake=FakeHandle(nothing)).post("/v2/models/fake/infer", json=body())
    assert response.json()["outputs"][0]["data"] == [None, None, None]


async def test_fault_032_every_request_has_a_deadline() -> None:
    handle = FakeHandle()
    await client_for(timeout_s=2.5, fake=handle).post("/v2/models/fake/infer", json=body())
    [request] = handle.requests
    assert request.deadline is not None
    loop = asyncio.get_running_loop()
    assert 0 < request.deadline - loop.time() <= 2.5
