"""What a user sees of `make run`, one start for all of it."""

import asyncio
import json
import re
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import psutil
import pytest
import tritonclient.grpc
from prometheus_client.parser import text_string_to_metric_families
from skimage import data as skimage_data
from tritonclient.utils import InferenceServerException

from app.types import JsonValue
from connectors.mqtt.config import BrokerConfig
from connectors.mqtt.simulator import simulate_sensors
from models.training.digits_data import split
from tests.integration.mosquitto import MOSQUITTO, Mosquitto
from tests.integration.product import Product, project_files
from tests.paths import ROOT, SHARED_DATA

pytestmark = pytest.mark.integration
FASTESTDET = SHARED_DATA / "models" / "fastestdet" / "model.onnx"
SAMPLE = ROOT / "config" / "samples" / "sign.jpg"
needs_broker = pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed")
needs_detector = pytest.mark.skipif(not FASTESTDET.exists(), reason="needs the shared weights")


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto | None]:
    if MOSQUITTO is None:
        yield None
        return
    running = Mosquitto(tmp_path_factory.mktemp("mosquitto"))
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def product(
    tmp_path_factory: pytest.TempPathFactory, broker: Mosquitto | None
) -> Iterator[Product]:
    folder = tmp_path_factory.mktemp("product")
    serve, pipelines = project_files()
    gateway, streams = serve["applications"][0]["args"], serve["applications"][-1]["args"]
    if broker is not None:
        pipelines["connectors"][1]["port"] = broker.port
    if FASTESTDET.exists():
        version = folder / "models" / "fastestdet" / "1"
        version.mkdir(parents=True)
        shutil.copy(FASTESTDET, version / "model.onnx")
        gateway["repositories"] = ["models/zoo", str(folder / "models")]
        gateway["inline"].append("fastestdet")
        gateway["pipelines"].append("find-objects")
    assert "recorded-air" in streams["connectors"]
    running = Product(folder, serve, pipelines)
    try:
        running.start()
        yield running
    finally:
        session = session_directory(running)
        assert running.stop(signal.SIGTERM) == []
        give_up = time.monotonic() + 10
        while session.exists() and time.monotonic() < give_up:
            time.sleep(0.2)
        assert not session.exists(), "Ray's session directory is left behind"


def session_directory(running: Product) -> Path:
    text = " ".join(
        " ".join(process.cmdline())
        for process in psutil.Process(running.pid).children(recursive=True)
        if process.is_running() and process.name() == "raylet"
    )
    found = re.search(r"--raylet_socket_name=(\S+)/sockets/", text)
    assert found is not None
    return Path(found.group(1))


def infer(product: Product, model: str, body: object) -> httpx.Response:
    return httpx.post(f"{product.url}/v2/models/{model}/infer", json=body, timeout=30)


def still_fine(product: Product) -> None:
    """What a bad request must leave behind: a live server whose other models answer."""
    assert httpx.get(f"{product.url}/v2/health/live", timeout=1).status_code == 200
    vector = {
        "name": "vector",
        "shape": [1, 5],
        "datatype": "FP32",
        "data": [600, 21, 40, 1013, 90],
    }
    assert infer(product, "air-quality", {"inputs": [vector]}).status_code == 200


def test_the_server_tells_who_it_is(product: Product) -> None:
    assert httpx.get(f"{product.url}/v2").json()["name"] == "manta"
    assert httpx.get(f"{product.url}/v2/health/live").json() == {"live": True}
    assert httpx.get(f"{product.url}/v2/health/ready").json() == {"ready": True}
    assert "swagger" in httpx.get(f"{product.url}/docs").text.lower()


def test_nothing_of_serve_listens_on_every_interface(product: Product) -> None:
    family = [psutil.Process(product.pid), *psutil.Process(product.pid).children(recursive=True)]
    everywhere = {
        (process.name(), connection.laddr.port)
        for process in family
        if process.name().startswith(("ray::Serve", "haproxy", "serve"))
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN and connection.laddr.ip in ("0.0.0.0", "::")
    }
    assert everywhere == set()


def test_digits_are_recognised_over_http(product: Product) -> None:
    _, images, _, labels = split()
    batch = images[32:64]
    tensor = {
        "name": "image",
        "shape": list(batch.shape),
        "datatype": "FP32",
        "data": batch.ravel().tolist(),
    }
    answer = infer(product, "digits", {"id": "abc", "inputs": [tensor]}).json()
    assert answer["id"] == "abc"
    output = answer["outputs"][0]
    scores = np.asarray(output["data"]).reshape(output["shape"])
    assert (scores.argmax(axis=1) == labels[32:64]).mean() >= 0.98


def test_a_model_with_its_own_application_answers_from_its_own_process(product: Product) -> None:
    answer = httpx.get(f"{product.url}/v2/models/text-detect").json()
    assert answer["name"] == "text-detect"
    assert httpx.get(f"{product.url}/v2/models/text-detect/ready").json()["ready"] is True
    before = product.process_status("text-detect")["models"]["text-detect"]["succeeded"]
    zeros = {"name": "x", "shape": [1, 3, 64, 64], "datatype": "FP32", "data": [0.0] * 12288}
    answer = infer(product, "text-detect", {"inputs": [zeros]}).json()
    assert answer["outputs"][0]["shape"] == [1, 1, 64, 64]
    after = product.process_status("text-detect")
    assert after["models"]["text-detect"]["succeeded"] == before + 1
    assert after["pid"] != product.process_status("gateway")["pid"]


def test_every_model_answers_over_grpc(product: Product) -> None:
    _, images, _, labels = split()
    batch = np.ascontiguousarray(images[32:64], dtype=np.float32)
    with tritonclient.grpc.InferenceServerClient(product.grpc_address) as client:
        assert client.is_server_ready()
        digits = tritonclient.grpc.InferInput("image", list(batch.shape), "FP32")
        digits.set_data_from_numpy(batch)
        scores = client.infer("digits", [digits]).as_numpy("probabilities")
        assert (scores.argmax(axis=1) == labels[32:64]).mean() >= 0.98
        page = tritonclient.grpc.InferInput("x", [1, 3, 64, 64], "FP32")
        page.set_data_from_numpy(np.zeros((1, 3, 64, 64), np.float32))
        answer = client.infer("text-detect", [page]).get_response()  # in its own process
        assert list(answer.outputs[0].shape) == [1, 1, 64, 64]
        assert client.get_model_metadata("text-detect").inputs[0].name == "x"
        assert client.get_inference_statistics("digits").model_stats[0].inference_count >= 32
        with pytest.raises(InferenceServerException, match="nowhere") as raised:
            client.infer("nowhere", [digits])
        assert raised.value.status() == "StatusCode.NOT_FOUND"
    still_fine(product)


def read_text(product: Product, picture: bytes) -> list[str]:
    answer = httpx.post(
        f"{product.url}/v1/pipelines/read-text",
        content=picture,
        headers={"content-type": "image/png"},
        timeout=60,
    )
    assert answer.status_code == 200, answer.text
    return [line["text"] for line in answer.json()["result"]]


def test_the_sample_picture_is_read(product: Product) -> None:
    expected = (ROOT / "config" / "samples" / "sign.txt").read_text().split()
    assert " ".join(read_text(product, SAMPLE.read_bytes())).split() == expected


def test_a_page_of_a_book_is_read(product: Product) -> None:
    page = skimage_data.page()  # type: ignore[no-untyped-call]  # it has no types
    _, png = cv2.imencode(".png", page)
    text = " ".join(read_text(product, png.tobytes()))
    for words in ("Region-based segmentation", "markers of the coins and the", "histogram"):
        assert words in text


def test_an_annotated_picture_comes_back(product: Product) -> None:
    answer = httpx.post(
        f"{product.url}/v1/pipelines/read-text?annotate=1", content=SAMPLE.read_bytes(), timeout=60
    )
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.content[:2] == b"\xff\xd8"


@needs_detector
def test_objects_are_found_and_tracked(product: Product) -> None:
    picture = (SHARED_DATA / "images" / "1.jpg").read_bytes()
    answer = httpx.post(f"{product.url}/v1/pipelines/find-objects", content=picture, timeout=30)
    assert answer.status_code == 200, answer.text
    found = answer.json()["result"]
    assert [item["label"] for item in found] == ["bus"]
    assert found[0]["box"] == pytest.approx([46, 82, 580, 416], abs=25)


def test_the_recording_leads_to_actions_and_every_message_is_counted(product: Product) -> None:
    product.wait_until(lambda: '"agent":"solvent_alarm"' in product.log.read_text(), 30)
    counts = product.process_status("streams")["connectors"]["recorded-air"]["counts"]["total"]
    assert counts["captured"] > 5
    assert counts["captured"] == counts["processed"] + counts["downgraded"] + counts[
        "in_flight"
    ] + sum(counts["dropped"].values())


@needs_broker
def test_simulated_sensors_lead_to_actions_on_a_topic(product: Product, broker: Mosquitto) -> None:
    good: dict[str, JsonValue] = {
        "co2_ppm": 600.0,
        "temperature": 21.0,
        "humidity": 40.0,
        "pressure": 1013.0,
        "voc": 90.0,
    }
    bad: dict[str, JsonValue] = good | {"co2_ppm": 1500.0}
    heard: list[str] = []

    def connected() -> bool:
        state = product.process_status("streams")["connectors"]["site-mqtt"]["state"]
        return bool(state == "running")

    product.wait_until(connected, 30)
    simulated = asyncio.run(
        simulate_sensors(
            BrokerConfig(host="127.0.0.1", port=broker.port),
            seconds=3.0,
            readings=[good, bad, bad, good, bad, good],
            readings_per_s=4.0,
            reading_topic="sensors/floor1/sim/env",
            picture=SAMPLE.read_bytes(),
            frames_per_s=1.0,
            frame_topic="sensors/floor1/cam1/frame",
            show=heard.append,
            linger_s=3.0,
        )
    )
    assert (simulated.readings, simulated.frames) == (6, 3)
    assert len([line for line in heard if line.startswith("actuators/ventilation")]) == 2

    def settled() -> bool:
        sources = product.process_status("streams")["connectors"]["site-mqtt"]["counts"]["sources"]
        readings = sources.get("sensors/floor1/sim/env", {})
        frames = sources.get("sensors/floor1/cam1/frame", {})
        return bool(readings.get("processed") == 6 and frames.get("processed") == 3)

    product.wait_until(settled, 30)


def test_one_scrape_shows_everything(product: Product) -> None:
    text = httpx.get(f"{product.url}/metrics").text
    shown: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            for kind in ("model", "pipeline", "connector"):
                if kind in sample.labels:
                    shown.setdefault(kind, set()).add(sample.labels[kind])
    assert {"digits", "air-quality", "text-detect", "text-recognise"} <= shown["model"]
    assert {"read-text", "env-quality", "site-air"} <= shown["pipeline"]
    assert {"recorded-air", "site-mqtt"} <= shown["connector"]


BAD_TENSOR = {"name": "image", "shape": [1, 1, 8, 8], "datatype": "FP32", "data": [0.0]}
BAD_BODIES: list[tuple[str, object, int, str]] = [
    ("digits", b"{", 400, "JSON"),
    ("digits", {"inputs": []}, 400, "image"),
    ("digits", {"inputs": [BAD_TENSOR]}, 400, "data"),
    ("digits", {"inputs": [BAD_TENSOR | {"datatype": "FP33"}]}, 400, "datatype"),
    ("digits", {"inputs": [BAD_TENSOR | {"shape": [1, 1, 8, 10**9]}]}, 400, "shape"),
    (
        "digits",
        {"inputs": [BAD_TENSOR | {"shape": [1, 64], "data": [0.0] * 64}]},
        400,
        "shape",
    ),
    ("nowhere", {"inputs": [BAD_TENSOR]}, 404, "nowhere"),
    ("text-detect", {"inputs": [BAD_TENSOR]}, 400, "data"),
]


@pytest.mark.parametrize(("model", "body", "status", "named"), BAD_BODIES)
def test_a_bad_request_is_told_what_is_wrong(
    product: Product, model: str, body: object, status: int, named: str
) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = httpx.post(f"{product.url}/v2/models/{model}/infer", content=content, timeout=10)
    assert answer.status_code == status
    assert named in answer.json()["error"]
    still_fine(product)


def png_declaring(width: int, height: int) -> bytes:
    size = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    return (
        b"\x89PNG\r\n\x1a\n" + b"\x00\x00\x00\rIHDR" + size + b"\x08\x02\x00\x00\x00" + b"\x00" * 64
    )


BAD_PICTURES: list[tuple[bytes, str, set[int]]] = [
    (png_declaring(65_000, 65_000), "image/png", {400, 413}),
    (b"no picture at all", "image/jpeg", {400}),
    (SAMPLE.read_bytes()[:2000], "image/jpeg", {400}),
    (b"", "image/jpeg", {400}),
    (b"<svg/>", "image/svg+xml", {400, 415}),
    (b'{"co2_ppm": 1}', "text/plain", {415}),
]


@pytest.mark.parametrize(("picture", "media_type", "statuses"), BAD_PICTURES)
def test_fault_052_a_bad_picture_is_refused(
    product: Product, picture: bytes, media_type: str, statuses: set[int]
) -> None:
    memory = psutil.Process(product.process_status("gateway")["pid"]).memory_info().rss
    answer = httpx.post(
        f"{product.url}/v1/pipelines/read-text",
        content=picture,
        headers={"content-type": media_type},
        timeout=10,
    )
    assert answer.status_code in statuses, answer.text
    assert answer.json()["error"]
    still_fine(product)
    after = psutil.Process(product.process_status("gateway")["pid"]).memory_info().rss
    assert after - memory < 64 * 2**20


def test_an_unknown_pipeline_is_404(product: Product) -> None:
    answer = httpx.post(f"{product.url}/v1/pipelines/nowhere", content=b"x")
    assert answer.status_code == 404
    assert "nowhere" in answer.json()["error"]


def test_a_wrong_reading_names_its_field(product: Product) -> None:
    answer = httpx.post(f"{product.url}/v1/pipelines/env-quality", json={"co2_ppm": "high"})
    assert answer.status_code == 400
    assert "co2_ppm" in answer.json()["error"]


def test_serve_status_works(product: Product) -> None:
    dashboard = re.search(r"View the dashboard at \S*?(http://[0-9.:]+)", product.log.read_text())
    assert dashboard is not None
    assert dashboard.group(1) in product.log.read_text().partition("Manta is ready")[2]
    applications: dict[str, Any] = httpx.get(
        f"{dashboard.group(1)}/api/serve/applications/", timeout=20
    ).json()["applications"]
    assert {name: app["status"] for name, app in applications.items()} == dict.fromkeys(
        ("gateway", "text-detect", "text-recognise", "streams"), "RUNNING"
    )
