"""Models that come, change and go while the product runs. One product serves every test here."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.integration.product import Product, project_files
from tests.unit.models.onnx_files import never_runs, numbered

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("repository")
    for name in ("inline", "own", "free"):
        numbered(root / name / "1" / "model.onnx", 1)
    never_runs(root / "broken" / "1" / "model.onnx")
    return root


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Iterator[Product]:
    folder = tmp_path_factory.mktemp("product")
    serve, _ = project_files()
    gateway, own = serve["applications"][:2]
    shared = {"repositories": [str(repository)]}
    gateway["import_path"] = "tests.integration.controlled_gateway:build"
    gateway["args"] = {
        **shared,
        "inline": ["inline"],
        "remote": ["own"],
        "loaded_models_file": str(folder / "loaded.json"),
    }
    own |= {"name": "own", "route_prefix": "/v2/models/own", "args": {**shared, "model": "own"}}
    serve["applications"] = [gateway, own]
    product = Product(folder, serve, {"version": 1})
    try:
        product.start()
        yield product
    finally:
        assert product.stop() == []


def change(product: Product, name: str, what: str, config: Any = None) -> tuple[int, str]:
    url = f"{product.url}/v2/repository/models/{name}/{what}"
    answer = httpx.post(url, json=config, timeout=60)
    return answer.status_code, answer.text


def ask(client: httpx.Client, name: str) -> tuple[int, str]:
    """The status, and the version that gave all of the answer."""
    x = {"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [5, 5, 5]}
    answer = client.post(f"/v2/models/{name}/infer", json={"inputs": [x]})
    if answer.status_code != 200:
        return answer.status_code, answer.text
    body = answer.json()
    outputs = {output["name"]: output["data"] for output in body["outputs"]}
    version = int(body["model_version"])
    assert outputs == {"y": [5 * version] * 3, "version": [version] * 3}
    return 200, body["model_version"]


def index(product: Product) -> dict[tuple[str, str], tuple[str, str]]:
    answer = httpx.post(f"{product.url}/v2/repository/index", timeout=30)
    return {(name, version): (state, why) for name, version, state, why in answer.json()}


@pytest.mark.parametrize("name", ["inline", "own"])
def test_fault_073_twenty_swaps_under_100_requests_a_second(
    product: Product, repository: Path, name: str
) -> None:
    numbered(repository / name / "2" / "model.onnx", 2)
    answers: list[tuple[int, str]] = []
    done = threading.Event()

    def client() -> None:
        with httpx.Client(base_url=product.url, timeout=30) as connection:
            while not done.is_set():
                answers.append(ask(connection, name))
                time.sleep(0.02)

    clients = [threading.Thread(target=client) for _ in range(4)]
    for each in clients:
        each.start()
    for swap in range(20):
        started = time.monotonic()
        wanted = {"version_policy": {"specific": [2 - swap % 2]}}
        assert change(product, name, "load", wanted)[0] == 200
        assert time.monotonic() - started < 5, "row 84: a rollback takes 5 s at most"
        time.sleep(0.1)
    done.set()
    for each in clients:
        each.join()
    assert {status for status, _ in answers} == {200}
    assert {version for _, version in answers} == {"1", "2"}
    assert len(answers) >= 100


def test_a_model_is_deployed_asked_and_ended(product: Product) -> None:
    assert index(product)["free", "1"] == ("UNAVAILABLE", "not loaded")
    assert change(product, "free", "load") == (200, "{}")
    assert index(product)["free", "1"] == ("READY", "")
    pid = product.process_status("free")["pid"]
    with httpx.Client(base_url=product.url, timeout=30) as client:
        assert ask(client, "free") == (200, "1")
        assert change(product, "free", "unload") == (200, "{}")
        product.wait_until(lambda: not psutil.pid_exists(pid), 15)
        assert ask(client, "free")[0] == 404
    assert index(product)["free", "1"] == ("UNAVAILABLE", "not loaded")


@pytest.mark.parametrize("name", ["inline", "own"])
def test_a_declared_model_is_unloaded_and_loaded_again(product: Product, name: str) -> None:
    with httpx.Client(base_url=product.url, timeout=30) as client:
        assert change(product, name, "unload") == (200, "{}")
        assert ask(client, name)[0] in (404, 503)
        assert {state for (known, _), (state, _) in index(product).items() if known == name} == {
            "UNAVAILABLE"
        }
        assert change(product, name, "load") == (200, "{}")
        assert ask(client, name)[0] == 200


def test_fault_074_a_model_that_does_not_load_is_refused(product: Product) -> None:
    status, text = change(product, "broken", "load")
    assert status == 503
    assert "the warm-up run failed" in text
    assert change(product, "absent", "load")[0] == 404
    assert change(product, "inline", "load", {"queue": 1})[0] == 400
    assert httpx.get(f"{product.url}/v2/health/ready", timeout=10).status_code == 200
