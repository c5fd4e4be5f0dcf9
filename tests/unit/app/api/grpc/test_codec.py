import struct
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from app.api.grpc.codec import decode_request, encode_response, parse_request, streamed
from app.api.grpc.proto import inference_pb2 as pb
from app.config.limits import DEFAULT, Limits
from app.errors import InvalidInput
from app.formats.datatypes import DTYPES, datatype_of
from app.types import Array, InferenceRequest, InferenceResponse

TYPED = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
NUMBERS = [name for name in DTYPES if name not in ("BYTES", "BF16")]
SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)


def message(*tensors: tuple[str, str, list[int]]) -> pb.ModelInferRequest:
    request = pb.ModelInferRequest(model_name="m")
    for name, datatype, shape in tensors:
        request.inputs.add(name=name, datatype=datatype, shape=shape)
    return request


def decoded(request: pb.ModelInferRequest, limits: Limits = DEFAULT) -> InferenceRequest:
    return decode_request(parse_request(request.SerializeToString()), None, limits).request


def answer(**outputs: Array) -> pb.ModelInferResponse:
    response = InferenceResponse("m", "1", outputs, "i")
    return pb.ModelInferResponse.FromString(encode_response(response))


@given(st.data(), st.sampled_from(NUMBERS), SHAPES)
def test_raw_tensors_go_in_and_out_unchanged(
    data: st.DataObject, datatype: str, shape: tuple[int, ...]
) -> None:
    array = data.draw(hnp.arrays(DTYPES[datatype], shape))
    answered = answer(y=array)
    assert answered.outputs[0].datatype == datatype
    assert tuple(answered.outputs[0].shape) == shape
    request = message(("x", datatype, list(shape)))
    request.raw_input_contents.append(answered.raw_output_contents[0])
    back = decoded(request).inputs["x"]
    assert back.dtype == array.dtype
    assert back.tobytes() == array.tobytes()
    assert back.shape == shape


@given(st.data(), st.sampled_from(sorted(TYPED)), SHAPES)
def test_typed_contents_become_the_array_they_say(
    data: st.DataObject, datatype: str, shape: tuple[int, ...]
) -> None:
    if datatype == "BYTES":
        array = data.draw(hnp.arrays(np.object_, shape, elements=st.binary(max_size=9), fill=None))
    else:
        array = data.draw(hnp.arrays(DTYPES[datatype], shape))
    request = message(("x", datatype, list(shape)))
    getattr(request.inputs[0].contents, TYPED[datatype]).extend(array.ravel().tolist())
    back = decoded(request).inputs["x"]
    assert datatype_of(back.dtype) == datatype
    assert back.shape == shape
    np.testing.assert_array_equal(back, array)


def test_bytes_have_their_length_before_them() -> None:
    elements = np.empty(2, np.object_)
    elements[:] = [b"ab\x00", b""]
    raw = answer(y=elements).raw_output_contents[0]
    assert raw == struct.pack("<I", 3) + b"ab\x00" + struct.pack("<I", 0)
    request = message(("x", "BYTES", [2]))
    request.raw_input_contents.append(raw)
    assert decoded(request).inputs["x"].tolist() == [b"ab\x00", b""]


@pytest.mark.parametrize("size", [0, 1, 127, 128, 300, 70_000])
def test_an_answer_of_any_size_is_a_whole_message(size: int) -> None:
    response = InferenceResponse("m", "3", {"a": np.zeros(size, np.uint8), "b": np.ones(1)}, "i")
    encoded = encode_response(response)
    read = pb.ModelStreamInferResponse.FromString(streamed(encoded)).infer_response
    assert read.parameters.pop("triton_final_response").bool_param is True
    assert read == pb.ModelInferResponse.FromString(encoded)
    assert (read.model_name, read.model_version, read.id) == ("m", "3", "i")
    assert [len(raw) for raw in read.raw_output_contents] == [size, 8]


def test_a_raw_input_is_not_written_to_and_a_view_of_an_output_is_packed() -> None:
    strided = np.arange(12, dtype=np.int32).reshape(3, 4)[:, ::2]
    raw = answer(y=strided).raw_output_contents[0]
    assert np.frombuffer(raw, np.int32).tolist() == [0, 2, 4, 6, 8, 10]
    request = message(("x", "INT32", [3, 2]))
    request.raw_input_contents.append(raw)
    assert not decoded(request).inputs["x"].flags.writeable


def test_names_ids_and_parameters_are_told() -> None:
    request = message()
    request.id, request.model_version = "42", "3"
    request.parameters["a"].int64_param = 5
    request.parameters["b"].string_param = "x"
    request.parameters["c"].bool_param = True
    request.parameters["d"].double_param = 0.5
    request.outputs.add(name="y").parameters["classification"].int64_param = 2
    call = decode_request(request, 7.0, DEFAULT)
    assert call.request.parameters == {"a": 5, "b": "x", "c": True, "d": 0.5}
    assert (call.request.id, call.request.version, call.request.deadline) == ("42", "3", 7.0)
    assert call.request.outputs == ("y",)
    assert call.classes == {"y": 2}


def test_the_parameter_timeout_is_in_microseconds() -> None:
    request = message()
    request.parameters["timeout"].int64_param = 2_000_000
    before = time.monotonic()
    deadline = decode_request(request, before + 30, DEFAULT).request.deadline
    assert deadline is not None
    assert before + 2 <= deadline <= time.monotonic() + 2
    assert decode_request(request, before + 1, DEFAULT).request.deadline == before + 1
    request.parameters["timeout"].int64_param = 0
    assert decode_request(request, None, DEFAULT).request.deadline is None


def with_raw(request: pb.ModelInferRequest, *raw: bytes) -> pb.ModelInferRequest:
    request.raw_input_contents.extend(raw)
    return request


def with_contents(request: pb.ModelInferRequest, **contents: list[int]) -> pb.ModelInferRequest:
    made = pb.InferTensorContents(**contents)  # type: ignore[arg-type]  # the field says its type
    request.inputs[0].contents.CopyFrom(made)
    return request


def with_parameter(request: pb.ModelInferRequest, name: str, value: int) -> pb.ModelInferRequest:
    request.parameters[name].int64_param = value
    return request


def of_shared_memory() -> pb.ModelInferRequest:
    request = message(("x", "FP32", [1]))
    request.inputs[0].parameters["shared_memory_region"].string_param = "r"
    return request


X = ("x", "FP32", [2])
BAD: list[tuple[pb.ModelInferRequest, str]] = [
    (with_raw(message(X, X), b"12345678", b"12345678"), "inputs[1].name"),
    (with_raw(message(X), b"1234567"), "raw_input_contents[0]"),
    (with_raw(message(X), b"123456789"), "raw_input_contents[0]"),
    (with_raw(message(X), b"12345678", b""), "raw_input_contents"),
    (with_raw(message(X, ("y", "FP32", [0])), b"12345678"), "raw_input_contents"),
    (with_raw(with_contents(message(X), fp32_contents=[1, 2]), b"12345678"), "contents"),
    (message(("", "FP32", [1])), "inputs[0].name"),
    (message(("x", "FP33", [1])), "FP33"),
    (message(("x", "", [1])), "inputs[0].datatype"),
    (message(("x", "FP32", [-1])), "-1"),
    (message(("x", "FP32", [16, 2**60 + 2])), "elements"),
    (message(("x", "FP32", [10**9])), "elements"),
    (message(("x", "FP32", [1] * 33)), "inputs[0].shape"),
    (message(X), "has 0 elements"),
    (with_contents(message(X), fp32_contents=[1, 2, 3]), "has 3 elements"),
    (with_contents(message(X), int_contents=[1, 2]), "int_contents"),
    (with_contents(message(("x", "UINT8", [2])), uint_contents=[1, 300]), "300"),
    (with_contents(message(("x", "INT8", [2])), int_contents=[1, -129]), "-129"),
    (with_contents(message(("x", "FP16", [2])), fp32_contents=[1, 2]), "raw"),
    (with_raw(message(("x", "BYTES", [1])), b"\x05\x00\x00\x00ab"), "raw_input_contents[0]"),
    (with_raw(message(("x", "BYTES", [1])), b"\x01\x00"), "raw_input_contents[0]"),
    (with_raw(message(("x", "BYTES", [1])), b"\x01\x00\x00\x00ab"), "raw_input_contents[0]"),
    (with_raw(message(("x", "BOOL", [1])), b"\x02"), "BOOL"),
    (message(*[(str(index), "FP32", [0]) for index in range(257)]), "more than 256"),
    (with_parameter(message(), "timeout", -1), "timeout"),
    (of_shared_memory(), "shared_memory_byte_size"),
]


@pytest.mark.parametrize(("request_", "named"), BAD)
def test_what_is_wrong_is_named(request_: pb.ModelInferRequest, named: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        decoded(request_)
    assert named in str(raised.value)


def test_fault_011_too_many_outputs_are_refused() -> None:
    request = message()
    for index in range(100_000):
        request.outputs.add(name=str(index))
    with pytest.raises(InvalidInput, match="more than 256"):
        decoded(request)


@pytest.mark.parametrize("count", [-1, 1.5])
def test_a_number_of_classes_is_a_whole_number(count: float) -> None:
    request = message()
    parameter = request.outputs.add(name="y").parameters["classification"]
    if isinstance(count, int):
        parameter.int64_param = count
    else:
        parameter.double_param = count
    with pytest.raises(InvalidInput, match="classification"):
        decoded(request)


@given(st.binary(max_size=200))
def test_fault_047_any_bytes_are_a_request_or_are_refused(data: bytes) -> None:
    try:
        request = decode_request(parse_request(data), None, DEFAULT).request
    except InvalidInput:
        return
    assert len(request.inputs) <= DEFAULT.tensors
