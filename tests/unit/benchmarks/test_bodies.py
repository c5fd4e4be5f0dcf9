import base64
import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.bodies import build_body, check_answer
from benchmarks.models import BenchmarkModel

MODEL = BenchmarkModel(
    name="m",
    file=Path("m/1/model.onnx"),
    input="x",
    output="y",
    sample=np.array([[1, 2, 3]], np.uint8),
    expected=np.array([[0.25, 0.75]], np.float32),
)


def test_json_body_holds_the_sample() -> None:
    document = json.loads(build_body(MODEL, "json").content)
    tensor = {"name": "x", "datatype": "UINT8", "shape": [1, 3], "data": [1, 2, 3]}
    assert document == {"inputs": [tensor]}


def test_binary_body_is_a_header_of_the_stated_length_and_the_bytes() -> None:
    body = build_body(MODEL, "binary")
    length = int(body.headers["Inference-Header-Content-Length"])
    header = json.loads(body.content[:length])
    assert header["inputs"][0]["parameters"] == {"binary_data_size": 3}
    assert "data" not in header["inputs"][0]
    assert header["outputs"] == [{"name": "y", "parameters": {"binary_data": True}}]
    assert body.content[length:] == b"\x01\x02\x03"


def test_base64_body_holds_the_bytes() -> None:
    document = json.loads(build_body(MODEL, "base64").content)
    assert base64.b64decode(document["tensor"]) == b"\x01\x02\x03"


def test_right_answers_pass_in_every_form() -> None:
    tensor = {"name": "y", "datatype": "FP32", "shape": [1, 2], "data": [0.25, 0.75]}
    content = json.dumps({"outputs": [tensor]}).encode()
    check_answer(MODEL, {"content-type": "application/json"}, content)
    header = b'{"outputs":[]}'
    headers = {"inference-header-content-length": str(len(header))}
    check_answer(MODEL, headers, header + MODEL.expected.tobytes())
    raw = {"content-type": "application/octet-stream"}
    check_answer(MODEL, raw, MODEL.expected.tobytes())


@pytest.mark.parametrize("data", [[0.75, 0.25], [0.25, 0.75, 0.0], [float("nan"), 0.75]])
def test_wrong_numbers_are_refused(data: list[float]) -> None:
    content = json.dumps({"outputs": [{"name": "y", "data": data}]}).encode()
    with pytest.raises(ValueError, match="numbers"):
        check_answer(MODEL, {"content-type": "application/json"}, content)
