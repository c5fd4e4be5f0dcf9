"""Tensors in JSON, and what is refused of them. Rows are those of the project's table of faults."""

import tracemalloc

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.config.limits import DEFAULT
from app.errors import InvalidInput
from app.formats.datatypes import DTYPES
from tests.unit.app.api.json_bodies import (
    VALUES,
    decode,
    decode_tensor,
    refused,
    tensor,
    tensor_refused,
)


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


def test_fault_019_floats_that_one_of_32_bits_cannot_hold() -> None:
    where = r"inputs\[0\]\.data: "
    tensor_refused(where + "a value is out of range for FP32", datatype="FP32", data=[0.5, 1e39])


def test_rows_of_different_depth() -> None:
    tensor_refused(r"inputs\[0\]\.data: rows differ in depth", shape=[2], data=[0.5, [0.5]])


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
