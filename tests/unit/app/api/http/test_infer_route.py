"""Bodies and paths of inference requests, on the application of one model."""

from collections.abc import AsyncIterator, Iterator

import httpx
import orjson
import pytest

from app.api.dataplane import DataPlane
from app.api.http.infer_route import model_of_path
from app.api.http.rest import build_model_app
from app.config.limits import DEFAULT, Limits
from models.repository.repository import ModelRepository
from tests.fakes.http import chunks, client_of, refuses
from tests.fakes.models import FakeHandle
from tests.fakes.repository import tiny_repository
from tests.unit.app.api.model_app import INFER, body, serving


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> ModelRepository:
    return tiny_repository(tmp_path_factory.mktemp("models"))


@pytest.fixture
async def client(repository: ModelRepository) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the real model `identity` (batch, 3)."""
    async with serving(repository, "identity") as made:
        yield made


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", INFER, {"POST"}),
        ("PUT", INFER, {"POST"}),
        ("DELETE", "/v2/models/identity", {"GET", "HEAD"}),
        ("POST", "/v2/models/identity", {"GET", "HEAD"}),
        ("POST", "/v2/models/identity/ready", {"GET", "HEAD"}),
        ("PATCH", "/v2/models/identity/versions/1/infer", {"POST"}),
    ],
)
async def test_fault_038_wrong_methods(
    client: httpx.AsyncClient, method: str, path: str, allowed: set[str]
) -> None:
    response = await client.request(method, path)
    refuses(response, 405)
    assert set(response.headers["allow"].split(", ")) == allowed


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "text/plain", ""])
async def test_fault_039_a_body_is_json_whatever_its_type_says(
    client: httpx.AsyncClient, content_type: str
) -> None:
    headers = {"content-type": content_type}
    response = await client.post(INFER, content=orjson.dumps(body()), headers=headers)
    assert response.status_code == 200


@pytest.mark.parametrize("encoding", ["br", "deflate, gzip", "gzip, gzip", "nonsense"])
async def test_fault_040_compressed_bodies(client: httpx.AsyncClient, encoding: str) -> None:
    response = await client.post(INFER, content=b"x", headers={"content-encoding": encoding})
    refuses(response, 415, "compressed")
    headers = {"content-encoding": "identity"}
    assert (await client.post(INFER, json=body(), headers=headers)).status_code == 200


@pytest.mark.parametrize("length", [str(DEFAULT.body_bytes + 1), "9" * 30, "9" * 5000])
async def test_fault_042_bodies_over_the_limit_by_their_header(
    client: httpx.AsyncClient, length: str
) -> None:
    response = await client.post(INFER, content=b"{}", headers={"content-length": length})
    refuses(response, 413, f"over the limit of {DEFAULT.body_bytes} bytes")


@pytest.mark.parametrize("parts", [[b" " * 101], [b" " * 60, b" " * 41], [b"", b" " * 101, b"x"]])
async def test_fault_043_bodies_over_the_limit_in_chunks(
    parts: list[bytes],
) -> None:
    app = build_model_app(DataPlane({"identity": FakeHandle()}), 5.0, Limits(body_bytes=100))
    client = client_of(app)
    refuses(await client.post(INFER, content=chunks(*parts)), 413, "over the limit of 100 bytes")


async def test_fault_044_bodies_in_small_chunks_are_read_whole(client: httpx.AsyncClient) -> None:
    whole = orjson.dumps(body())
    parts = [whole[n : n + 1] for n in range(len(whole))]
    assert (await client.post(INFER, content=chunks(*parts))).status_code == 200


async def test_a_body_that_ends_early_reaches_no_model() -> None:
    handle = FakeHandle()
    app = build_model_app(DataPlane({"fake": handle}), 5.0)
    received: Iterator[dict[str, object]] = iter(
        [
            {"type": "http.request", "body": orjson.dumps(body()), "more_body": True},
            {"type": "http.disconnect"},
        ]
    )
    sent: list[int] = []

    async def receive() -> dict[str, object]:
        return next(received)

    async def send(message: object) -> None:
        assert isinstance(message, dict)
        sent.append(message.get("status", 0))

    scope = {"type": "http", "method": "POST", "path": "/v2/models/fake/infer", "headers": []}
    await app(scope, receive, send)
    assert sent == [400, 0]
    assert handle.requests == []


async def test_fault_055_other_spellings_of_a_path_are_no_routes(
    client: httpx.AsyncClient,
) -> None:
    for path in (
        "/v2/models/identity/",
        "/v2//models/identity",
        "/V2/models/identity",
        "/v2/models/identity/ready/",
        "/v2/models/identity/versions/",
        "/v2/models/identity.",
    ):
        refuses(await client.get(path), 404)
        refuses(await client.post(f"{path}/infer", json=body()), 404)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v2/models/m/infer", ("m", None)),
        ("/v2/models/m/versions/3/infer", ("m", "3")),
        ("/v2/models/infer", None),
        ("/v2/models/m/versions/infer", None),
        ("/v2/models/m/other/3/infer", None),
        ("/v2/models/m/infer/", None),
        ("/v1/models/m/infer", None),
    ],
)
def test_inference_paths(path: str, expected: object) -> None:
    assert model_of_path(path) == expected
