"""One `ModelInfer` as bytes, and whether what comes back is right.

Service and messages: Open Inference Protocol, `inference.GRPCInferenceService`.
"""

import grpc
import numpy as np

from app.api.grpc.proto import inference_pb2 as pb
from app.api.grpc.servicer import SERVICE
from benchmarks.bodies import DATATYPES, TOLERANCE
from benchmarks.models import BenchmarkModel

PATH = f"/{SERVICE}/ModelInfer"
FRAME_HEADER_BYTES = 5
"""Before each message: a byte that says whether it is compressed, and its length in four."""


def build_call(model: BenchmarkModel) -> bytes:
    """The message for `model.sample`, its tensor as raw bytes."""
    request = pb.ModelInferRequest(model_name=model.name)
    tensor = request.inputs.add(name=model.input, datatype=DATATYPES[model.sample.dtype.name])
    tensor.shape.extend(model.sample.shape)
    request.raw_input_contents.append(np.ascontiguousarray(model.sample).tobytes())
    message: bytes = request.SerializeToString()
    return message


def framed(message: bytes) -> bytes:
    """The message as it stands in the body of an HTTP/2 request."""
    return b"\0" + len(message).to_bytes(4, "big") + message


def check_reply(model: BenchmarkModel, reply: bytes) -> None:
    """Raises ValueError if this is not the answer to `model.sample`."""
    answer = pb.ModelInferResponse.FromString(reply)
    if answer.raw_output_contents:
        numbers = np.frombuffer(answer.raw_output_contents[0], np.float32)
    else:
        numbers = np.asarray(answer.outputs[0].contents.fp32_contents, np.float32)
    if numbers.size != model.expected.size:
        raise ValueError(f"{numbers.size} numbers instead of {model.expected.size}")
    if not np.allclose(numbers.reshape(model.expected.shape), model.expected, atol=TOLERANCE):
        raise ValueError("not the numbers that ONNX Runtime computes")


def ask(address: str, model: BenchmarkModel, timeout_s: float = 30.0) -> int:
    """Call once with gRPC's own client; the length of a right answer, in bytes.

    Raises ValueError if the answer is wrong and grpc.RpcError if there is none.
    """
    with grpc.insecure_channel(address, [("grpc.max_receive_message_length", -1)]) as channel:
        reply: bytes = channel.unary_unary(PATH)(build_call(model), timeout=timeout_s)
    check_reply(model, reply)
    return len(reply)
