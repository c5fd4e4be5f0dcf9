"""Requests that come at the same time: each answer is its own, over both doors."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from app.api.grpc.proto import inference_pb2 as pb
from tests.faults.acts import INFER
from tests.faults.server import InferencePlane
from tests.faults.wire import request

pytestmark = pytest.mark.integration

CLIENTS = 32
ROUNDS = 20
SAMPLES = [1.0, 1.0, 1.0, 1.0]
SUMS = [1.0, 2.0, 3.0, 4.0]

_TENSOR = {"name": "x", "shape": [4], "datatype": "FP32"}


def over_http(plane: InferencePlane) -> list[float]:
    body = json.dumps({"inputs": [{**_TENSOR, "data": SAMPLES}]}).encode()
    answer = plane.http(request("POST", "/v2/models/running-sum/infer", body))
    assert answer.status == 200, answer.body
    found: list[float] = json.loads(answer.body)["outputs"][0]["data"]
    return found


def over_grpc(plane: InferencePlane) -> list[float]:
    raw = np.array(SAMPLES, np.float32).tobytes()
    message = pb.ModelInferRequest(model_name="running-sum", raw_input_contents=[raw])
    message.inputs.add(**_TENSOR)
    with plane.channel() as channel:
        told = channel.unary_unary(INFER)(message.SerializeToString(), timeout=10.0)
    answer = pb.ModelInferResponse.FromString(told).raw_output_contents[0]
    return list(np.frombuffer(answer, np.float32).tolist())


@pytest.mark.parametrize("ask", [over_http, over_grpc])
def test_fault_151_nobody_is_answered_with_another_ones_samples(
    plane: InferencePlane, ask: Callable[[InferencePlane], list[float]]
) -> None:
    with ThreadPoolExecutor(CLIENTS) as clients:
        for _ in range(ROUNDS):
            assert list(clients.map(ask, [plane] * CLIENTS)) == [SUMS] * CLIENTS
