"""The bytes of one request in each form a server takes, and whether an answer is right."""

import base64
import json
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks.models import BenchmarkModel

Encoding = Literal["json", "binary", "raw", "base64"]

TOLERANCE = 1e-3
DATATYPES = {"uint8": "UINT8", "float32": "FP32"}
_HEADER_LENGTH = "Inference-Header-Content-Length"


@dataclass(frozen=True)
class RequestBody:
    headers: dict[str, str]
    content: bytes


def build_body(model: BenchmarkModel, encoding: Encoding) -> RequestBody:
    """One request for `model.sample`.

    json: Open Inference Protocol. binary: its binary tensor data extension, as Triton defines it: a
    JSON header whose length stands in `Inference-Header-Content-Length`, then the little-endian
    bytes of the tensors; the answer is asked for in the same form. raw: the tensor's bytes alone.
    base64: the same as a string in JSON, for servers that take bytes in no other way.
    """
    if encoding == "json":
        return RequestBody({"Content-Type": "application/json"}, _json(_v2(model, data=True)))
    tensor = np.ascontiguousarray(model.sample).tobytes()
    if encoding == "binary":
        header = _json(_v2(model, data=False))
        headers = {
            "Content-Type": "application/octet-stream",
            _HEADER_LENGTH: str(len(header)),
        }
        return RequestBody(headers, header + tensor)
    if encoding == "raw":
        return RequestBody({"Content-Type": "application/octet-stream"}, tensor)
    content = _json({"tensor": base64.b64encode(tensor).decode()})
    return RequestBody({"Content-Type": "application/json"}, content)


def check_answer(model: BenchmarkModel, headers: dict[str, str], content: bytes) -> None:
    """Raises ValueError if this is not the answer to `model.sample`; header names in lower case."""
    answer = _decoded(headers, content)
    if answer.size != model.expected.size:
        raise ValueError(f"{answer.size} numbers instead of {model.expected.size}")
    if not np.allclose(answer.reshape(model.expected.shape), model.expected, atol=TOLERANCE):
        raise ValueError("not the numbers that ONNX Runtime computes")


def _v2(model: BenchmarkModel, *, data: bool) -> dict[str, object]:
    tensor: dict[str, object] = {
        "name": model.input,
        "datatype": DATATYPES[model.sample.dtype.name],
        "shape": model.sample.shape,
    }
    if data:
        flat = model.sample.ravel().tolist()
        tensor["data"] = [round(value, 4) for value in flat]
        return {"inputs": [tensor]}
    tensor["parameters"] = {"binary_data_size": model.sample.nbytes}
    output = {"name": model.output, "parameters": {"binary_data": True}}
    return {"inputs": [tensor], "outputs": [output]}


def _decoded(headers: dict[str, str], content: bytes) -> NDArray[np.generic]:
    if _HEADER_LENGTH.lower() in headers:
        return np.frombuffer(content[int(headers[_HEADER_LENGTH.lower()]) :], np.float32)
    if headers.get("content-type", "").startswith("application/octet-stream"):
        return np.frombuffer(content, np.float32)
    return np.asarray(json.loads(content)["outputs"][0]["data"], np.float32).ravel()


def _json(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()
