"""Raw tensors. Rows are those of the project's table of faults."""

import tracemalloc

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from app.api.codec.binary_data import decode_raw, encode_raw
from app.api.codec.requests import AnswerForm, decode_request, encode_response
from app.config.limits import Limits
from app.errors import InvalidInput
from app.formats.datatypes import DTYPES, datatype_of, float32_to_bf16
from app.types import Array, InferenceRequest, InferenceResponse

BINARY = AnswerForm(binary=True)


def announced(raw: bytes, size: object = None, **changes: object) -> dict[str, object]:
    """One input of two FP32, said to be in `raw`."""
    options = {"binary_data_size": len(raw) if size is None else size}
    good = {"name": "x", "datatype": "FP32", "shape": [2], "parameters": options}
    return good | changes


def decode(inputs: list[dict[str, object]], raw: bytes, limits: Limits | None = None) -> Array:
    header = orjson.dumps({"inputs": inputs})
    return request_of(header, raw, limits).inputs["x"]


def request_of(header: bytes, raw: bytes, limits: Limits | None = None) -> InferenceRequest:
    return decode_request(
        "m", None, header + raw, header_length=len(header), limits=limits or Limits()
    ).request


def any_array() -> st.SearchStrategy[Array]:
    shapes = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
    plain = [dtype for dtype in DTYPES.values() if dtype.kind not in "OV"]
    arrays = st.sampled_from(plain).flatmap(lambda dtype: hnp.arrays(dtype, shapes))
    halves = hnp.arrays(np.float32, shapes).map(float32_to_bf16)
    texts = shapes.flatmap(
        lambda shape: hnp.arrays(np.object_, shape, elements=st.binary(max_size=5))
    )
    return st.one_of(arrays, halves, texts)


@given(any_array(), st.integers(0, 7))
def test_what_is_encoded_decodes_to_the_same_bytes(array: Array, offset: int) -> None:
    """Every datatype, NaN and infinities too, wherever in memory the bytes happen to begin."""
    raw = bytes(encode_raw(array))
    place = memoryview(bytes(offset) + raw)[offset:]
    again = decode_raw(place, datatype_of(array.dtype), array.shape, "x")
    assert again.dtype == array.dtype
    assert again.shape == array.shape
    assert again.flags.aligned
    if array.dtype == np.object_:
        assert again.tolist() == array.tolist()
    else:
        assert again.tobytes() == array.tobytes()


@given(any_array())
def test_a_response_can_be_sent_as_a_request(array: Array) -> None:
    response = InferenceResponse("m", "1", {"x": array, "n": np.arange(2)})
    body, length = encode_response(response, AnswerForm(by_output={"x": True}))
    assert length is not None
    answer = orjson.loads(body[:length])
    assert "data" not in answer["outputs"][0]
    assert answer["outputs"][1]["data"] == [0, 1]
    header = orjson.dumps({"inputs": answer["outputs"]})
    again = request_of(header, body[length:]).inputs
    assert again["x"].dtype == array.dtype
    assert bytes(encode_raw(again["x"])) == bytes(encode_raw(array))


def test_aligned_values_are_not_copied_where_they_are_many() -> None:
    body = np.arange(4, dtype=np.float32).tobytes()
    array = decode_raw(memoryview(body), "FP32", (2, 2), "x")
    assert array.base is not None
    assert not array.flags.owndata
    outputs = np.arange(2000, dtype=np.float32)
    assert np.shares_memory(np.frombuffer(encode_raw(outputs), np.uint8), outputs)


def test_outputs_of_any_layout_are_sent_in_row_order_and_little_endian() -> None:
    turned = np.arange(6, dtype=np.int16).reshape(2, 3).T
    assert bytes(encode_raw(turned)) == np.array([0, 3, 1, 4, 2, 5], "<i2").tobytes()
    assert bytes(encode_raw(np.array([1, 2], ">i4"))) == np.array([1, 2], "<i4").tobytes()


def test_form_of_bytes() -> None:
    array = np.array([b"ab", b"", b"\0"], dtype=object)
    assert encode_raw(array) == b"\x02\0\0\0ab" + bytes(4) + b"\x01\0\0\0\0"
    assert encode_raw(np.array(["ü"])) == b"\x02\0\0\0" + "ü".encode()


def test_all_outputs_or_one_may_be_binary() -> None:
    response = InferenceResponse("m", "1", {"a": np.zeros(1, np.int8), "b": np.ones(2, np.int8)})
    body, length = encode_response(response, BINARY)
    assert length is not None
    assert body[length:] == b"\0\1\1"
    body, length = encode_response(response, AnswerForm(True, by_output={"a": False}))
    assert length is not None
    assert body[length:] == b"\1\1"


def test_inputs_in_both_forms_side_by_side() -> None:
    raw = np.array([1.5, 2.5], "<f4").tobytes()
    plain = {"name": "n", "datatype": "INT32", "shape": [1], "data": [7]}
    header = orjson.dumps({"inputs": [plain, announced(raw), announced(raw, name="y")]})
    inputs = request_of(header, raw + raw).inputs
    assert [inputs[name].tolist() for name in "nxy"] == [[7], [1.5, 2.5], [1.5, 2.5]]


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"\x05\0\0\0abcd" + bytes(4), "element 0 is said to end at byte 9|element 1"),
        (b"\xff\xff\xff\xffabcd", "said to end at byte 4294967299 of 8"),
        (b"\x01\0\0\0a\0\0\0", "ends before element 1"),
        (b"\x01\0\0\0", "4 bytes are too few for the 2 elements"),
        (b"", "0 bytes are too few"),
        (b"\x01\0\0\0a\x01\0\0\0bcd", "2 bytes follow the last of 2 elements"),
    ],
)
def test_fault_020_bad_length_prefixes(raw: bytes, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        decode([announced(raw, datatype="BYTES")], raw)


def test_fault_020_embedded_zero_bytes_stay() -> None:
    raw = b"\x03\0\0\0a\0b" + bytes(4)
    assert decode([announced(raw, datatype="BYTES")], raw).tolist() == [b"a\0b", b""]


@pytest.mark.parametrize("length", [7, 9, 0])
def test_fault_022_size_that_is_not_that_of_the_shape(length: int) -> None:
    raw = bytes(length)
    with pytest.raises(
        InvalidInput, match=rf"binary_data_size: has {length} bytes but shape \[2\]"
    ):
        decode([announced(raw)], raw)


def test_fault_022_sizes_beyond_the_body() -> None:
    raw = bytes(12)
    with pytest.raises(InvalidInput, match=r"inputs\[1\].*: 8 bytes, but 4 are left"):
        decode([announced(raw, size=8), announced(raw, size=8, name="y")], raw)


@pytest.mark.parametrize("size", [-1, 8.0, "8", True, 10**30])
def test_fault_022_sizes_that_are_no_sizes(size: object) -> None:
    header = orjson.dumps({"inputs": [announced(b"", size=0)]})
    text = b"%d" % size if type(size) is int else orjson.dumps(size)
    header = header.replace(b'"binary_data_size":0', b'"binary_data_size":' + text)
    with pytest.raises(InvalidInput, match="binary_data_size"):
        request_of(header, bytes(8))


def test_fault_022_bytes_that_belong_to_no_input() -> None:
    with pytest.raises(InvalidInput, match="1 bytes that belong to no input"):
        decode([announced(bytes(8))], bytes(9))


def test_fault_022_data_twice() -> None:
    raw = bytes(8)
    with pytest.raises(InvalidInput, match="must not be there beside"):
        decode([announced(raw, data=[1, 2])], raw)


def test_a_bool_is_zero_or_one() -> None:
    assert decode([announced(b"\1\0", datatype="BOOL")], b"\1\0").tolist() == [True, False]
    with pytest.raises(InvalidInput, match="0 or 1"):
        decode([announced(b"\1\2", datatype="BOOL")], b"\1\2")


@pytest.mark.parametrize("shape", [[2, 2, 2, 2, 2**60 + 2], [10**9], [2**63, 2**63]])
@pytest.mark.parametrize("datatype", ["FP32", "BYTES"])
def test_fault_015_and_016_huge_shapes_are_refused_before_allocation(
    shape: list[int], datatype: str
) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(InvalidInput, match=r"inputs\[0\]\.shape"):
            decode([announced(bytes(8), shape=shape, datatype=datatype)], bytes(8))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000


@given(st.binary(max_size=40), st.sampled_from(list(DTYPES)), st.lists(st.integers(0, 3)))
def test_any_bytes_are_read_as_announced_or_refused(
    raw: bytes, datatype: str, shape: list[int]
) -> None:
    try:
        array = decode_raw(memoryview(raw), datatype, tuple(shape), "x")
    except InvalidInput:
        return
    assert array.shape == tuple(shape)
    assert bytes(encode_raw(array)) == raw
