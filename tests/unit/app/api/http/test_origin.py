"""Which pages may drive the server, and by which names it may be addressed."""

import asyncio
import socket
from collections.abc import Callable

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from app.api.dataplane import DataPlane
from app.api.http.origin import _REMEMBERED, OriginGuard
from app.api.http.rest import build_model_app
from tests.fakes.http import client_of, refuses
from tests.fakes.models import FakeHandle
from tests.fakes.websocket import FakeSocket
from tests.unit.app.api.gateway_app import client_for

SITE = "sec-fetch-site"
PANEL = "https://panel.example:8443"
LOAD = "/v2/repository/models/fake/load"
MACHINE = socket.gethostname()

ALLOWED: list[dict[str, str]] = [
    {},
    {"host": "localhost:8000"},
    {SITE: "same-origin"},
    {SITE: "none"},
    {"host": "localhost:8000", "origin": "http://localhost:8000"},
    {"host": "LOCALHOST", "origin": "http://localhost", SITE: "same-origin"},
    {"host": "localhost", "origin": "https://localhost"},
    {"origin": PANEL},
    {"origin": PANEL.upper(), SITE: "cross-site"},
    {"origin": PANEL, SITE: "same-site"},
]
FOREIGN: list[dict[str, str]] = [
    {SITE: "cross-site"},
    {SITE: "same-site"},
    {SITE: "something-new"},
    {SITE: "cross-site", "host": "localhost", "origin": "http://localhost"},
    {"origin": "null"},
    {"origin": ""},
    {"origin": "http://localhost:8000"},
    {"origin": "http://localhost", "host": "localhost:8000"},
    {"origin": "ftp://localhost", "host": "localhost"},
    {"origin": "https://evil.example", "host": "localhost", SITE: "same-origin"},
    {"origin": "http://panel.example:8443", "host": "localhost"},
    {"origin": "http://", "host": ""},
]
KNOWN = [
    "localhost",
    "localhost:8000",
    "localhost.",
    "manta.localhost",
    "127.0.0.1",
    "127.0.0.1:8000",
    "192.168.10.40:80",
    "[::1]",
    "[::1]:8000",
    "[fe80::1%25eth0]",
    "",
    MACHINE,
    MACHINE.upper(),
    f"{MACHINE}:8000",
    f"{MACHINE}.local:8000",
    "panel.example",
    "models.plant.example:9000",
    "Models.Plant.Example",
]
UNKNOWN = [
    "evil.example",
    "evil.example:8000",
    "localhost.evil.example",
    "evillocalhost",
    "127.0.0.1.evil.example",
    "127.0.0.1.evil.example:8000",
    "[::1].evil.example",
    "[127.0.0.1]",
    "::1",
    "[::1",
    "evil.example:localhost",
    "localhost@evil.example",
    "models.plant.example.evil.example",
    "example",
    ":8000",
    "\xff",
]


async def inner(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
    elif scope["type"] == "http":
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})


def guarded() -> OriginGuard:
    return OriginGuard(inner, [PANEL], ["models.plant.example"])


async def status(
    app: OriginGuard, method: str, headers: dict[str, str], *more: tuple[str, str]
) -> int:
    """Exactly these headers: HTTP clients add a Host."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        sent.append(message)

    raw = [(name.encode(), value.encode("latin-1")) for name, value in (*headers.items(), *more)]
    scope: Scope = {"type": "http", "method": method, "path": "/v2", "headers": raw}
    await app(scope, receive, send)
    answered: int = sent[0]["status"]
    return answered


@pytest.mark.parametrize("headers", ALLOWED)
@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_own_pages_configured_ones_and_programs_may(
    headers: dict[str, str], method: str
) -> None:
    assert await status(guarded(), method, headers) == 204
    async with FakeSocket(guarded(), "/api/v1/stream", **headers) as opened:
        assert opened.accepted


@pytest.mark.parametrize("headers", FOREIGN)
async def test_foreign_pages_may_only_read(headers: dict[str, str]) -> None:
    for method in ("POST", "PUT", "PATCH", "DELETE", "TRACE", "post"):
        assert await status(guarded(), method, headers) == 403
    for method in ("GET", "HEAD", "OPTIONS"):
        assert await status(guarded(), method, headers) == 204
    async with FakeSocket(guarded(), "/api/v1/stream", **headers) as opened:
        assert not opened.accepted


@pytest.mark.parametrize("host", KNOWN)
async def test_the_names_of_the_server(host: str) -> None:
    app = guarded()
    for method in ("GET", "POST", "POST"):
        assert await status(app, method, {"host": host}) == 204
    async with FakeSocket(app, "/", host=host) as opened:
        assert opened.accepted


@pytest.mark.parametrize("host", UNKNOWN)
async def test_a_rebound_name_may_not_even_read(host: str) -> None:
    app = guarded()
    for method in ("GET", "POST", "OPTIONS"):
        assert await status(app, method, {"host": host}) == 403
        assert await status(app, method, {"host": host, "origin": f"http://{host}"}) == 403
    async with FakeSocket(app, "/", host=host) as opened:
        assert not opened.accepted


async def test_every_host_header_counts() -> None:
    good, evil = ("host", "localhost"), ("host", "evil.example")
    assert await status(guarded(), "GET", {}, good, good) == 204
    assert await status(guarded(), "GET", {}, evil, good) == 403
    assert await status(guarded(), "GET", {}, good, evil) == 403


async def test_what_is_remembered_has_a_bound() -> None:
    app = guarded()
    for number in range(3 * _REMEMBERED):
        assert await status(app, "GET", {"host": f"n{number}.localhost"}) == 204
        assert len(app._accepted) <= _REMEMBERED


async def test_what_is_neither_request_nor_socket_passes() -> None:
    async def never() -> Message:
        await asyncio.Event().wait()
        return {}

    async def refuse(message: Message) -> None:
        raise AssertionError(message)

    await guarded()({"type": "lifespan"}, never, refuse)


def of_a_gateway() -> httpx.AsyncClient:
    return client_for()


def of_a_model() -> httpx.AsyncClient:
    return client_of(build_model_app(DataPlane({"fake": FakeHandle()}), 5.0))


@pytest.mark.parametrize(
    ("made", "field"), [(of_a_gateway, "gateway.hosts"), (of_a_model, "args.hosts")]
)
async def test_every_application_is_guarded(
    made: Callable[[], httpx.AsyncClient], field: str
) -> None:
    async with made() as client:
        evil = {"origin": "https://evil.example"}
        for path in ("/v2/models/fake/infer", LOAD, "/nothing"):
            refuses(await client.post(path, headers=evil), 403, "https://evil.example", "origins")
        assert (await client.get("/v2/models/fake", headers=evil)).status_code == 200
        told = refuses(await client.get("/v2/models/fake", headers={"host": "a.b:1"}), 403, "a.b")
        assert field in told
