"""What is answered before Serve's own code, and what is not."""

import asyncio

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.config import HTTP_PROTOCOLS

from app.config.limits import DEFAULT
from deployments import fast_route as front
from deployments.fast_route import FastRoute, answer_in_front, answers_in_front, middlewares


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front, "_applications", {})
    monkeypatch.setitem(HTTP_PROTOCOLS, "auto", HTTP_PROTOCOLS["auto"])


def answering(name: bytes) -> ASGIApp:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"by", name)]})
        await send({"type": "http.response.body", "body": b""})

    return application


async def receive() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def answer_to(method: str, path: str) -> dict[bytes, bytes]:
    """The headers of the answer."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "headers": []}
    await FastRoute(answering(b"serve"))(scope, receive, send)
    return dict(sent[0]["headers"])


@pytest.mark.parametrize(
    ("method", "path", "by"),
    [
        ("POST", "/v2/models/digits/infer", b"manta"),
        ("POST", "/v2/models/digits/versions/1/infer", b"manta"),
        ("GET", "/v2/models/digits/infer", b"serve"),
        ("POST", "/v2/models/digits/load", b"serve"),
        ("GET", "/-/healthz", b"serve"),
    ],
)
def test_only_inference_is_answered_in_front(method: str, path: str, by: bytes) -> None:
    async def main() -> dict[bytes, bytes]:
        answer_in_front(answering(b"manta"), DEFAULT)
        return await answer_to(method, path)

    headers = asyncio.run(main())
    assert headers[b"by"] == by
    assert (b"x-request-id" in headers) == (by == b"manta")


def test_an_application_of_another_loop_is_left_alone() -> None:
    async def register() -> None:
        answer_in_front(answering(b"manta"), DEFAULT)

    asyncio.run(register())
    headers = asyncio.run(answer_to("POST", "/v2/models/digits/infer"))
    assert headers[b"by"] == b"serve"


def test_serve_is_given_the_middleware_and_one_write_an_answer() -> None:
    assert repr(middlewares()) == "[Middleware(FastRoute)]"
    module, _, name = HTTP_PROTOCOLS["auto"].partition(":")
    assert (module, name) == ("deployments.fast_route", "ReplicaConnection")


@pytest.mark.parametrize(
    ("named", "may"),
    [
        ("deployments.fast_route:middlewares", True),
        ("somebody.else:middlewares", False),
        (None, False),
    ],
)
def test_an_application_says_whether_serve_must_see_its_requests(
    named: str | None, may: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"
    monkeypatch.setenv("RAY_SERVE_ENABLE_HA_PROXY", "1")
    if named is None:
        monkeypatch.delenv(name, raising=False)
    else:
        monkeypatch.setenv(name, named)
    assert answers_in_front() is may


def test_without_haproxy_serve_sees_no_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_SERVE_ENABLE_HA_PROXY", raising=False)
    assert answers_in_front()
