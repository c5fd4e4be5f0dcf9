"""Requests to the model that does what it is told, over either door."""

import base64
import json
from collections.abc import Callable
from typing import NamedTuple

import grpc
import numpy as np

from app.api.grpc.proto import inference_pb2 as pb
from tests.faults.answers import REQUEST_ID, identified, refused, refused_call
from tests.faults.server import InferencePlane
from tests.faults.wire import request

INFER = "/inference.GRPCInferenceService/ModelInfer"
WAIT_SECONDS = 30.0


class Told(NamedTuple):
    """An answer of either door in the words of HTTP; `value` is that of `y`, None for an error."""

    status: int
    value: float | None
    text: str


Ask = Callable[..., Told]
"""`(plane, model, act, timeout_us=0)`: 0 asks for no deadline but the server's own."""

CODES = {"INTERNAL": 500, "UNAVAILABLE": 503, "DEADLINE_EXCEEDED": 504, "NOT_FOUND": 404}


def over_http(plane: InferencePlane, model: str, act: str, timeout_us: int = 0) -> Told:
    path = f"/v2/models/{model}/infer"
    answer = plane.http(http_request(model, act, timeout_us))
    identified(answer)
    if answer.status != 200:
        refused(answer, path, answer.status)
        return Told(answer.status, None, json.loads(answer.body)["error"])
    length = int(answer.headers["inference-header-content-length"])
    raw = answer.body[length:]
    return Told(200, float(np.frombuffer(raw, np.float32)[0]), base64.b64encode(raw).decode())


def http_request(model: str, act: str, timeout_us: int = 0) -> bytes:
    document = {
        "inputs": [{"name": "act", "shape": [1], "datatype": "BYTES", "data": [act]}],
        "parameters": {"timeout": timeout_us, "binary_data_output": True},
    }
    headers = {"x-request-id": REQUEST_ID}
    return request("POST", f"/v2/models/{model}/infer", json.dumps(document).encode(), headers)


def over_grpc(plane: InferencePlane, model: str, act: str, timeout_us: int = 0) -> Told:
    with plane.channel() as channel:
        try:
            answer = channel.unary_unary(INFER)(
                grpc_message(model, act, timeout_us), timeout=WAIT_SECONDS
            )
        except grpc.RpcError as error:
            refused_call(error, error.code().name)
            return Told(CODES[error.code().name], None, error.details())
    raw = pb.ModelInferResponse.FromString(answer).raw_output_contents[0]
    return Told(200, float(np.frombuffer(raw, np.float32)[0]), base64.b64encode(raw).decode())


def grpc_message(model: str, act: str, timeout_us: int = 0) -> bytes:
    message = pb.ModelInferRequest(model_name=model)
    tensor = message.inputs.add(name="act", datatype="BYTES", shape=[1])
    tensor.contents.bytes_contents.append(act.encode())
    message.parameters["timeout"].int64_param = timeout_us
    data: bytes = message.SerializeToString()
    return data
