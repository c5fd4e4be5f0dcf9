"""`/docs` and its files come from here and name nobody else."""

import re
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

import httpx
import pytest

from app.api.http.docs_page import FILES, SERVED
from tests.unit.app.api.gateway_app import client_for


class _Links(HTMLParser):
    """Every address that the page names, and what stands between its script tags."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.inline = ""
        self._script = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        self.inline += "".join(name for name, _ in attrs if name.startswith("on"))
        self._script = tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._script = False

    def handle_data(self, data: str) -> None:
        self.inline += data if self._script else ""


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with client_for() as made:
        yield made


def policy_of(answer: httpx.Response) -> set[str]:
    return {part.strip() for part in answer.headers["content-security-policy"].split(";")}


async def test_the_page_names_nothing_elsewhere(client: httpx.AsyncClient) -> None:
    answer = await client.get("/docs")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert {"default-src 'self'", "frame-ancestors 'none'"} <= policy_of(answer)
    assert "unsafe" not in answer.headers["content-security-policy"]
    page = _Links()
    page.feed(answer.text)
    assert page.inline == ""
    assert "//" not in answer.text
    served = [link for link in page.links if not link.startswith("data:")]
    assert len(served) == len(SERVED)
    for link in served:
        assert not urlsplit(link).netloc
        assert not link.startswith("/"), "works under any prefix"
        assert (await client.get(urljoin("/docs", link))).status_code == 200


@pytest.mark.parametrize("name", SERVED)
async def test_its_files(client: httpx.AsyncClient, name: str) -> None:
    answer = await client.get(f"/docs/{name}")
    assert answer.status_code == 200
    assert answer.headers["content-type"].partition(";")[0] == SERVED[name]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'self'" in policy_of(answer)
    assert answer.content == (FILES / name).read_bytes()


async def test_what_the_page_reads_is_there(client: httpx.AsyncClient) -> None:
    script = (await client.get("/docs/init.js")).text
    url = re.search(r'url: "([^"]+)"', script)
    assert url is not None
    assert (await client.get(urljoin("/docs", url[1]))).json()["info"]["title"] == "Manta"
    assert "validatorUrl: null" in script, "Swagger's validator is elsewhere"


async def test_nothing_else_of_the_folder_is_served(client: httpx.AsyncClient) -> None:
    for path in ("/docs/README.md", "/docs/../docs_page.py", "/docs/%2e%2e/rest.py", "/redoc"):
        assert (await client.get(path)).status_code == 404


def test_the_licence_and_the_version_are_beside_it() -> None:
    assert "Apache License" in (FILES / "LICENSE").read_text(encoding="utf-8")
    assert "SmartBear" in (FILES / "NOTICE").read_text(encoding="utf-8")
    assert re.search(r"Swagger UI \d+\.\d+\.\d+", (FILES / "README.md").read_text("utf-8"))
