"""Models that come, change and go while the product runs. One product serves every test here."""

import pickle
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.integration.lifecycle import (
    MIB,
    OpenLoop,
    ask,
    at_every_door,
    change,
    change_over_grpc,
    index,
    is_ready,
    rss,
    well,
)
from tests.integration.product import Product, project_files
from tests.integration.site import Site
from tests.integration.unsafe import ARTEFACTS, CANARY, Canary
from tests.unit.models.onnx_files import (
    dense,
    never_runs,
    numbered,
    with_external_data,
)

pytestmark = pytest.mark.integration

GOOD = "good"
LIMIT_MB = 120
ON_DEMAND = ("first", "second", "third")
INLINE = (
    *(GOOD, "inline", "copied", "deleted", "churned"),
    *("limited", "fetched", "signed", "escaping", "unsafe", *ON_DEMAND),
)


def version(root: Path, name: str, number: int) -> Path:
    return root / name / str(number) / "model.onnx"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("repository")
    for name in (*INLINE, "own", "free", "gateway"):
        numbered(version(root, name, 1), 1)
    for name in ON_DEMAND:
        (root / name / "model.yaml").write_text("on_demand: true\n")
    never_runs(version(root, "broken", 1))
    weights = np.random.default_rng(1).random((5000, 5000), np.float32)
    dense(version(root, "large", 1), weights)
    return root


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with Site.running() as site:
        yield site


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Iterator[Product]:
    folder = tmp_path_factory.mktemp("product")
    serve, _ = project_files()
    gateway, own = serve["applications"][:2]
    shared = {"repositories": [str(root)], "max_model_size_mb": LIMIT_MB}
    gateway["args"] = {
        **shared,
        "inline": list(INLINE),
        "remote": ["own"],
        "model_cache_size": 2,
        "loaded_models_file": str(folder / "loaded.json"),
    }
    own |= {"name": "own", "route_prefix": "/v2/models/own", "args": {**shared, "model": "own"}}
    serve["applications"] = [gateway, own]
    product = Product(folder, serve, {"version": 1})
    product.environ["MANTA_ARTEFACT_CACHE"] = str(folder / "cache")
    try:
        product.start()
        yield product
    finally:
        assert product.stop() == []


@pytest.fixture(autouse=True)
def is_well(product: Product) -> Iterator[None]:
    yield
    well(product, GOOD)
    assert is_ready(product)


@pytest.mark.parametrize("name", ["inline", "own"])
def test_fault_073_084_twenty_swaps_under_100_requests_a_second(
    product: Product, root: Path, name: str, record_property: Callable[[str, object], None]
) -> None:
    numbered(version(root, name, 2), 2)
    load = OpenLoop(product, name)
    seconds = []
    with load.running():
        for swap in range(20):
            started = time.monotonic()
            told = change(product, name, "load", {"version_policy": {"specific": [2 - swap % 2]}})
            seconds.append(time.monotonic() - started)
            assert told == (200, "{}\n")
            time.sleep(0.15)
    record_property("seconds of each swap", " ".join(f"{each:.3f}" for each in seconds))
    assert max(seconds) < 5, "row 84: every second swap is a rollback, which takes 5 s at most"
    for answers in load.answers.values():
        assert set(answers) == {(200, "1"), (200, "2")}
        assert len(answers) >= 150


def damaged(path: Path, kind: str) -> None:
    if kind == "corrupt":
        path.parent.mkdir(parents=True)
        path.write_bytes(b"\x08\x08 no model at all")
    elif kind == "opset":
        numbered(path, 3, opset=9999)
    else:
        numbered(path, 3, inputs=("z",))


@pytest.mark.parametrize("name", ["inline", "own"])
@pytest.mark.parametrize(
    ("kind", "reason"),
    [("corrupt", "ONNX"), ("opset", "ONNX Runtime refuses it"), ("signature", "input 'x'")],
)
def test_fault_074_a_bad_version_leaves_the_old_one_serving(
    product: Product, root: Path, name: str, kind: str, reason: str
) -> None:
    path = version(root, name, 3)
    damaged(path, kind)
    load = OpenLoop(product, name)
    with load.running():
        told = change(product, name, "load")
        time.sleep(0.2)
    assert told.status == 503
    assert reason in told.text
    assert str(root) not in told.text
    state, why = index(product)[name, "3"]
    assert (state, reason in why) == ("UNAVAILABLE", True)
    assert {status for status, _ in load.told()} == {200}, load.told()
    shutil.rmtree(path.parent)
    assert change(product, name, "load").status == 200


def test_fault_075_a_file_that_is_half_copied_is_not_served(product: Product, root: Path) -> None:
    whole = numbered(root / "elsewhere.onnx", 2).read_bytes()
    path = version(root, "copied", 2)
    path.parent.mkdir()
    with path.open("wb") as copy:
        for part in (whole[:100], whole[100:-1]):
            copy.write(part)
            copy.flush()
            assert change(product, "copied", "load").status == 503
            assert ask(product, "copied") == (200, "1")
        copy.write(whole[-1:])
    assert change(product, "copied", "load").status == 200
    assert ask(product, "copied") == (200, "2")


def test_fault_076_a_version_that_is_deleted_while_it_serves(product: Product, root: Path) -> None:
    numbered(version(root, "deleted", 2), 2)
    assert change(product, "deleted", "load").status == 200
    load = OpenLoop(product, "deleted")
    with load.running():
        shutil.rmtree(root / "deleted" / "2")
        time.sleep(0.3)
        assert change(product, "deleted", "load").status == 200
        time.sleep(0.3)
    assert load.told() == {(200, "2"), (200, "1")}
    x = {"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [5, 5, 5]}
    asked = product.client.post("/v2/models/deleted/versions/2/infer", json={"inputs": [x]})
    assert asked.status_code == 404


def test_fault_077_32_threads_load_and_unload_one_model(product: Product) -> None:
    before = rss(product.process_status("gateway")["pid"])

    def caller(number: int) -> set[int]:
        told = set()
        for turn in range(100):
            what = ("load", "unload")[(number + turn) % 2]
            door = change if number % 4 < 2 else change_over_grpc
            told.add(door(product, "churned", what).status)
        return told

    with ThreadPoolExecutor(32) as threads:
        statuses = set().union(*threads.map(caller, range(32)))
    assert 200 in statuses
    assert statuses <= {200, 409, 404, 503}
    assert change(product, "churned", "load").status == 200
    assert ask(product, "churned") == (200, "1")
    assert rss(product.process_status("gateway")["pid"]) - before < 50 * MIB


def test_a_model_is_deployed_asked_and_ended(product: Product) -> None:
    assert index(product)["free", "1"] == ("UNAVAILABLE", "not loaded")
    assert change(product, "free", "load") == (200, "{}\n")
    assert index(product)["free", "1"] == ("READY", "")
    pid = product.process_status("free")["pid"]
    assert ask(product, "free") == (200, "1")
    assert change_over_grpc(product, "free", "unload").status == 200
    assert not psutil.pid_exists(pid)
    assert ask(product, "free").status == 404
    assert index(product)["free", "1"] == ("UNAVAILABLE", "not loaded")


def test_a_large_model_comes_soon_and_gives_its_memory_back(
    product: Product, record_property: Callable[[str, object], None]
) -> None:
    pids = {name: product.process_status(name)["pid"] for name in ("gateway", "own")}
    before = {name: rss(pid) for name, pid in pids.items()}
    started = time.monotonic()
    assert change(product, "large", "load").status == 200
    seconds = time.monotonic() - started
    record_property("seconds to load 100 MB", f"{seconds:.2f}")
    assert seconds < 10, "under 5 on an idle machine, which the benchmark measures"
    pid = product.process_status("large")["pid"]
    assert rss(pid) > 100 * MIB
    assert change(product, "large", "unload").status == 200
    assert not psutil.pid_exists(pid)
    for name, other in pids.items():
        assert rss(other) - before[name] < 20 * MIB, name


@pytest.mark.parametrize("name", ["inline", "own"])
def test_a_declared_model_is_unloaded_and_loaded_again(product: Product, name: str) -> None:
    assert change(product, name, "unload") == (200, "{}\n")
    assert at_every_door(product, name) == [404, 404, 404]
    assert product.client.get(f"/v2/models/{name}/ready").status_code == 404
    assert is_ready(product), "what was unloaded on purpose is not missed"
    assert {state for (known, _), (state, _) in index(product).items() if known == name} == {
        "UNAVAILABLE"
    }
    assert change(product, name, "load", {"max_batch_size": -1}).status == 400
    assert at_every_door(product, name) == [404, 404, 404], "it is not loaded by that"
    assert change(product, name, "load") == (200, "{}\n")
    assert at_every_door(product, name) == [200, 200, 200]


def refused(product: Product, name: str, reason: str) -> None:
    """A load that fails, for this reason, and changes nothing: over both doors."""
    for door in (change, change_over_grpc):
        told = door(product, name, "load")
        assert (told.status, reason in told.text) == (503, True), told.text
        assert ask(product, name) == (200, "1")
    assert reason in index(product)[name, "2"][1]


def test_what_cannot_be_loaded_is_refused(product: Product) -> None:
    told = change(product, "broken", "load")
    assert (told.status, "the warm-up run failed" in told.text) == (503, True)
    assert "broken" not in {each["application"] for each in product.processes()}
    assert ask(product, "broken").status == 404
    told = change(product, "gateway", "load")
    assert (told.status, "the name of another application" in told.text) == (503, True)
    for door in (change, change_over_grpc):
        assert door(product, "absent", "load").status == 404
        assert door(product, "absent", "unload").status == 404
    assert change(product, "inline", "load", {"queue": 1}).status == 400


def test_a_load_of_a_damaged_file_is_refused_within_a_second(product: Product, root: Path) -> None:
    half = version(root, "free", 1).read_bytes()[:-20]
    for name, content in (("half", half), ("zeros", bytes(99))):
        version(root, name, 1).parent.mkdir(parents=True)
        version(root, name, 1).write_bytes(content)
        started = time.monotonic()
        told = change(product, name, "load")
        assert time.monotonic() - started < 1.0
        assert told.status == 503
        assert "model.onnx: is not an ONNX file" in told.text


def test_a_file_that_is_too_large_is_refused(product: Product, root: Path) -> None:
    path = numbered(version(root, "limited", 2), 2)
    with path.open("ab") as file:
        file.truncate(LIMIT_MB * 1_000_000 + 1)
    refused(product, "limited", f"max_model_size_mb allows {LIMIT_MB}")


def test_the_least_recently_used_model_makes_room(product: Product) -> None:
    def held() -> list[str]:
        models = product.process_status("gateway")["models"]
        return [name for name in ON_DEMAND if models[name]["state"] == "ready"]

    assert held() == []
    for name in ON_DEMAND[:2]:
        assert ask(product, name) == (200, "1")
    assert held() == ["first", "second"]
    assert ask(product, "third") == (200, "1")
    assert held() == ["second", "third"]
    assert ask(product, "first") == (200, "1")
    assert held() == ["first", "third"]


def fetched(root: Path, site: Site) -> str:
    """Version 2 of a model lies on a web server; returns what it is kept as."""
    site.content = numbered(root / "made.onnx", 2).read_bytes()
    digest = sha256(site.content).hexdigest()
    text = f"versions: {{1: 1/model.onnx, 2: '{site.url}'}}\nsha256: {{2: {digest}}}\n"
    (root / "fetched" / "model.yaml").write_text(text)
    return f"{digest}.onnx"


def kept(cache: Path) -> list[str]:
    """Downloads; beside them, in a directory, is what was found out of models."""
    files = (path for path in cache.iterdir() if not path.is_dir())
    return [path.name for path in files if path.suffix != ".lock"]


def test_fault_079_083_what_a_download_can_run_into(
    product: Product, root: Path, site: Site
) -> None:
    """A disk that is full, then a file that is another one, then nothing."""
    name = fetched(root, site)
    cache = Path(product.environ["MANTA_ARTEFACT_CACHE"])
    cache.mkdir(exist_ok=True)
    partial = cache / f".{name}.part"
    for _ in range(2):
        partial.symlink_to("/dev/full")
        told = change(product, "fetched", "load")
        assert (told.status, "No space left on device" in told.text) == (503, True)
        assert ask(product, "fetched") == (200, "1")
        assert kept(cache) == []
    good, site.content = site.content, site.content + b"\0"
    refused(product, "fetched", "another SHA-256")
    assert kept(cache) == []
    site.content = good
    assert change(product, "fetched", "load").status == 200
    assert ask(product, "fetched") == (200, "2")
    assert kept(cache) == [name]


def test_fault_083_another_file_than_was_meant(product: Product, root: Path) -> None:
    numbered(version(root, "signed", 2), 2)
    (root / "signed" / "model.yaml").write_text(f"sha256: {{2: {'a' * 64}}}\n")
    refused(product, "signed", "another SHA-256")
    logged = "model 'signed' version 2 cannot be served"
    product.wait_until(lambda: logged in product.log.read_text(), 10)


ZIP = b"PK\x03\x04"


@pytest.mark.parametrize("name", ["file:1/model.onnx", "file:../../x", "files", "zip"])
def test_fault_080_files_in_a_load_are_refused(product: Product, root: Path, name: str) -> None:
    """There is no upload: no file is taken, and no archive is opened."""
    before = set(root.rglob("*"))
    body = {"parameters": {"config": "{}", name: "UEsDBA=="}}
    answer = product.client.post("/v2/repository/models/inline/load", json=body)
    assert (answer.status_code, name in answer.json()["error"]) == (400, True)
    told = change_over_grpc(product, "inline", "load", {name: ZIP})
    assert (told.status, name in told.text) == (400, True)
    assert set(root.rglob("*")) == before


def test_fault_080_a_body_that_is_an_archive_is_refused(product: Product, root: Path) -> None:
    archive = BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("../../escaped", b"x" * 1000)
    before = set(root.rglob("*"))
    for path in ("/v2/repository/models/inline/load", "/api/v1/models/load"):
        answer = product.client.post(path, content=archive.getvalue())
        assert answer.status_code == 400, path
    assert set(root.rglob("*")) == before


@pytest.mark.parametrize("location", ["../../secret.bin", "/etc/hostname", "link", "hard-link"])
def test_fault_081_data_of_elsewhere_is_refused(
    product: Product, root: Path, location: str
) -> None:
    (root / "secret.bin").write_bytes(np.arange(3, dtype=np.float32).tobytes())
    path = with_external_data(version(root, "escaping", 2), location)
    for name in ("link", "hard-link"):
        (path.parent / name).unlink(missing_ok=True)
    (path.parent / "link").symlink_to(root / "secret.bin")
    (path.parent / "hard-link").hardlink_to(root / "secret.bin")
    refused(product, "escaping", "external data")


@pytest.mark.parametrize("artefact", [*ARTEFACTS, "model.onnx"])
def test_fault_082_what_can_run_code_is_never_opened(
    product: Product, root: Path, artefact: str
) -> None:
    path = root / "unsafe" / "2" / artefact
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(pickle.dumps(Canary(root)))
    versions = f"versions: {{1: 1/model.onnx, 2: 2/{artefact}}}\n"
    (root / "unsafe" / "model.yaml").write_text(versions)
    is_onnx = artefact == "model.onnx"
    refused(product, "unsafe", "is not an ONNX file" if is_onnx else "no runtime is known")
    for runtime in ("python", "torch", "pickle"):
        (root / "unsafe" / "model.yaml").write_text(f"runtime: {runtime}\n{versions}")
        refused(product, "unsafe", "is not an ONNX file" if is_onnx else "unknown runtime")
    assert not (root / CANARY).exists()


def test_the_canary_sings(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Canary(tmp_path)))
    assert (tmp_path / CANARY).exists()
