import asyncio
import json
from collections.abc import AsyncIterator, Mapping

import httpx
import pytest
from pydantic import ValidationError

from app.errors import ConnectorRejected, NotConnected
from app.types import Action
from connectors.webhook import WebhookConfig, WebhookSink
from tests.virtual_time import run_virtual

URL = "http://hooks.test/alarm"
ACTION = Action("sensors/ä#1:p:guard", "guard", "hook", {"zone": "door"}, "t")


class Drip(httpx.AsyncByteStream):
    """An answer that never ends."""

    def __init__(self, pause: float) -> None:
        self.pause = pause
        self.sent = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            await asyncio.sleep(self.pause)
            self.sent += 1024
            yield b"x" * 1024


def answer(status: int, headers: Mapping[str, str] | None = None) -> httpx.Response:
    encoded = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    return httpx.Response(status, headers=encoded, stream=httpx.ByteStream(b"ok"))


async def post(response: httpx.Response | Exception, timeout_s: float = 5.0) -> httpx.Request:
    requests: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        if isinstance(response, Exception):
            raise response
        return response

    config = WebhookConfig.model_validate(
        {"url": URL, "headers": {"Authorization": "Bearer hush"}, "timeout_s": timeout_s}
    )
    sink = WebhookSink(config, httpx.MockTransport(handle))
    await sink.connect()
    try:
        await sink.write(ACTION)
    finally:
        await sink.close()
    return requests[0]


async def test_posts_the_action_as_json() -> None:
    request = await post(answer(204))
    assert request.method == "POST"
    assert json.loads(request.content) == {
        "id": "sensors/ä#1:p:guard",
        "agent": "guard",
        "target": "t",
        "payload": {"zone": "door"},
    }
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["Authorization"] == "Bearer hush"
    assert request.headers["Idempotency-Key"] == "sensors/%C3%A4%231%3Ap%3Aguard"


@pytest.mark.parametrize("status", [500, 502, 503, 408, 429])
async def test_fault_106_a_passing_failure_may_be_tried_again(status: int) -> None:
    with pytest.raises(NotConnected, match=str(status)) as raised:
        await post(answer(status, {"Retry-After": "7"}))
    assert raised.value.retry_after == 7.0


@pytest.mark.parametrize("value", ["", "-1", "Wed, 21 Oct 2026 07:28:00 GMT", "1e9", "²"])
async def test_an_odd_retry_after_is_ignored(value: str) -> None:
    with pytest.raises(NotConnected) as raised:
        await post(answer(503, {"Retry-After": value}))
    assert raised.value.retry_after == 0.0


@pytest.mark.parametrize("status", [400, 401, 404, 422])
async def test_a_refusal_is_final(status: int) -> None:
    with pytest.raises(ConnectorRejected, match=str(status)):
        await post(answer(status))


async def test_fault_106_redirects_are_not_followed() -> None:
    with pytest.raises(ConnectorRejected, match="302"):
        await post(answer(302, {"Location": "http://169.254.169.254/"}))


async def test_fault_106_no_answer_may_be_tried_again() -> None:
    with pytest.raises(NotConnected, match="refused"):
        await post(httpx.ConnectError("refused"))


async def test_fault_106_an_endless_answer_is_left_unread() -> None:
    drip = Drip(0.0)
    await post(httpx.Response(200, stream=drip))
    assert drip.sent <= 128 * 1024


def test_fault_106_a_slow_answer_is_given_up() -> None:
    with pytest.raises(NotConnected, match="within 5 s"):
        run_virtual(post(httpx.Response(200, stream=Drip(1.0)), timeout_s=5.0))


async def test_write_before_connect_is_refused() -> None:
    with pytest.raises(NotConnected):
        await WebhookSink(WebhookConfig.model_validate({"url": URL})).write(ACTION)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://a/b", "hooks.test", ""])
def test_only_http_addresses(url: str) -> None:
    with pytest.raises(ValidationError):
        WebhookConfig.model_validate({"url": url})


def test_headers_are_never_shown() -> None:
    config = WebhookConfig.model_validate({"url": URL, "headers": {"Authorization": "hush"}})
    assert "hush" not in repr(config) + config.model_dump_json()
