"""The routes of other servers, as aliases: tensors, models and health."""

import httpx
import pytest

from app.config.limits import Limits
from tests.fakes.control import FakeControl
from tests.fakes.http import client_of, refuses
from tests.fakes.models import FakeHandle
from tests.unit.app.api.alias_app import gateway


@pytest.fixture
def control() -> FakeControl:
    return FakeControl()


@pytest.fixture
async def client(control: FakeControl) -> httpx.AsyncClient:
    return client_of(await gateway(Limits(parts=2, batch_requests=4), control))


@pytest.mark.parametrize("end", [":predict", "/predict"])
@pytest.mark.parametrize(
    ("body", "answer"),
    [
        ({"instances": [[1, 2, 3]]}, {"predictions": [[2, 4, 6]]}),
        ({"instances": [{"x": [1, 2, 3]}]}, {"predictions": [[2, 4, 6]]}),
        ({"inputs": [[1, 2, 3]]}, {"outputs": [[2, 4, 6]]}),
        ({"inputs": {"x": [[1, 2, 3]]}}, {"outputs": [[2, 4, 6]]}),
    ],
)
async def test_predict(
    client: httpx.AsyncClient, end: str, body: dict[str, object], answer: dict[str, object]
) -> None:
    assert (await client.post(f"/v1/models/fake{end}", json=body)).json() == answer


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"instances": 1},
        {"instances": [[1, 2], [3]]},
        {"instances": [[[1, 2, 3]]]},
        {"instances": [{"x": [1, 2, 3]}, {"y": 1}]},
        {"inputs": {"q": [1]}},
        {"inputs": []},
        {"inputs": "x"},
    ],
)
async def test_predict_refuses_what_does_not_fit(client: httpx.AsyncClient, body: object) -> None:
    refuses(await client.post("/v1/models/fake:predict", json=body), 400)
    refuses(await client.post("/v1/models/absent:predict", json=body), 404)


TENSOR = {"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}


@pytest.mark.parametrize("inputs", [[TENSOR], [[1, 2, 3]], {"x": [[1, 2, 3]]}])
async def test_infer_with_the_model_in_the_body(client: httpx.AsyncClient, inputs: object) -> None:
    body = {"model": "fake", "version": 1, "id": "7", "inputs": inputs}
    answer = (await client.post("/api/v1/infer", json=body)).json()
    assert (answer["id"], answer["outputs"][0]["data"]) == ("7", [2, 4, 6])


async def test_batch_answers_each_on_its_own(client: httpx.AsyncClient) -> None:
    good: dict[str, object] = {"model": "fake", "inputs": [TENSOR]}
    requests = [good, {"model": "absent", "inputs": []}, 7, good]
    results = (await client.post("/api/v1/batch", json={"requests": requests})).json()["results"]
    assert [each.get("status", 200) for each in results] == [200, 404, 400, 200]
    assert results[3]["outputs"][0]["data"] == [2, 4, 6]
    refuses(await client.post("/api/v1/batch", json={"requests": [good] * 5}), 400, "more than 4")
    refuses(await client.post("/api/v1/batch", json={"requests": {}}), 400, "requests")


async def test_models_load_stats_and_health(
    client: httpx.AsyncClient, control: FakeControl
) -> None:
    listed = (await client.get("/api/v1/models")).json()
    assert listed == {"models": [{"name": "fake", "ready": True}]}
    body = {"model": "b", "config": {"max_batch_size": 2}}
    assert (await client.post("/api/v1/models/load", json=body)).status_code == 200
    assert control.configs["b"] == {"max_batch_size": 2}
    for path in ("/api/v1/stats", "/v2/models/stats"):
        assert (await client.get(path)).json()["model_stats"][0]["name"] == "fake"
    for path in ("/health", "/health/live", "/health/ready", "/healthz", "/api/v1/health"):
        assert (await client.get(path)).status_code == 200


async def test_models_as_the_first_protocol_of_kserve_tells_them() -> None:
    client = client_of(await gateway(Limits(), None, slow=FakeHandle(state="loading")))
    assert (await client.get("/v1/models")).json() == {"models": ["fake", "slow"]}
    for name, is_ready in (("fake", True), ("slow", False)):
        response = await client.get(f"/v1/models/{name}")
        assert (response.status_code, response.json()) == (200, {"name": name, "ready": is_ready})
    refuses(await client.get("/v1/models/absent"), 404, "absent")
    for response in (await client.get("/v1/models/fake:predict"), await client.post("/v1/models")):
        refuses(response, 405)
        assert response.headers["allow"]


class Unreachable(FakeHandle):
    """Its process cannot even be asked."""

    async def ready(self) -> bool:
        raise RuntimeError("the connection is broken")


async def test_a_model_that_cannot_be_asked_does_not_hide_the_others() -> None:
    client = client_of(await gateway(Limits(), None, gone=Unreachable()))
    listed = (await client.get("/api/v1/models")).json()["models"]
    assert listed == [{"name": "fake", "ready": True}, {"name": "gone", "ready": False}]
    assert (await client.get("/health/ready")).status_code == 503


async def test_health_tells_live_from_ready() -> None:
    client = client_of(await gateway(Limits(), None, state="loading"))
    answers = {p: (await client.get(p)).status_code for p in ("/health/ready", "/health/live")}
    assert answers == {"/health/ready": 503, "/health/live": 200}


async def test_fault_004_documents_nested_too_deep(client: httpx.AsyncClient) -> None:
    for depth, status in ((99, 200), (101, 400)):
        body = b"[" * depth + b"]" * depth
        headers = {"content-type": "application/json"}
        response = await client.post("/v1/pipelines/echo", content=body, headers=headers)
        assert response.status_code == status
