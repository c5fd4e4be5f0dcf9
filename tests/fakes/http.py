"""Requests to an ASGI application in this process, without a socket."""

from collections.abc import AsyncIterator

import httpx
from starlette.types import ASGIApp


def client_of(app: ASGIApp) -> httpx.AsyncClient:
    """Errors that escape the application become its 500, as a server would make of them."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://localhost")


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    """A body whose length is not known beforehand."""
    for part in parts:
        yield part


def refuses(response: httpx.Response, status: int, *words: str) -> str:
    """The text of an error; checks its form, and that it tells nothing of the inside."""
    assert response.status_code == status, response.text
    if response.url.path.startswith("/v2"):
        assert response.headers["content-type"] == "application/json"
        assert set(response.json()) == {"error"}
    else:
        assert response.headers["content-type"] == "application/problem+json"
        assert response.json()["status"] == status
    text: str = response.json()["error"]
    for inside in ("Traceback", ".py", "File ", "site-packages", "/home", "/tmp", "object at"):
        assert inside not in response.text
    for word in words:
        assert word in text
    if status == 503:
        assert response.headers["retry-after"] == "1"
    return text
