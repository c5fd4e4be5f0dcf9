"""Files that change under a running server: what is loaded is what was checked."""

import json
import threading
from collections.abc import Callable

import httpx
import numpy as np
import pytest

from app.api.grpc.proto import inference_pb2 as pb
from tests.faults.acts import INFER
from tests.faults.server import InferencePlane
from tests.faults.wire import request
from tests.unit.models.onnx_files import with_external_data

pytestmark = pytest.mark.integration

Ask = Callable[[InferencePlane], list[float]]

_TENSOR = {"name": "x", "shape": [1, 3], "datatype": "FP32"}


def over_http(plane: InferencePlane, model: str = "weighted") -> list[float]:
    body = json.dumps({"inputs": [{**_TENSOR, "data": [0, 0, 0]}]}).encode()
    answer = plane.http(request("POST", f"/v2/models/{model}/infer", body))
    assert answer.status == 200, answer.body
    found: list[float] = json.loads(answer.body)["outputs"][0]["data"]
    return found


def over_grpc(plane: InferencePlane, model: str = "weighted") -> list[float]:
    message = pb.ModelInferRequest(model_name=model, raw_input_contents=[bytes(12)])
    message.inputs.add(**_TENSOR)
    with plane.channel() as channel:
        told = channel.unary_unary(INFER)(message.SerializeToString(), timeout=5.0)
    raw = pb.ModelInferResponse.FromString(told).raw_output_contents[0]
    return list(np.frombuffer(raw, np.float32).tolist())


def load(plane: InferencePlane) -> httpx.Response:
    url = f"{plane.base_url}/v2/repository/models/weighted/load"
    return httpx.post(url, timeout=20.0)


@pytest.mark.parametrize("ask", [over_http, over_grpc])
def test_fault_154_weights_that_are_overwritten_and_cut_short_in_place(
    plane: InferencePlane, ask: Ask
) -> None:
    weights = plane.repository / "weighted" / "1" / "w.bin"
    np.array([1, 2, 3], np.float32).tofile(weights)
    assert load(plane).status_code == 200
    assert ask(plane) == [1, 2, 3]
    wrong: list[list[float]] = []
    done = threading.Event()

    def client() -> None:
        while not done.is_set():
            if (answer := ask(plane)) != [1, 2, 3]:
                wrong.append(answer)

    clients = [threading.Thread(target=client) for _ in range(4)]
    for each in clients:
        each.start()
    with weights.open("r+b") as file:
        file.write(np.array([7, 8, 9], np.float32).tobytes())
        file.flush()
        assert ask(plane) == [1, 2, 3]
        file.truncate(0)
        for _ in range(20):
            assert ask(plane) == [1, 2, 3]
    refused = load(plane)
    assert refused.status_code == 503
    assert str(plane.repository) not in refused.text
    assert ask(plane) == [1, 2, 3]
    done.set()
    for each in clients:
        each.join()
    assert not wrong
    np.array([7, 8, 9], np.float32).tofile(weights)
    assert load(plane).status_code == 200
    assert ask(plane) == [7, 8, 9]
    plane.well()


def test_fault_154_labels_that_change_are_read_by_a_load(plane: InferencePlane) -> None:
    body = json.dumps(
        {
            "inputs": [{**_TENSOR, "data": [0, 0, 0]}],
            "outputs": [{"name": "y", "parameters": {"classification": 1}}],
        }
    ).encode()

    def best() -> str:
        answer = plane.http(request("POST", "/v2/models/weighted/infer", body))
        return str(json.loads(answer.body)["outputs"][0]["data"][0])

    np.array([1, 2, 3], np.float32).tofile(plane.repository / "weighted" / "1" / "w.bin")
    assert load(plane).status_code == 200
    assert best() == "3.000000:2:c"
    (plane.repository / "weighted" / "classes.txt").write_text("a\nb\nlast\n")
    assert best() == "3.000000:2:c"
    assert load(plane).status_code == 200
    assert best() == "3.000000:2:last"
    plane.well()


def test_fault_155_strays_stop_nothing(plane: InferencePlane) -> None:
    for name in ("lost+found", ".ipynb_checkpoints", "empty"):
        (plane.repository / name).mkdir(exist_ok=True)
    (plane.repository / "README.md").write_text("models of this site")
    index = httpx.post(f"{plane.base_url}/v2/repository/index", json={}, timeout=20.0)
    assert index.status_code == 200
    names = {entry["name"] for entry in index.json()}
    assert "good" in names
    assert names.isdisjoint({"lost+found", ".ipynb_checkpoints", "empty", "README.md"})
    refused = httpx.post(f"{plane.base_url}/v2/repository/models/empty/load", timeout=20.0)
    assert refused.status_code == 404
    index = httpx.post(f"{plane.base_url}/v2/repository/index", json={}, timeout=20.0)
    assert plane.log().count("ignored, being no models") == 1
    plane.well()


def test_fault_156_a_triton_model_is_loaded_or_told_what_is_wrong(plane: InferencePlane) -> None:
    model = plane.repository / "triton"
    artefact = model / "1" / "net.onnx"
    with_external_data(artefact / "net.onnx", "w.bin")
    np.array([1, 2, 3], np.float32).tofile(artefact / "w.bin")
    tensor = "data_type: TYPE_FP32\n dims: [ 3 ]"
    config = f"""default_model_filename: "net.onnx"
max_batch_size: 4
input [ {{ name: "x" {tensor} }} ]
output [ {{ name: "y" {tensor} }} ]
"""
    url = f"{plane.base_url}/v2/repository/models/triton/load"
    (model / "config.pbtxt").write_text(config + "sequence_batching { }\n")
    refused = httpx.post(url, timeout=20.0)
    assert refused.status_code == 503
    assert "config.pbtxt:7: sequence_batching: is not supported" in refused.text
    (model / "config.pbtxt").write_text(config.replace("[ 3 ]", "[ -1, 3 ]", 1))
    refused = httpx.post(url, timeout=20.0)
    assert refused.status_code == 503
    assert "config.pbtxt:4: input.0.dims: is [-1, 3]; the file has [3]" in refused.text
    (model / "config.pbtxt").write_text(config)
    loaded = httpx.post(url, timeout=20.0)
    assert loaded.status_code == 200, loaded.text
    told = httpx.get(f"{plane.base_url}/v2/models/triton/config").json()
    assert told["max_batch_size"] == 4
    assert over_http(plane, "triton") == [1, 2, 3]
    assert over_grpc(plane, "triton") == [1, 2, 3]
    plane.well()
