"""Repository, settings, aliases, pictures and the stream: what stands on the DataPlane."""

import base64
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import httpx
import pytest
from starlette.types import ASGIApp

from app.api.dataplane import DataPlane
from app.api.gateway import build_gateway_app
from app.api.shared_memory import SharedMemory, SharedMemoryConfig
from app.limits import Limits
from app.telemetry.logging import configure_logging
from app.types import JsonValue
from tests.fakes.control import FakeControl
from tests.fakes.http import client_of, refuses
from tests.fakes.models import FakeHandle
from tests.fakes.nodes import ManualClock
from tests.fakes.pipelines import PipelineBench
from tests.unit.imaging.test_header import FILES

PIPELINES = """
pipelines:
  - {id: echo, nodes: [{id: a, type: scripted}]}
  - {id: size, nodes: [{id: image, type: image.decode}, {id: a, type: scripted, params: SIZE}],
     edges: [{from: image, to: a}]}
  - {id: document, nodes: [{id: a, type: scripted, params: {model: fake}}]}
  - {id: look, nodes: [{id: image, type: image.decode}, {id: a, type: scripted, params: SEEN}],
     edges: [{from: image, to: a}]}
""".replace("SIZE", "{result: seen}").replace("SEEN", "{result: looked, model: fake}")


async def statuses() -> Sequence[Mapping[str, JsonValue]]:
    return []


async def gateway(
    limits: Limits, control: FakeControl | None, state: str = "ready", **others: FakeHandle
) -> ASGIApp:
    handle = FakeHandle(state=state)
    host = PipelineBench(models={"fake": handle}, clock=ManualClock()).host(PIPELINES)
    await host.open()
    dataplane = DataPlane({"fake": handle, **others}, control)
    return build_gateway_app(dataplane, host, statuses, 5.0, limits)


@pytest.fixture
def control() -> FakeControl:
    return FakeControl()


@pytest.fixture
async def client(control: FakeControl) -> httpx.AsyncClient:
    return client_of(await gateway(Limits(parts=2, batch_requests=4), control))


async def test_repository_index(client: httpx.AsyncClient) -> None:
    path = "/v2/repository/index"
    ready = {"name": "a", "version": "1", "state": "READY", "reason": ""}
    assert len((await client.post(path)).json()) == 2
    assert (await client.post(path, json={"ready": True})).json() == [ready]
    refuses(await client.post(path, json={"ready": 1}), 400, "ready")
    refuses(await client.get(path), 405)


async def test_load_and_unload(client: httpx.AsyncClient, control: FakeControl) -> None:
    load = "/v2/repository/models/b/load"
    text = '{"max_batch_size": 4}'
    response = await client.post(load, json={"parameters": {"config": text}})
    assert (response.status_code, response.json()) == (200, {})
    assert control.configs == {"b": {"max_batch_size": 4}}
    assert (await client.post("/v2/repository/models/b/unload")).status_code == 200
    assert control.states["b"] == "UNAVAILABLE"
    refuses(await client.post("/v2/repository/models/absent/load"), 404, "absent")
    refuses(await client.post(load, json={"parameters": {"config": "{"}}), 400, "JSON")
    refuses(await client.post(load, json={"parameters": {"config": 1}}), 400, "parameters.config")
    refuses(await client.post(load, json={"parameters": {"file:1/m.onnx": ""}}), 400, "not known")
    refuses(await client.post(load, json={"parameters": {"config": '{"bad":1}'}}), 400, "bad")


async def test_model_control_can_be_left_out() -> None:
    client = client_of(await gateway(Limits(), None))
    for path in ("index", "models/a/load", "models/a/unload"):
        refuses(await client.post(f"/v2/repository/{path}"), 501, "switched off")
    assert "model_repository" not in (await client.get("/v2")).json()["extensions"]


async def test_the_repository_is_told_as_an_extension(client: httpx.AsyncClient) -> None:
    assert "model_repository" in (await client.get("/v2")).json()["extensions"]


@pytest.fixture
def log_level() -> Iterator[None]:
    yield
    configure_logging()


@pytest.mark.usefixtures("log_level")
async def test_log_settings_take_effect(client: httpx.AsyncClient) -> None:
    answer = (await client.post("/v2/logging", json={"log_verbose_level": 1})).json()
    assert answer["log_verbose_level"] == 1
    assert logging.getLogger("app").level == logging.DEBUG
    change = {"log_verbose_level": 0, "log_info": False}
    await client.post("/v2/logging", json=change)
    assert logging.getLogger("app").level == logging.WARNING
    assert change.items() <= (await client.get("/v2/logging")).json().items()


@pytest.mark.usefixtures("log_level")
@pytest.mark.parametrize("change", [{"log_file": "x"}, {"log_info": 1}, {"nonsense": True}])
async def test_log_settings_that_are_refused_change_nothing(
    client: httpx.AsyncClient, change: dict[str, object]
) -> None:
    refuses(await client.post("/v2/logging", json={"log_error": False} | change), 400, *change)
    assert (await client.get("/v2/logging")).json()["log_error"] is True


TRACE = "/v2/trace/setting"


async def test_trace_settings_are_told_changed_and_cleared(client: httpx.AsyncClient) -> None:
    assert (await client.get(TRACE)).json() == {
        "trace_level": ["OFF"],
        "trace_rate": "1000",
        "trace_count": "-1",
        "log_frequency": "0",
        "trace_file": "",
        "trace_mode": "triton",
    }
    change = {"trace_level": ["TIMESTAMPS"], "trace_rate": "1"}
    assert change.items() <= (await client.post(TRACE, json=change)).json().items()
    answer = (await client.post(TRACE, json={"trace_level": None, "trace_rate": []})).json()
    assert (answer["trace_level"], answer["trace_rate"]) == (["OFF"], "1000")
    own = "/v2/models/fake/trace/setting"
    assert (await client.post(own, json=change)).status_code == 200
    refuses(await client.get("/v2/models/absent/trace/setting"), 404, "absent")


@pytest.mark.parametrize("path", [TRACE, "/v2/models/fake/trace/setting"])
@pytest.mark.parametrize(
    "change",
    [
        {"trace_file": "/etc/passwd"},
        {"trace_level": ["TENSORS"]},
        {"trace_level": ["OFF", "TIMESTAMPS"]},
        {"trace_level": {}},
        {"trace_rate": "0"},
        {"trace_rate": 1.5},
        {"trace_rate": True},
        {"trace_count": "-2"},
        {"trace_count": "9" * 5000},
        {"log_frequency": "x"},
        {"trace_mode": "opentelemetry"},
        {"nonsense": "1"},
    ],
)
async def test_security_s20_trace_settings_that_are_refused_change_nothing(
    client: httpx.AsyncClient, path: str, change: dict[str, object]
) -> None:
    body = {"trace_level": ["TIMESTAMPS"], **change}
    refuses(await client.post(path, json=body), 400, *change)
    assert (await client.get(TRACE)).json()["trace_level"] == ["OFF"]


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


async def test_fault_004_documents_nested_too_deep(client: httpx.AsyncClient) -> None:
    for depth, status in ((99, 200), (101, 400)):
        body = b"[" * depth + b"]" * depth
        headers = {"content-type": "application/json"}
        response = await client.post("/v1/pipelines/echo", content=body, headers=headers)
        assert response.status_code == status


MEMORY = "/v2/systemsharedmemory"


async def test_shared_memory_is_off_unless_it_is_configured(client: httpx.AsyncClient) -> None:
    assert "system_shared_memory" not in (await client.get("/v2")).json()["extensions"]
    for path in (f"{MEMORY}/status", f"{MEMORY}/region/r/status"):
        refuses(await client.get(path), 501, "shared_memory, in the args")
    for path in (f"{MEMORY}/unregister", f"{MEMORY}/region/r/register"):
        refuses(await client.post(path, json={}), 501, "shared_memory, in the args")
    refuses(await client.get("/v2/cudasharedmemory/status"), 501, "CUDA")
    refuses(await client.post("/v2/cudasharedmemory/region/r/register"), 501, "CUDA")


async def test_regions_are_registered_over_http(tmp_path: Path) -> None:
    (tmp_path / "manta_a").write_bytes(bytes(12))
    memory = SharedMemory(SharedMemoryConfig(), tmp_path / "registry", tmp_path)
    host = PipelineBench().host("pipelines: []\n")
    dataplane = DataPlane({"fake": FakeHandle()}, memory=memory)
    client = client_of(build_gateway_app(dataplane, host, statuses, 5.0))
    assert "system_shared_memory" in (await client.get("/v2")).json()["extensions"]
    register = f"{MEMORY}/region/r/register"
    for body, words in (
        ({"key": "manta_a"}, "byte_size"),
        ({"key": 1, "byte_size": 12}, "key"),
        ({"key": "manta_a", "byte_size": -1}, "byte_size"),
        ({"key": "manta_a", "byte_size": 12, "offset": 1.5}, "offset"),
        ({"key": "other", "byte_size": 12}, "key"),
    ):
        refuses(await client.post(register, json=body), 400, words)
    body = {"key": "/manta_a", "byte_size": 8, "offset": 4}
    assert (await client.post(register, json=body)).status_code == 200
    for path in (f"{MEMORY}/status", f"{MEMORY}/region/r/status"):
        assert (await client.get(path)).json() == [body | {"name": "r"}]
    assert (await client.post(f"{MEMORY}/region/r/unregister")).status_code == 200
    refuses(await client.get(f"{MEMORY}/region/r/status"), 404, "'r'")
    assert (await client.get(f"{MEMORY}/status")).json() == []
    refuses(await client.get("/v2/cudasharedmemory/status"), 501, "CUDA")
