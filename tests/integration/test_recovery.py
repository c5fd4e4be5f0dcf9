"""Processes that die, hang and start again, with two gateways. One product serves every test."""

import json
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import grpc
import httpx
import psutil
import pytest

from tests.integration.lifecycle import (
    OpenLoop,
    Told,
    ask,
    change,
    index,
    is_ready,
    over_grpc,
    well,
)
from tests.integration.product import Product, project_files
from tests.integration.site import Site
from tests.unit.models.onnx_files import counting, numbered

pytestmark = pytest.mark.integration

GOOD = "good"
REPLACED_SECONDS = 10.0
RUN_SECONDS = 2.0
FOREVER = 10**15
A_WHILE = 3 * 10**7


def version(root: Path, name: str, number: int) -> Path:
    return root / name / str(number) / "model.onnx"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("repository")
    for name in (GOOD, "inline", "fetched", "fragile", "own", "free", "slow"):
        numbered(version(root, name, 1), 1)
    counting(version(root, "counting", 1))
    (root / "counting" / "model.yaml").write_text(f"max_run_seconds: {RUN_SECONDS}\n")
    return root


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with Site.running() as site:
        yield site


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Iterator[Product]:
    folder = tmp_path_factory.mktemp("product")
    serve, _ = project_files(haproxy=True)
    gateway, own, other = serve["applications"][:3]
    gateway["args"] = {
        "inline": [GOOD, "inline", "fetched", "fragile"],
        "remote": ["own", "counting"],
        "loaded_models_file": str(folder / "loaded.json"),
    }
    gateway["deployments"][0]["num_replicas"] = 2
    for application, name in ((own, "own"), (other, "counting")):
        route = f"/v2/models/{name}"
        application |= {"name": name, "route_prefix": route, "args": {"model": name}}
    serve["applications"] = [gateway, own, other]
    product = Product(folder, serve, {"version": 1})
    product.environ["MANTA_ARTEFACT_CACHE"] = str(folder / "cache")
    product.environ["MANTA_MODEL_REPOSITORY"] = str(root)
    try:
        product.start()
        product.wait_until(both_gateways_are_asked(product), 30)
        yield product
    finally:
        assert product.stop() == []


def pids(product: Product, application: str) -> set[int]:
    return {each["pid"] for each in product.processes() if each["application"] == application}


def both_gateways_are_asked(product: Product) -> Callable[[], bool]:
    """Whether HAProxy knows the second gateway, which it hears of later than the first."""

    def asked() -> bool:
        statuses = [httpx.get(f"{product.url}/v1/status").json() for _ in range(8)]
        found = {status["processes"][0]["pid"] for status in statuses}
        return len(found) == 2 and found == pids(product, "gateway")

    return asked


def kill(product: Product, application: str) -> set[int]:
    """All of its processes at once, as a segmentation fault or the kernel would end them."""
    killed = pids(product, application)
    for pid in killed:
        psutil.Process(pid).send_signal(signal.SIGKILL)
    return killed


def are_replaced(product: Product, application: str, killed: set[int]) -> Callable[[], bool]:
    def replaced() -> bool:
        try:
            now = pids(product, application)
        except (httpx.HTTPError, json.JSONDecodeError):
            return False
        return len(now) == len(killed) and not now & killed

    return replaced


def everywhere(product: Product, names: set[str]) -> Callable[[], bool]:
    """Whether both gateways know these models; HAProxy asks one after the other."""

    def known() -> bool:
        answers = [httpx.get(f"{product.url}/api/v1/models", timeout=10) for _ in range(8)]
        found = [{each["name"] for each in answer.json()["models"]} for answer in answers]
        return all(each == names for each in found)

    return known


DECLARED = {GOOD, "inline", "fetched", "fragile", "own", "counting"}


def test_every_process_reads_the_repository_that_the_environment_names(
    product: Product, root: Path
) -> None:
    there = {path.name for path in root.iterdir()}
    assert {name for name, _ in index(product)} == there
    for name in (GOOD, "own"):
        assert ask(product, name) == (200, "1")
    assert change(product, "free", "load").status == 200
    assert ask(product, "free") == (200, "1")
    assert change(product, "free", "unload").status == 200
    product.wait_until(everywhere(product, DECLARED), 2)


def test_all_gateways_know_what_one_of_them_loads(product: Product) -> None:
    assert change(product, "free", "load").status == 200
    product.wait_until(everywhere(product, DECLARED | {"free"}), 2)
    for _ in range(8):
        with grpc.insecure_channel(product.grpc_address) as channel:
            assert over_grpc(channel, "free") == (200, "1")
    assert change(product, "free", "unload").status == 200
    product.wait_until(everywhere(product, DECLARED), 2)
    well(product, GOOD)


@pytest.mark.parametrize("name", ["inline", "own"])
def test_what_is_declared_changes_in_all_gateways(product: Product, root: Path, name: str) -> None:
    numbered(version(root, name, 2), 2)
    assert change(product, name, "load").status == 200
    for _ in range(8):
        with httpx.Client(base_url=product.url) as client:
            assert client.get(f"/v2/models/{name}").json()["versions"] == ["2"]
    assert change(product, name, "unload").status == 200
    product.wait_until(everywhere(product, DECLARED - {name}), 1)
    assert {httpx.get(f"{product.url}/v2/health/ready").status_code for _ in range(8)} == {200}
    assert change(product, name, "load", {"version_policy": {"specific": [1]}}).status == 200
    assert {ask(product, name) for _ in range(8)} == {Told(200, "1")}


def count(product: Product, to: int, timeout_us: int = 0) -> tuple[int, int | None]:
    x = {"name": "x", "datatype": "INT64", "shape": [1], "data": [to]}
    body = {"inputs": [x], "parameters": {"timeout": timeout_us} if timeout_us else {}}
    try:
        answer = httpx.post(f"{product.url}/v2/models/counting/infer", json=body, timeout=60)
    except httpx.RemoteProtocolError:
        return 503, None  # HAProxy closed the connection, as it had used the one behind it before
    if answer.status_code != 200:
        return answer.status_code, None
    return 200, answer.json()["outputs"][0]["data"][0]


def test_fault_030_058_a_model_process_that_dies_is_replaced(
    product: Product, record_property: Callable[[str, object], None]
) -> None:
    others = OpenLoop(product, GOOD)
    with ThreadPoolExecutor(1) as threads, others.running():
        runs = threads.submit(count, product, A_WHILE)
        time.sleep(0.3)
        started = time.monotonic()
        killed = kill(product, "counting")
        record_property("status of what ran", runs.result()[0])
        assert runs.result()[0] in (500, 502, 503)
        product.wait_until(lambda: count(product, 7) == (200, 7), REPLACED_SECONDS)
        record_property("seconds until replaced", f"{time.monotonic() - started:.2f}")
    assert are_replaced(product, "counting", killed)()
    assert others.told() == {(200, "1")}
    product.wait_until(lambda: is_ready(product), 5)


def test_fault_032_a_model_that_hangs_is_replaced(
    product: Product, record_property: Callable[[str, object], None]
) -> None:
    others = OpenLoop(product, GOOD)
    hanging = pids(product, "counting")
    with others.running():
        started = time.monotonic()
        assert count(product, FOREVER, timeout_us=300_000) == (504, None)
        assert time.monotonic() - started < 1.5
        product.wait_until(lambda: not is_ready(product, "counting"), RUN_SECONDS + 2)
        assert not is_ready(product)
        product.wait_until(lambda: count(product, 7) == (200, 7), RUN_SECONDS + 15)
        record_property("seconds until replaced", f"{time.monotonic() - started:.2f}")
    assert others.told() == {(200, "1")}
    product.wait_until(lambda: not any(map(psutil.pid_exists, hanging)), 15)
    product.wait_until(lambda: is_ready(product), 5)


def test_fault_084_a_rollback_outlives_the_process(product: Product, root: Path) -> None:
    numbered(version(root, "free", 2), 2)
    assert change(product, "free", "load").status == 200
    assert ask(product, "free") == (200, "2")
    assert change(product, "free", "load", {"version_policy": {"specific": [1]}}).status == 200
    assert ask(product, "free") == (200, "1")
    kill(product, "free")
    product.wait_until(lambda: ask(product, "free").status == 200, REPLACED_SECONDS)
    assert ask(product, "free") == (200, "1")


def test_gateways_that_die_find_what_was_loaded(product: Product) -> None:
    running = pids(product, "free")
    killed = kill(product, "gateway")
    assert ask(product, "free") == (200, "1"), "its own process answers"
    product.wait_until(are_replaced(product, "gateway", killed), REPLACED_SECONDS * 2)
    product.wait_until(everywhere(product, DECLARED | {"free"}), 5)
    assert index(product)["free", "1"] == ("READY", "")
    assert pids(product, "free") == running, "it was left as it was"
    well(product, GOOD)


def test_fault_078_gateways_that_die_in_a_load(product: Product) -> None:
    """What was being loaded is loaded or not; no process is left that nobody knows."""
    with ThreadPoolExecutor(1) as threads:
        loading = threads.submit(change, product, "slow", "load")
        product.wait_until(lambda: "slow" in applications(product), 10)
        killed = kill(product, "gateway")
        assert loading.exception() is not None or loading.result().status != 200
    product.wait_until(are_replaced(product, "gateway", killed), REPLACED_SECONDS * 2)
    product.wait_until(lambda: "slow" not in applications(product), 30)
    assert index(product)["slow", "1"] == ("UNAVAILABLE", "not loaded")
    assert ask(product, "slow").status == 404
    assert change(product, "slow", "load").status == 200
    assert ask(product, "slow") == (200, "1")
    assert change(product, "slow", "unload").status == 200
    well(product, GOOD)


def applications(product: Product) -> set[str]:
    """What Serve runs, whether the gateways know of it or not."""
    found = set()
    for process in psutil.Process(product.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # it may end at this moment
            kind, _, rest = process.name().partition("::ServeReplica:")
            if kind == "ray" and rest:
                found.add(rest.partition(":")[0])
    return found


def test_fault_078_gateways_that_die_in_a_download(
    product: Product, root: Path, site: Site
) -> None:
    site.content = numbered(root / "made.onnx", 2).read_bytes()
    digest = sha256(site.content).hexdigest()
    text = f"versions: {{1: 1/model.onnx, 2: '{site.url}'}}\nsha256: {{2: {digest}}}\n"
    (root / "fetched" / "model.yaml").write_text(text)
    site.break_after = 100
    site.going_on.clear()
    cache = Path(product.environ["MANTA_ARTEFACT_CACHE"])
    partial = cache / f".{digest}.onnx.part"
    with ThreadPoolExecutor(1) as threads:
        loading = threads.submit(change, product, "fetched", "load")
        product.wait_until(partial.exists, 10)
        assert ask(product, "fetched") == (200, "1"), "the old one goes on"
        killed = kill(product, "gateway")
        assert loading.exception() is not None or loading.result().status != 200
    site.going_on.set()
    product.wait_until(are_replaced(product, "gateway", killed), REPLACED_SECONDS * 2)
    product.wait_until(lambda: ask(product, "fetched") == (200, "2"), 10)
    assert sha256((cache / f"{digest}.onnx").read_bytes()).hexdigest() == digest
    assert not partial.exists()
    well(product, GOOD)


def test_fault_085_after_a_restart_everything_is_as_the_rule_says(
    product: Product, root: Path
) -> None:
    """What a request loaded is there again, what is declared starts as declared, and one that is
    broken keeps the server from being ready, but no other from answering."""
    old = change(product, "own", "load", {"version_policy": {"specific": [1]}})
    assert (old.status, ask(product, "own")) == (200, (200, "1"))
    assert ask(product, "free") == (200, "1")
    assert product.stop() == []
    path = version(root, "fragile", 1)
    shutil.copy(path, root / "whole.onnx")
    path.write_bytes(b"broken")
    product.start(until=lambda: is_ready(product, GOOD))
    product.wait_until(lambda: is_ready(product, "free") and is_ready(product, "own"), 60)
    assert ask(product, "free") == (200, "1"), "loaded by a request, with its override"
    assert ask(product, "own") == (200, "2"), "what was overridden is as declared"
    state, reason = index(product)["fragile", "1"]
    assert (state, "is not an ONNX file" in reason) == ("UNAVAILABLE", True)
    assert ask(product, "fragile").status == 503
    well(product, GOOD)
    assert not is_ready(product)
    shutil.copy(root / "whole.onnx", path)
    assert change(product, "fragile", "load").status == 200
    assert is_ready(product)
