"""The model repository, log and trace settings and shared memory, over HTTP."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.api.codec.shared_memory import SharedMemory, SharedMemoryConfig
from app.api.dataplane import DataPlane
from app.api.http.gateway import build_gateway_app
from app.config.limits import Limits
from tests.fakes.control import FakeControl
from tests.fakes.http import client_of, refuses
from tests.fakes.log import Log, captured_log
from tests.fakes.models import FakeHandle
from tests.fakes.pipelines import PipelineBench
from tests.unit.app.api.alias_app import gateway, statuses


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
        refuses(await client.post(f"/v2/repository/{path}"), 501, "the gateway does")
    assert "model_repository" not in (await client.get("/v2")).json()["extensions"]


async def test_the_repository_is_told_as_an_extension(client: httpx.AsyncClient) -> None:
    assert "model_repository" in (await client.get("/v2")).json()["extensions"]


@pytest.fixture
def log() -> Iterator[Log]:
    with captured_log() as written:
        yield written


async def test_log_settings_take_effect(client: httpx.AsyncClient, log: Log) -> None:
    assert log.kinds() == ["info", "warning", "error"]
    answer = (await client.post("/v2/logging", json={"log_verbose_level": 1})).json()
    assert answer["log_verbose_level"] == 1
    assert log.kinds() == ["debug", "info", "warning", "error"]
    change = {"log_verbose_level": 0, "log_info": False}
    await client.post("/v2/logging", json=change)
    assert log.kinds() == ["warning", "error"]
    assert change.items() <= (await client.get("/v2/logging")).json().items()


@pytest.mark.parametrize("off", ["info", "warning", "error"])
async def test_each_kind_of_log_line_is_switched_on_its_own(
    client: httpx.AsyncClient, log: Log, off: str
) -> None:
    await client.post("/v2/logging", json={f"log_{off}": False})
    assert log.kinds() == [kind for kind in ("info", "warning", "error") if kind != off]
    await client.post("/v2/logging", json={"log_verbose_level": 2})
    assert log.kinds() == [kind for kind in ("debug", "info", "warning", "error") if kind != off]
    await client.post("/v2/logging", json={"log_verbose_level": 0, f"log_{off}": True})
    assert log.kinds() == ["info", "warning", "error"]


async def test_the_form_of_times_in_the_log(client: httpx.AsyncClient, log: Log) -> None:
    iso8601 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00 ERROR")
    for form, expected in (("ISO8601", True), ("default", False)):
        answer = (await client.post("/v2/logging", json={"log_format": form})).json()
        assert answer["log_format"] == form
        assert bool(iso8601.match(log.lines()[-1])) is expected


@pytest.mark.usefixtures("log")
@pytest.mark.parametrize(
    "change",
    [
        {"log_file": "x"},
        {"log_info": 1},
        {"log_verbose_level": True},
        {"log_format": "iso8601"},
        {"nonsense": True},
    ],
)
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


MEMORY = "/v2/systemsharedmemory"


async def test_shared_memory_is_off_unless_it_is_configured(client: httpx.AsyncClient) -> None:
    assert "system_shared_memory" not in (await client.get("/v2")).json()["extensions"]
    for path in (f"{MEMORY}/status", f"{MEMORY}/region/r/status"):
        refuses(await client.get(path), 501, "shared_memory, in the args")
    for path in (f"{MEMORY}/unregister", f"{MEMORY}/region/r/register"):
        refuses(await client.post(path, json={}), 501, "shared_memory, in the args")
    refuses(await client.get("/v2/cudasharedmemory/status"), 501, "CUDA")
    refuses(await client.post("/v2/cudasharedmemory/unregister"), 501, "CUDA")
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


async def test_beside_system_shared_memory_there_is_none_of_cuda(tmp_path: Path) -> None:
    memory = SharedMemory(SharedMemoryConfig(), tmp_path / "registry", tmp_path)
    host = PipelineBench().host("pipelines: []\n")
    dataplane = DataPlane({"fake": FakeHandle()}, memory=memory)
    client = client_of(build_gateway_app(dataplane, host, statuses, 5.0))
    cuda = "/v2/cudasharedmemory"
    assert (await client.get(f"{cuda}/status")).json() == []
    for path in (f"{cuda}/unregister", f"{cuda}/region/r/unregister"):
        assert (await client.post(path)).json() == {}
    refuses(await client.get(f"{cuda}/region/r/status"), 404, "'r'")
    refuses(await client.post(f"{cuda}/region/r/register", json={}), 501, "CUDA")
