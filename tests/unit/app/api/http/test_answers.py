"""Answers in JSON end their line, whatever answers; JSON that raw bytes follow does not."""

from collections.abc import AsyncIterator

import httpx
import orjson
import pytest

from tests.unit.app.api.gateway_app import opened

INFER = "/v2/models/fake/infer"
TENSOR = {"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}
GOOD: dict[str, object] = {"inputs": [TENSOR]}


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with opened() as made:
        yield made


@pytest.mark.parametrize(
    "path",
    ["/v2", "/v2/models/fake", "/v2/health/ready", "/v1/status", "/v1/pipelines", "/openapi.json"],
)
async def test_what_is_read(client: httpx.AsyncClient, path: str) -> None:
    ends_its_line(await client.get(path), 200)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (INFER, GOOD),
        ("/v2/models/fake/versions/1/infer", GOOD),
        ("/v1/models/fake:predict", {"instances": [[1, 2, 3]]}),
        ("/v1/pipelines/echo", {"a": 1}),
        ("/api/v1/infer", {"model": "fake", **GOOD}),
        ("/api/v1/batch", {"requests": [{"model": "fake", **GOOD}, {"model": "fake", **GOOD}, {}]}),
    ],
)
async def test_what_is_run(client: httpx.AsyncClient, path: str, body: dict[str, object]) -> None:
    ends_its_line(await client.post(path, json=body), 200)


@pytest.mark.parametrize(
    ("path", "status"),
    [(INFER, 400), ("/v2/models/none/infer", 404), ("/v2/nothing", 404), ("/v1/nothing", 404)],
)
async def test_what_is_refused(client: httpx.AsyncClient, path: str, status: int) -> None:
    ends_its_line(await client.post(path, json={}), status)


async def test_lengths_before_raw_bytes_count_no_newline(client: httpx.AsyncClient) -> None:
    body = {**GOOD, "parameters": {"binary_data_output": True}}
    answer = await client.post(INFER, json=body)
    length = int(answer.headers["inference-header-content-length"])
    assert answer.content[:length].endswith(b"}")
    assert len(answer.content) == length + 12
    assert orjson.loads(answer.content[:length])["outputs"]


def ends_its_line(answer: httpx.Response, status: int) -> None:
    assert answer.status_code == status, answer.text
    assert answer.content.endswith(b"}\n")
    assert answer.content.count(b"\n") == 1
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert answer.json()
