"""`/docs` in a real browser, without internet."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.faults.server import InferencePlane
from tests.integration.chromium import CHROMIUM, Visit, visit

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(CHROMIUM is None, reason="the browser `chromium` is not installed"),
]


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InferencePlane]:
    served = InferencePlane(tmp_path_factory.mktemp("plane"), healthy=True)
    served.start()
    yield served
    served.stop()


@pytest.fixture(scope="module")
def visited(plane: InferencePlane, tmp_path_factory: pytest.TempPathFactory) -> Visit:
    return visit(f"{plane.base_url}/docs", tmp_path_factory.mktemp("chromium"))


def test_the_page_shows_what_can_be_called(visited: Visit) -> None:
    for shown in (
        'data-path="/v2/models/{name}/infer"',
        "Run the model on tensors",
        "opblock-post",
    ):
        assert shown in visited.dom


def test_it_calls_nobody_but_the_server(visited: Visit, plane: InferencePlane) -> None:
    asked = {urlsplit(url).path for url in visited.urls}
    assert {"/docs", "/docs/init.js", "/docs/swagger-ui.css", "/openapi.json"} <= asked
    assert {urlsplit(url).netloc for url in visited.urls} == {f"127.0.0.1:{plane.port}"}


def test_its_policy_stops_nothing_that_it_does(visited: Visit) -> None:
    assert visited.console == ""


def test_a_request_elsewhere_would_be_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text('<p>here</p><script src="http://cdn.example/x.js"></script>', "utf-8")
    seen = visit(page.as_uri(), tmp_path)
    assert "here" in seen.dom
    assert "http://cdn.example/x.js" in seen.urls
