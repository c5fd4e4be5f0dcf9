from pathlib import Path

import numpy as np
import pytest

from app.api.grpc.proto import inference_pb2 as pb
from benchmarks.grpc_calls import build_call, check_reply, framed
from benchmarks.models import BenchmarkModel

MODEL = BenchmarkModel(
    name="m",
    file=Path("m/1/model.onnx"),
    input="x",
    output="y",
    sample=np.array([[1, 2, 3]], np.uint8),
    expected=np.array([[0.25, 0.75]], np.float32),
)


def test_a_call_holds_the_sample_as_raw_bytes_behind_its_length() -> None:
    body = framed(build_call(MODEL))
    assert body[0] == 0
    assert int.from_bytes(body[1:5], "big") == len(body) - 5
    request = pb.ModelInferRequest.FromString(body[5:])
    assert request.model_name == "m"
    assert (request.inputs[0].datatype, list(request.inputs[0].shape)) == ("UINT8", [1, 3])
    assert request.raw_input_contents == [b"\x01\x02\x03"]


def test_right_answers_pass_as_raw_bytes_and_as_numbers() -> None:
    raw = pb.ModelInferResponse(raw_output_contents=[MODEL.expected.tobytes()])
    check_reply(MODEL, raw.SerializeToString())
    typed = pb.ModelInferResponse()
    typed.outputs.add(name="y").contents.fp32_contents.extend([0.25, 0.75])
    check_reply(MODEL, typed.SerializeToString())


@pytest.mark.parametrize("numbers", [[0.75, 0.25], [0.25]])
def test_wrong_numbers_are_refused(numbers: list[float]) -> None:
    raw = np.array(numbers, np.float32).tobytes()
    reply = pb.ModelInferResponse(raw_output_contents=[raw]).SerializeToString()
    with pytest.raises(ValueError, match="numbers"):
        check_reply(MODEL, reply)
