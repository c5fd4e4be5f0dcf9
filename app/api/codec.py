"""Open Inference Protocol JSON to and from the core's types.

The format: KServe "Open Inference Protocol" (v2), Inference Request and Response JSON Objects.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TypeGuard

import numpy as np
import orjson

from app.datatypes import datatype_of, dtype_of
from app.errors import InvalidInput
from app.types import (
    Array,
    InferenceRequest,
    InferenceResponse,
    JsonValue,
    ModelMetadata,
    TensorSpec,
)

MAX_TENSORS = 256
MAX_LABELS = 1000
MAX_RANK = 32
MAX_ELEMENTS = 64 * 1024 * 1024

_ELEMENT_TYPES: dict[str, set[type]] = {"b": {bool}, "u": {int}, "i": {int}, "f": {int, float}}


def decode_json(body: bytes) -> object:
    """Raises InvalidInput if the body is not JSON; NaN and Infinity literals are not."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f"the body is not valid JSON: {error}") from error


def decode_request(
    model: str, version: str | None, body: bytes, deadline: float | None = None
) -> InferenceRequest:
    """Raises InvalidInput naming the field, before anything of the stated size is allocated."""
    data = _mapping(decode_json(body), "the body")
    request_id = data.get("id")
    if request_id is not None and not isinstance(request_id, str):
        raise InvalidInput("id must be a string")
    inputs: dict[str, Array] = {}
    for index, item in enumerate(_items(data, "inputs")):
        name, array = _decode_tensor(item, f"inputs[{index}]")
        if name in inputs:
            raise InvalidInput(f"inputs[{index}].name: {name!r} is there twice")
        inputs[name] = array
    outputs = tuple(
        _text(_mapping(item, f"outputs[{index}]"), "name", f"outputs[{index}]")
        for index, item in enumerate(_items(data, "outputs"))
    )
    parameters = data.get("parameters")
    return InferenceRequest(
        model=model,
        version=version,
        id=request_id,
        inputs=inputs,
        outputs=outputs,
        parameters={} if parameters is None else _mapping(parameters, "parameters"),
        deadline=deadline,
    )


def encode_response(response: InferenceResponse) -> bytes:
    """NaN and infinities become null, since JSON has no word for them."""
    answer: dict[str, object] = {
        "model_name": response.model,
        "model_version": response.version,
        "outputs": [
            {
                "name": name,
                "datatype": datatype_of(array.dtype),
                "shape": array.shape,
                "data": _data(array),
            }
            for name, array in response.outputs.items()
        ],
    }
    if response.id is not None:
        answer["id"] = response.id
    return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)


def encode_metadata(metadata: ModelMetadata) -> dict[str, JsonValue]:
    """The protocol's metadata object; `parameters` adds the batching rule and short label lists."""
    parameters: dict[str, JsonValue] = {"max_batch_size": metadata.max_batch_size}
    labels: dict[str, JsonValue] = {
        output: list(names) for output, names in metadata.labels.items() if len(names) <= MAX_LABELS
    }
    if labels:
        parameters["labels"] = labels
    return {
        "name": metadata.name,
        "versions": list(metadata.versions),
        "platform": metadata.platform,
        "inputs": [_encode_spec(spec) for spec in metadata.inputs],
        "outputs": [_encode_spec(spec) for spec in metadata.outputs],
        "parameters": parameters,
    }


def _encode_spec(spec: TensorSpec) -> dict[str, JsonValue]:
    return {"name": spec.name, "datatype": spec.datatype, "shape": list(spec.shape)}


def _decode_tensor(item: object, where: str) -> tuple[str, Array]:
    tensor = _mapping(item, where)
    name = _text(tensor, "name", where)
    datatype = _text(tensor, "datatype", where)
    try:
        dtype = dtype_of(datatype)
    except ValueError as error:
        raise InvalidInput(f"{where}.datatype: {error}") from error
    shape = _shape(tensor.get("shape"), where)
    data = tensor.get("data")
    if not isinstance(data, list):
        raise InvalidInput(f"{where}.data: must be an array")
    count = math.prod(shape)
    if count > MAX_ELEMENTS:
        raise InvalidInput(f"{where}.shape: {count} elements are more than {MAX_ELEMENTS}")
    if datatype == "BYTES":
        return name, _bytes_array(data, shape, where)
    return name, _numbers(data, shape, dtype, where)


def _shape(value: object, where: str) -> tuple[int, ...]:
    if not isinstance(value, list) or len(value) > MAX_RANK:
        raise InvalidInput(f"{where}.shape: must be an array of at most {MAX_RANK} sizes")
    for size in value:
        if type(size) is not int or size < 0:
            raise InvalidInput(f"{where}.shape: {size!r} is not a size, a whole number from 0")
    return tuple(value)


def _numbers(
    data: Sequence[object], shape: tuple[int, ...], dtype: np.dtype[np.generic], where: str
) -> Array:
    # Looked at before numpy sees it: of a list with texts it would make an array of the longest.
    if not _types(data, where) <= _ELEMENT_TYPES[dtype.kind]:
        raise InvalidInput(f"{where}.data: not every element is of type {datatype_of(dtype)}")
    try:
        array = np.asarray(data)
    except ValueError as error:
        raise InvalidInput(f"{where}.data: rows differ in length") from error
    _check_count(array.size, shape, where)
    if array.size == 0:
        return np.empty(shape, dtype)
    if dtype.kind in "ui":
        if array.dtype.kind == "f":  # numpy's guess for whole numbers on both sides of 2^63
            array = np.asarray(data, dtype=np.object_)
        _check_range(array, dtype, where)
    with np.errstate(over="ignore"):
        array = array.astype(dtype, copy=False).reshape(shape)
    if dtype.kind == "f" and not np.isfinite(array).all():
        raise InvalidInput(f"{where}.data: a value is out of range for {datatype_of(dtype)}")
    return array


def _types(data: Sequence[object], where: str, depth: int = 1) -> set[type]:
    """The types of all elements, however the rows are nested."""
    if depth > MAX_RANK:
        raise InvalidInput(f"{where}.data: is nested more than {MAX_RANK} deep")
    found = set(map(type, data))
    if list in found:
        found.discard(list)
        for part in data:
            if isinstance(part, list):
                found |= _types(part, where, depth + 1)
    return found


def _check_count(count: int, shape: tuple[int, ...], where: str) -> None:
    if count != math.prod(shape):
        raise InvalidInput(
            f"{where}.data: has {count} elements but shape {list(shape)} has {math.prod(shape)}"
        )


def _check_range(array: Array, dtype: np.dtype[np.generic], where: str) -> None:
    low, high = int(array.min()), int(array.max())
    bits = 8 * dtype.itemsize
    least, most = (
        (0, 2**bits - 1) if dtype.kind == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    )
    if low < least or high > most:
        outlier = low if low < least else high
        raise InvalidInput(f"{where}.data: {outlier} is out of range for {datatype_of(dtype)}")


def _bytes_array(data: Sequence[object], shape: tuple[int, ...], where: str) -> Array:
    if not _types(data, where) <= {str}:
        raise InvalidInput(f"{where}.data: not every element is a string")
    flat: Sequence[object] = data
    while flat and isinstance(flat[0], list):
        if not all(isinstance(part, list) for part in flat):
            raise InvalidInput(f"{where}.data: rows differ in depth")
        flat = [item for part in flat if isinstance(part, list) for item in part]
    _check_count(len(flat), shape, where)
    array = np.empty(len(flat), dtype=np.object_)
    for index, item in enumerate(flat):
        if not isinstance(item, str):
            raise InvalidInput(f"{where}.data: rows differ in depth")
        array[index] = item.encode()
    return array.reshape(shape)


def _data(array: Array) -> object:
    if array.dtype.kind in "OSU":
        return [_text_of(item) for item in array.ravel().tolist()]
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    return np.ascontiguousarray(native).ravel()


def _text_of(item: object) -> str:
    return item.decode(errors="replace") if isinstance(item, bytes) else str(item)


def _items(data: Mapping[str, JsonValue], field: str) -> list[object]:
    value = data.get(field)
    if value is None:
        return []
    if not isinstance(value, list):
        raise InvalidInput(f"{field}: must be an array")
    if len(value) > MAX_TENSORS:
        raise InvalidInput(f"{field}: more than {MAX_TENSORS} tensors")
    return list(value)


def _text(data: Mapping[str, JsonValue], field: str, where: str) -> str:
    value = data.get(field)
    if not isinstance(value, str) or not value:
        raise InvalidInput(f"{where}.{field}: must be a string")
    return value


def _mapping(value: object, where: str) -> Mapping[str, JsonValue]:
    if not _is_object(value):
        raise InvalidInput(f"{where}: must be a JSON object")
    return value


def _is_object(value: object) -> TypeGuard[Mapping[str, JsonValue]]:
    return isinstance(value, dict)
