"""Pictures in a request: to a model that has a pipeline for them, and to a pipeline."""

import base64

import httpx
import pytest

from app.api.dataplane import DataPlane
from app.api.http.gateway import build_gateway_app
from app.config.limits import Limits
from tests.fakes.control import FakeControl
from tests.fakes.http import client_of, refuses
from tests.fakes.models import FakeHandle
from tests.fakes.pipelines import PipelineBench
from tests.unit.app.api.alias_app import gateway, statuses
from tests.unit.app.imaging.test_header import FILES

TENSOR = {"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}


@pytest.fixture
async def client() -> httpx.AsyncClient:
    return client_of(await gateway(Limits(parts=2, batch_requests=4), FakeControl()))


PICTURE = FILES["jpeg"]
B64 = {"b64": base64.b64encode(PICTURE).decode()}
LOOKED = {"predictions": ["looked"]}


@pytest.mark.parametrize("end", [":predict", "/predict"])
@pytest.mark.parametrize("picture", ["jpeg", "png"])
async def test_predict_takes_pictures_where_a_pipeline_does(
    client: httpx.AsyncClient, end: str, picture: str
) -> None:
    path, data = f"/v1/models/fake{end}", FILES[picture]
    headers = {"content-type": f"image/{picture}"}
    assert (await client.post(path, content=data, headers=headers)).json() == LOOKED
    files = [("a", ("a", data)), ("b", ("b", data))]
    assert (await client.post(path, files=files)).json() == {"predictions": ["looked"] * 2}
    encoded = {"b64": base64.b64encode(data).decode()}
    for instance in (encoded, {"image": encoded}):
        assert (await client.post(path, json={"instances": [instance]})).json() == LOOKED
        outputs = (await client.post(path, json={"inputs": instance})).json()
        assert outputs == {"outputs": ["looked"]}


async def test_a_pipeline_may_be_named_as_a_model_is(client: httpx.AsyncClient) -> None:
    headers = {"content-type": "image/jpeg"}
    response = await client.post("/v1/models/size:predict", content=PICTURE, headers=headers)
    assert response.json() == {"predictions": ["seen"]}


async def test_infer_takes_pictures(client: httpx.AsyncClient) -> None:
    path, headers = "/api/v1/infer?model=fake", {"content-type": "image/jpeg"}
    for response in (
        await client.post(path, content=PICTURE, headers=headers),
        await client.post(path, files={"f": ("f.jpg", PICTURE)}),
        await client.post("/api/v1/infer", json={"model": "fake", "image": B64}),
    ):
        answer = response.json()
        assert (answer["pipeline"], answer["result"]) == ("look", "looked")
    two = {"f": ("f.jpg", PICTURE), "g": ("g.jpg", PICTURE)}
    refuses(await client.post(path, files=two), 400, "/api/v1/batch")
    refuses(await client.post("/api/v1/infer", content=PICTURE, headers=headers), 400, "?model=")


async def test_batch_takes_pictures_and_answers_each(client: httpx.AsyncClient) -> None:
    files = [("a", ("a.jpg", PICTURE)), ("b", ("b.jpg", b"no picture"))]
    results = (await client.post("/api/v1/batch?model=fake", files=files)).json()["results"]
    assert [each.get("status", each.get("result")) for each in results] == ["looked", 400]
    requests = [
        {"model": "fake", "image": B64},
        {"model": "fake", "image": {"b64": "!"}},
        {"model": "absent", "image": B64},
        {"model": "fake", "inputs": [TENSOR]},
    ]
    results = (await client.post("/api/v1/batch", json={"requests": requests})).json()["results"]
    assert [each.get("status", 200) for each in results] == [200, 400, 404, 200]


@pytest.mark.parametrize(
    ("instances", "words"),
    [
        ([{"b64": "!"}], "instances[0].b64: is not valid base64"),
        ([B64, {"x": [1, 2, 3]}], "not every element is a picture"),
        ([B64] * 5, "more than 4"),
        ([{"b64": base64.b64encode(b"junk").decode()}], "picture"),
    ],
)
async def test_pictures_that_are_refused(
    client: httpx.AsyncClient, instances: list[object], words: str
) -> None:
    body = {"instances": instances}
    refuses(await client.post("/v1/models/fake:predict", json=body), 400, words)


async def test_a_model_without_a_pipeline_of_pictures_says_so() -> None:
    host = PipelineBench().host("pipelines: []\n")
    app = build_gateway_app(DataPlane({"fake": FakeHandle()}), host, statuses, 5.0)
    client, headers = client_of(app), {"content-type": "image/jpeg"}
    for path in ("/v1/models/fake:predict", "/api/v1/infer?model=fake"):
        response = await client.post(path, content=PICTURE, headers=headers)
        refuses(response, 400, "no pipeline here that takes pictures")
    for path in ("/v1/models/absent:predict", "/api/v1/infer?model=absent"):
        refuses(await client.post(path, content=PICTURE, headers=headers), 404, "absent")


async def test_pictures_come_in_three_forms(client: httpx.AsyncClient) -> None:
    picture = FILES["jpeg"]
    path = "/v1/pipelines/size"
    encoded = {"image": {"b64": base64.b64encode(picture).decode()}}
    for response in (
        await client.post(path, content=picture, headers={"content-type": "image/jpeg"}),
        await client.post(path, files={"file": ("a.jpg", picture, "image/jpeg")}),
        await client.post(path, json=encoded),
    ):
        assert response.json()["result"] == "seen"
    refuses(await client.post(path, json={"image": {"b64": "!"}}), 400, "base64")


async def test_fault_054_multipart_bodies_that_are_refused(client: httpx.AsyncClient) -> None:
    path = "/v1/pipelines/size"
    many = {f"f{n}": (f"{n}.jpg", b"x") for n in range(3)}
    refuses(await client.post(path, files=many), 400, "Too many files")
    refuses(await client.post(path, data={"a": "x"}, files={"b": (None, "y")}), 400, "filename")
    large = {"b": (None, b"y" * 10_000_000)}
    refuses(await client.post(path, files=large), 400, "multipart")
    for kind in ("multipart/form-data", "multipart/form-data; boundary=b"):
        response = await client.post(path, content=b"junk" * 9999, headers={"content-type": kind})
        refuses(response, 400)
