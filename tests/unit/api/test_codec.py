"""JSON bodies of the Open Inference Protocol. Rows are those of the project's table of faults."""

import contextlib
import tracemalloc
from collections.abc import Mapping

import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from app.api.codec import decode_request
from app.api.codec import encode_response as encode_answer
from app.api.descriptions import MAX_LABELS, encode_metadata
from app.datatypes import DTYPES, bf16_to_float32
from app.errors import InvalidInput
from app.limits import DEFAULT
from app.types import Array, InferenceRequest, InferenceResponse, ModelMetadata, TensorSpec

VALUES: Mapping[str, list[object]] = {
    "BOOL": [True, False],
    "UINT8": [0, 255],
    "UINT16": [0, 2**16 - 1],
    "UINT32": [0, 2**32 - 1],
    "UINT64": [0, 2**64 - 1],
    "INT8": [-128, 127],
    "INT16": [-(2**15), 2**15 - 1],
    "INT32": [-(2**31), 2**31 - 1],
    "INT64": [-(2**63), 2**63 - 1],
    "FP16": [0.5, -2.0],
    "FP32": [1.5, -3.25],
    "FP64": [0.1, -1e300],
    "BF16": [0.5, -2.0],
    "BYTES": ["a\0b", "ü€😀"],
}


def tensor(**changes: object) -> dict[str, object]:
    """One good input, with `changes`."""
    return {"name": "x", "datatype": "FP32", "shape": [2], "data": [1, 2.5]} | changes


def decode(body: object) -> InferenceRequest:
    return decode_request(
        "m", None, body if isinstance(body, bytes) else orjson.dumps(body)
    ).request


def encode_response(response: InferenceResponse) -> bytes:
    answer = encode_answer(response)
    assert answer.header_length is None
    return answer.body


def decode_tensor(**changes: object) -> Array:
    return decode({"inputs": [tensor(**changes)]}).inputs["x"]


def refused(body: object, reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason):
        decode(body)


def tensor_refused(reason: str, **changes: object) -> None:
    refused({"inputs": [tensor(**changes)]}, reason)


@pytest.mark.parametrize("datatype", DTYPES)
def test_every_datatype_is_read_flat_and_nested(datatype: str) -> None:
    values = VALUES[datatype]
    expected = [v.encode() if isinstance(v, str) else v for v in values]
    for shape, data in (([2], values), ([1, 2], [values]), ([2, 1], [[v] for v in values])):
        array = decode_tensor(datatype=datatype, shape=shape, data=data)
        assert array.dtype == DTYPES[datatype]
        assert array.shape == tuple(shape)
        if datatype == "BF16":
            array = bf16_to_float32(array)
        assert array.ravel().tolist() == expected


def test_flat_data_takes_any_shape_of_its_size() -> None:
    assert decode_tensor(shape=[2, 3], data=[1, 2, 3, 4, 5, 6]).tolist() == [[1, 2, 3], [4, 5, 6]]
    assert decode_tensor(shape=[], data=[7]).shape == ()


def test_whole_numbers_are_exact_on_both_sides_of_two_to_the_63() -> None:
    values = [1, 2**63, 2**64 - 1]
    assert decode_tensor(datatype="UINT64", shape=[3], data=values).tolist() == values


def test_the_rest_of_a_request_is_kept() -> None:
    body = {
        "id": "7",
        "parameters": {"priority": 1},
        "inputs": [tensor()],
        "outputs": [{"name": "b"}, {"name": "a"}],
    }
    request = decode_request("m", "3", orjson.dumps(body), deadline=5.0).request
    assert (request.model, request.version, request.id, request.deadline) == ("m", "3", "7", 5.0)
    assert request.outputs == ("b", "a")
    assert request.parameters == {"priority": 1}


def any_array() -> st.SearchStrategy[Array]:
    numbers = st.sampled_from([dtype for dtype in DTYPES.values() if dtype.kind not in "OV"])
    shapes = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
    finite = {"allow_nan": False, "allow_infinity": False}
    arrays = numbers.flatmap(
        lambda dtype: hnp.arrays(
            dtype, shapes, elements=finite if dtype.kind == "f" else None, fill=st.nothing()
        )
    )
    texts = shapes.flatmap(
        lambda shape: hnp.arrays(np.object_, shape, elements=st.text(max_size=5).map(str.encode))
    )
    return st.one_of(arrays, texts)


@settings(suppress_health_check=[HealthCheck.too_slow])  # on a busy machine every draw is slow
@given(any_array())
def test_what_is_encoded_decodes_to_the_same(array: Array) -> None:
    answer = orjson.loads(encode_response(InferenceResponse("m", "1", {"x": array})))
    again = decode({"inputs": answer["outputs"]}).inputs["x"]
    assert again.dtype == array.dtype
    assert again.shape == array.shape
    assert again.tolist() == array.tolist()


def test_response_names_model_version_and_request() -> None:
    outputs = {"b": np.zeros((1, 2), np.int32), "a": np.ones(1, np.bool_)}
    answer = orjson.loads(encode_response(InferenceResponse("m", "2", outputs, id="7")))
    assert answer == {
        "model_name": "m",
        "model_version": "2",
        "id": "7",
        "outputs": [
            {"name": "b", "datatype": "INT32", "shape": [1, 2], "data": [0, 0]},
            {"name": "a", "datatype": "BOOL", "shape": [1], "data": [True]},
        ],
    }
    assert "id" not in orjson.loads(encode_response(InferenceResponse("m", "2", {})))


def test_outputs_that_are_no_plain_rows_are_encoded_in_row_order() -> None:
    turned = np.arange(6, dtype=np.float32).reshape(2, 3).T
    big_endian = np.array([1, 2], dtype=">i4")
    answer = orjson.loads(
        encode_response(InferenceResponse("m", "1", {"t": turned, "b": big_endian}))
    )
    assert answer["outputs"][0]["data"] == [0, 3, 1, 4, 2, 5]
    assert answer["outputs"][1]["data"] == [1, 2]


def test_text_arrays_are_encoded_as_bytes() -> None:
    for array in (np.array(["a", "ü"]), np.array([b"a", "ü".encode()])):
        answer = orjson.loads(encode_response(InferenceResponse("m", "1", {"t": array})))
        assert answer["outputs"][0]["datatype"] == "BYTES"
        assert answer["outputs"][0]["data"] == ["a", "ü"]


def test_fault_031_nan_and_infinity_are_encoded_as_null() -> None:
    for dtype in (np.float16, np.float32, np.float64):
        outputs = {"y": np.array([1, np.nan, np.inf, -np.inf], dtype)}
        answer = orjson.loads(encode_response(InferenceResponse("m", "1", outputs)))
        assert answer["outputs"][0]["data"] == [1, None, None, None]


def test_metadata_in_the_words_of_the_protocol() -> None:
    specs = (TensorSpec("x", "FP32", (-1, 3)),)
    labels = {"y": ("no", "yes"), "long": tuple(map(str, range(MAX_LABELS + 1)))}
    metadata = ModelMetadata("m", ("1", "2"), "test", specs, (), max_batch_size=4, labels=labels)
    assert orjson.loads(orjson.dumps(encode_metadata(metadata))) == {
        "name": "m",
        "versions": ["1", "2"],
        "platform": "test",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 3]}],
        "outputs": [],
        "parameters": {"max_batch_size": 4, "labels": {"y": ["no", "yes"]}},
    }


@pytest.mark.parametrize("body", [b"{", b'{"inputs": [', b"hello", b"{'inputs': []}"])
def test_fault_001_what_is_not_json(body: bytes) -> None:
    refused(body, "not valid JSON")


def test_fault_002_empty_body() -> None:
    refused(b"", "not valid JSON")


@pytest.mark.parametrize("body", [b"[]", b"1", b'"text"', b"null", b"true"])
def test_fault_003_json_that_is_no_object(body: bytes) -> None:
    refused(body, "the body: must be a JSON object")


@pytest.mark.parametrize("depth", [33, 101, 1000, 250_000])
def test_fault_004_deep_nesting(depth: int) -> None:
    nested = b"[" * depth + b"1" + b"]" * depth
    for datatype in (b"FP32", b"BYTES"):
        start = b'{"inputs": [{"name": "x", "shape": [1], "datatype": "' + datatype
        refused(start + b'", "data": ' + nested + b"}]}", "nested more than 32|depth limit")


@pytest.mark.parametrize("depth", [100, 101, 1000])
def test_fault_004_deep_nesting_where_nothing_is_read(depth: int) -> None:
    body = b'{"inputs": [], "other": ' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"
    if depth == 100:
        assert not decode(body).inputs
    else:
        refused(body, "nested more than 100 deep")


@pytest.mark.parametrize("text", [b"\xff", b"\xed\xa0\x80", b"\\ud800"])
def test_fault_005_text_that_is_not_unicode(text: bytes) -> None:
    refused(b'{"id": "' + text + b'"}', "not valid JSON")


def test_fault_006_the_last_of_equal_keys_counts_and_nan_is_no_json() -> None:
    assert decode(b'{"id": "a", "id": "b"}').id == "b"
    for literal in (b"NaN", b"Infinity", b"-Infinity", b"1e999"):
        body = b'{"inputs": [{"name":"x","datatype":"FP32","shape":[1],"data":[' + literal + b"]}]}"
        refused(body, "not valid JSON")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"inputs": {}}, "inputs: must be an array"),
        ({"inputs": [1]}, r"inputs\[0\]: must be a JSON object"),
        ({"inputs": [tensor(), None]}, r"inputs\[1\]: must be a JSON object"),
        ({"inputs": [tensor(name=5)]}, r"inputs\[0\]\.name: must be a string"),
        ({"inputs": [tensor(name="")]}, r"inputs\[0\]\.name: must be a string"),
        ({"outputs": [{}]}, r"outputs\[0\]\.name: must be a string"),
        ({"outputs": ["y"]}, r"outputs\[0\]: must be a JSON object"),
        ({"parameters": []}, "parameters: must be a JSON object"),
        ({"id": 5}, "id must be a string"),
    ],
)
def test_fault_007_fields_of_another_form(body: object, reason: str) -> None:
    refused(body, reason)


def test_fault_009_the_same_input_twice() -> None:
    refused({"inputs": [tensor(), tensor()]}, r"inputs\[1\]\.name: 'x' is there twice")


@pytest.mark.parametrize("field", ["inputs", "outputs"])
def test_fault_011_too_many_tensors(field: str) -> None:
    body = b'{"%s": [%s]}' % (field.encode(), b",".join([b'{"name": "x"}'] * 100_000))
    refused(body, f"{field}: more than 256")


@pytest.mark.parametrize("datatype", ["FP33", "fp32", "float32", "BF32", " FP32"])
def test_fault_012_unknown_datatype(datatype: str) -> None:
    tensor_refused(r"inputs\[0\]\.datatype: unknown datatype .*known are: BOOL", datatype=datatype)


@pytest.mark.parametrize("datatype", [None, 5, []])
def test_fault_012_datatype_that_is_no_text(datatype: object) -> None:
    tensor_refused(r"inputs\[0\]\.datatype: must be a string", datatype=datatype)


@pytest.mark.parametrize("size", [-1, 2.0, True, "2", None, [2]])
def test_fault_014_sizes_that_are_no_sizes(size: object) -> None:
    tensor_refused(r"inputs\[0\]\.shape: .* is not a size", shape=[size])


def test_fault_014_size_beyond_every_whole_number() -> None:
    start = b'{"inputs": [{"name": "x", "datatype": "FP32", "data": [1], "shape": [%d]}]}'
    refused(start % 2**70, r"inputs\[0\]\.shape: .* is not a size")


@pytest.mark.parametrize("shape", [None, 2, "2", {}, [1] * 33])
def test_fault_014_shapes_that_are_no_shapes(shape: object) -> None:
    tensor_refused(r"inputs\[0\]\.shape: must be an array", shape=shape)


@pytest.mark.parametrize(
    "shape", [[2, 2, 2, 2, 2**60 + 2], [2**32, 2**32], [10**9], [10**5, 10**5], [2**63, 0, 2**63]]
)
@pytest.mark.parametrize("datatype", ["FP32", "BYTES"])
def test_fault_015_and_016_huge_shapes_are_refused_before_allocation(
    shape: list[int], datatype: str
) -> None:
    data = ["a"] if datatype == "BYTES" else [1]
    body = orjson.dumps({"inputs": [tensor(shape=shape, datatype=datatype, data=data)]})
    tracemalloc.start()
    try:
        with pytest.raises(InvalidInput, match=r"inputs\[0\]\.(shape|data): "):
            decode(body)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000


@pytest.mark.parametrize("data", [[], [1], [1, 2, 3], [[1], [2], [3]]])
def test_fault_017_data_of_another_length_than_the_shape(data: list[object]) -> None:
    tensor_refused(r"inputs\[0\]\.data: has \d elements but shape \[2\] has 2", data=data)
    as_text = [[str(n) for n in d] if isinstance(d, list) else str(d) for d in data]
    tensor_refused(r"inputs\[0\]\.data: has \d elements", data=as_text, datatype="BYTES")


@pytest.mark.parametrize(
    ("data", "datatype"),
    [([[1, 2], [3]], "FP32"), ([[1], 2], "FP32"), ([["a"], "b"], "BYTES"), (["a", ["b"]], "BYTES")],
)
def test_fault_017_rows_that_differ(data: list[object], datatype: str) -> None:
    tensor_refused(r"inputs\[0\]\.data: rows differ", data=data, datatype=datatype)


@pytest.mark.parametrize("datatype", DTYPES)
@pytest.mark.parametrize(("shape", "data"), [([0], []), ([0, 3], []), ([2, 0], [[], []])])
def test_fault_018_tensors_without_elements(
    datatype: str, shape: list[int], data: list[object]
) -> None:
    array = decode_tensor(datatype=datatype, shape=shape, data=data)
    assert (array.dtype, array.shape) == (DTYPES[datatype], tuple(shape))


@pytest.mark.parametrize(
    ("datatype", "value"),
    [
        ("UINT8", 300),
        ("UINT8", -1),
        ("INT8", 128),
        ("INT16", -(2**15) - 1),
        ("UINT32", 2**32),
        ("INT32", 2**31),
        ("INT64", 2**63),
        ("UINT64", -1),
        ("FP16", 1e6),
        ("FP16", 70_000),
        ("FP32", -1e39),
    ],
)
def test_fault_019_values_out_of_range(datatype: str, value: float) -> None:
    tensor_refused(
        rf"inputs\[0\]\.data: .* out of range for {datatype}", datatype=datatype, data=[0, value]
    )


def test_fault_019_values_beyond_every_whole_number() -> None:
    for datatype in ("INT64", "UINT64"):
        start = b'{"inputs": [{"name": "x", "shape": [1], "datatype": "' + datatype.encode()
        refused(start + b'", "data": [%d]}]}' % 2**70, rf"not every element is of type {datatype}")


@pytest.mark.parametrize(
    ("datatype", "value"),
    [
        ("FP32", "1.5"),
        ("FP32", None),
        ("FP32", {}),
        ("FP32", True),
        ("INT32", 1.0),
        ("INT32", False),
        ("UINT64", 1.5),
        ("BOOL", 1),
        ("BYTES", 1),
        ("BYTES", None),
    ],
)
def test_fault_019_elements_of_another_type(datatype: str, value: object) -> None:
    good: object = VALUES[datatype][0]
    for data in ([good, value], [value, good], [[good], [value]]):
        tensor_refused(r"inputs\[0\]\.data: not every element", datatype=datatype, data=data)


def test_fault_019_texts_among_numbers_cost_no_memory() -> None:
    body = orjson.dumps({"inputs": [tensor(shape=[101], data=["x" * 1_000_000, *range(100)])]})
    tracemalloc.start()
    try:
        with pytest.raises(InvalidInput, match="not every element"):
            decode(body)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 50_000_000


def test_fault_020_embedded_zero_bytes_stay() -> None:
    array = decode_tensor(datatype="BYTES", shape=[1], data=["a\0b\0"])
    assert array.tolist() == [b"a\0b\0"]


def test_fault_022_data_that_is_announced_but_not_there() -> None:
    item = {"name": "x", "datatype": "FP32", "shape": [2], "parameters": {"binary_data_size": 8}}
    refused({"inputs": [item]}, r"inputs\[0\]\.data: must be an array")


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    with contextlib.suppress(InvalidInput):
        decode(body)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


@settings(max_examples=50)
@given(
    name=json_values,
    datatype=st.sampled_from([*DTYPES]) | json_values,
    shape=st.lists(st.integers(-1, 4), max_size=3) | json_values,
    data=st.lists(json_values, max_size=4) | json_values,
)
def test_any_tensor_is_read_as_announced_or_refused(
    name: object, datatype: object, shape: object, data: object
) -> None:
    item = {"name": name, "datatype": datatype, "shape": shape, "data": data}
    try:
        request = decode({"inputs": [item]})
    except InvalidInput:
        return
    [array] = request.inputs.values()
    assert isinstance(shape, list)
    assert array.shape == tuple(shape)
    assert array.dtype == DTYPES[str(datatype)]


def test_the_bound_on_elements_is_what_is_announced() -> None:
    size = DEFAULT.elements + 1
    tensor_refused(rf"inputs\[0\]\.shape: {size} elements are more than", shape=[size])
