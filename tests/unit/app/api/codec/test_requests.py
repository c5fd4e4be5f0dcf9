"""JSON bodies of the Open Inference Protocol. Rows are those of the project's table of faults."""

import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from app.api.codec.requests import decode_request
from app.api.descriptions import MAX_LABELS, encode_metadata
from app.formats.datatypes import DTYPES, bf16_to_float32
from app.types import Array, InferenceResponse, ModelMetadata, TensorSpec
from tests.unit.app.api.json_bodies import VALUES, decode, decode_tensor, encode_response, tensor


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
