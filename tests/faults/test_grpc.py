"""Bad requests over gRPC: the same rows as over HTTP, where there is such a thing."""

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import grpc
import numpy as np
import pytest

from app.api.grpc.proto import inference_pb2 as pb
from tests.faults.answers import refused_call
from tests.faults.server import InferencePlane

pytestmark = pytest.mark.integration

SERVICE = "/inference.GRPCInferenceService"
Change = Callable[[pb.ModelInferRequest], object]


class Row(NamedTuple):
    """`data` is a serialized message to `call`."""

    number: int
    what: str
    data: bytes
    code: str
    words: tuple[str, ...] = ()
    call: str = "ModelInfer"

    def __str__(self) -> str:
        return f"fault_{self.number:03d} {self.what}"


def request(model: str = "identity", datatype: str = "FP32") -> pb.ModelInferRequest:
    """Good for `identity`: its input `x` of shape (1, 3) in typed contents."""
    message = pb.ModelInferRequest(model_name=model)
    tensor = message.inputs.add(name="x", datatype=datatype, shape=[1, 3])
    tensor.contents.fp32_contents.extend([1, 2, 3])
    return message


def raw(model: str, datatype: str, shape: list[int], data: bytes) -> pb.ModelInferRequest:
    message = pb.ModelInferRequest(model_name=model, raw_input_contents=[data])
    message.inputs.add(name="x", datatype=datatype, shape=shape)
    return message


def row(
    number: int,
    what: str,
    message: pb.ModelInferRequest,
    *words: str,
    change: Change | None = None,
    code: str = "INVALID_ARGUMENT",
) -> Row:
    if change is not None:
        change(message)
    return Row(number, what, message.SerializeToString(), code, words)


def shaped(number: int, what: str, shape: list[int], *words: str) -> Row:
    def change(message: pb.ModelInferRequest) -> None:
        del message.inputs[0].shape[:]
        message.inputs[0].shape.extend(shape)

    return row(number, what, request(), *words, change=change)


def typed(number: int, what: str, field: str, model: str, values: list[int], *words: str) -> Row:
    message = pb.ModelInferRequest(model_name=model)
    datatype = {"bytes8": "UINT8", "int64": "INT64", "flags": "BOOL"}[model]
    tensor = message.inputs.add(name="x", datatype=datatype, shape=[1, 2])
    getattr(tensor.contents, field).extend(values)
    return row(number, what, message, *words)


def named(number: int, what: str, model: str, version: str, code: str, *words: str) -> Row:
    message = request(model)
    message.model_version = version
    return row(number, what, message, *words, code=code)


def again(message: pb.ModelInferRequest) -> None:
    message.inputs.add().CopyFrom(message.inputs[0])


def output(name: str, count: int = 1) -> Change:
    def change(message: pb.ModelInferRequest) -> None:
        for _ in range(count):
            message.outputs.add(name=name)

    return change


def input_name(name: str) -> Change:
    return lambda message: setattr(message.inputs[0], "name", name)


ROWS: tuple[Row, ...] = (
    Row(1, "no message", b"\xff" * 20, "INVALID_ARGUMENT", ("ModelInferRequest",)),
    Row(1, "a truncated message", request().SerializeToString()[:-3], "INVALID_ARGUMENT"),
    Row(2, "an empty message", b"", "NOT_FOUND"),
    Row(4, "groups nested 250,000 deep", b"\x0b" * 250_000, "INVALID_ARGUMENT"),
    Row(5, "a name that is no UTF-8", b"\x0a\x02\xff\xfe", "INVALID_ARGUMENT"),
    row(7, "no inputs", pb.ModelInferRequest(model_name="identity"), "'x' is missing"),
    row(7, "no name", request(), "inputs[0].name", change=input_name("")),
    row(8, "an unknown input", request(), "'x' is missing", change=input_name("z")),
    row(
        8,
        "an extra input",
        request(),
        "'z' is not known",
        change=lambda m: m.inputs.add(name="z", datatype="BOOL", shape=[0]),
    ),
    row(9, "the same input twice", request(), "twice", change=again),
    row(9, "an output twice", request(), "twice", change=output("y", 2)),
    row(10, "an unknown output", request(), "'z'", change=output("z")),
    row(11, "100,000 outputs", request(), "outputs", change=output("y", 100_000)),
    row(
        11,
        "100,000 inputs",
        request(),
        "inputs",
        change=lambda m: m.inputs.extend([m.inputs[0]] * 99_999),
    ),
    row(12, "datatype FP33", request(datatype="FP33"), "FP33"),
    row(12, "another datatype", request(datatype="FP64"), "fp64_contents"),
    row(12, "another raw datatype", raw("identity", "FP64", [1, 3], bytes(24)), "expected FP32"),
    row(12, "no datatype", request(datatype=""), "datatype"),
    row(12, "raw and typed", request(), change=lambda m: m.raw_input_contents.append(bytes(12))),
    shaped(13, "rank 1", [3], "expected [-1, 3]"),
    shaped(13, "rank 3", [1, 1, 3], "expected [-1, 3]"),
    shaped(13, "rank 33", [1] * 33, "shape"),
    shaped(13, "another fixed dim", [3, 1], "expected [-1, 3]"),
    shaped(14, "a negative dim", [-1, 3], "inputs[0].shape"),
    shaped(14, "the least dim", [-(2**63), 3], "inputs[0].shape"),
    shaped(15, "a product beyond 64 bits", [2**4, 2**60 + 2], "shape"),
    shaped(15, "dims of 2^62", [2**62] * 8, "shape"),
    shaped(16, "10^9 elements said", [10**9], "shape"),
    shaped(16, "10^7 elements said", [10**7], "3 elements"),
    shaped(17, "shorter data", [2, 3], "3 elements"),
    shaped(17, "longer data", [1, 2], "3 elements"),
    row(18, "no rows", raw("identity", "FP32", [0, 3], b""), "0 rows"),
    typed(19, "300 for UINT8", "uint_contents", "bytes8", [1, 300], "300 is out of range"),
    typed(19, "a number in a field of another type", "int_contents", "int64", [1, 2], "int64"),
    row(20, "a length of three bytes", raw("text", "BYTES", [1, 2], b"\1\0\0"), "too few"),
    row(
        20,
        "a length past the end",
        raw("text", "BYTES", [1, 2], b"\1\0\0\0a\xff\xff\xff\x7fb"),
        "said to end",
    ),
    row(20, "a BOOL of 2", raw("flags", "BOOL", [1, 2], b"\1\2"), "0 or 1"),
    row(22, "one raw byte too few", raw("identity", "FP32", [1, 3], bytes(11)), "needs 12"),
    row(22, "one raw byte too many", raw("identity", "FP32", [1, 3], bytes(13)), "needs 12"),
    row(
        22,
        "raw contents of no input",
        raw("identity", "FP32", [1, 3], bytes(12)),
        "raw_input_contents",
        change=lambda m: m.raw_input_contents.append(bytes(12)),
    ),
    row(23, "33 rows", raw("identity", "FP32", [33, 3], bytes(396)), "33 rows"),
    row(23, "2 rows for a fixed batch", raw("fixed", "FP32", [2, 3], bytes(24)), "expected [1, 3]"),
    named(24, "an unknown model", "nowhere", "", "NOT_FOUND", "nowhere"),
    named(25, "an unknown version", "identity", "99", "NOT_FOUND", "'99'"),
    named(25, "one that is not served", "identity", "1", "NOT_FOUND", "'1'"),
    *(
        named(25, f"version {version!r}", "identity", version, "INVALID_ARGUMENT", "version")
        for version in ("0", "-1", "01", "../1", "1\n", "9" * 20, "٣")
    ),
    *(
        named(26, f"the name {what}", name, "", "NOT_FOUND")
        for what, name in (
            ("..", ".."),
            ("../good", "../good"),
            ("NUL", "good\0"),
            ("with a newline", "x\nforged"),
            ("of 10 kB", "m" * 10_000),
            ("with an emoji", "\U0001f41f"),
        )
    ),
    Row(
        26,
        "a load of ../good",
        pb.RepositoryModelLoadRequest(model_name="../good").SerializeToString(),
        "NOT_FOUND",
        call="RepositoryModelLoad",
    ),
    named(27, "while loading", "loading", "", "UNAVAILABLE", "loading"),
    named(28, "a damaged model", "damaged", "", "UNAVAILABLE", "failed"),
    Row(
        28,
        "load of a damaged model",
        pb.RepositoryModelLoadRequest(model_name="damaged").SerializeToString(),
        "UNAVAILABLE",
        call="RepositoryModelLoad",
    ),
    Row(38, "a call that is not there", b"", "UNIMPLEMENTED", call="ModelExplain"),
)


@pytest.fixture
def channel(plane: InferencePlane) -> Iterator[grpc.Channel]:
    with plane.channel() as opened:
        yield opened


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_fault(plane: InferencePlane, channel: grpc.Channel, row: Row) -> None:
    call = channel.unary_unary(f"{SERVICE}/{row.call}")
    started = time.monotonic()
    with plane.peak_within(64.0), pytest.raises(grpc.RpcError) as raised:
        call(row.data, timeout=5.0)
    assert time.monotonic() - started < 2.0
    refused_call(raised.value, row.code, *row.words)
    plane.well()


def test_fault_020_zero_bytes_in_a_text_come_back(
    plane: InferencePlane, channel: grpc.Channel
) -> None:
    data = b"\x03\0\0\0a\0b\x02\0\0\0\0c"
    message = raw("text", "BYTES", [1, 2], data)
    answer = channel.unary_unary(f"{SERVICE}/ModelInfer")(message.SerializeToString())
    assert pb.ModelInferResponse.FromString(answer).raw_output_contents[0] == data
    plane.well()


def test_fault_018_no_elements_for_a_model_that_allows_it(
    plane: InferencePlane, channel: grpc.Channel
) -> None:
    message = raw("vector", "FP32", [0], b"")
    answer = channel.unary_unary(f"{SERVICE}/ModelInfer")(message.SerializeToString())
    assert list(pb.ModelInferResponse.FromString(answer).outputs[0].shape) == [0]
    plane.well()


def test_an_error_in_a_stream_ends_no_stream(plane: InferencePlane, channel: grpc.Channel) -> None:
    """Every bad request of the table, one after the other, and a good one behind them."""
    bad = [row.data for row in ROWS if row.call == "ModelInfer"]
    good = request().SerializeToString()
    stream = channel.stream_stream(f"{SERVICE}/ModelStreamInfer")
    answers = [
        pb.ModelStreamInferResponse.FromString(data)
        for data in stream(iter([*bad, good]), timeout=30.0)
    ]
    assert len(answers) == len(bad) + 1
    errors = [answer.error_message for answer in answers if answer.error_message]
    assert len(errors) == len(bad)
    told = next(answer.infer_response for answer in answers if not answer.error_message)
    assert np.frombuffer(told.raw_output_contents[0], np.float32).tolist() == [1, 2, 3]
    plane.well()
