"""Tensors as plain nested lists, whose names and datatypes are the model's own."""

import numpy as np
import orjson

from app.api.codec.fields import is_object
from app.api.codec.json_data import decode_data, encode_data
from app.config.limits import Limits
from app.errors import InvalidInput
from app.formats.datatypes import bf16_to_float32
from app.types import Array, InferenceResponse, JsonValue, ModelMetadata


def is_protocol(value: object) -> bool:
    """Whether these are the protocol's tensor objects."""
    return isinstance(value, list) and all(is_object(item) and "datatype" in item for item in value)


def decode_nested(
    value: object, metadata: ModelMetadata, where: str, limits: Limits
) -> dict[str, Array]:
    """`{name: nested list}`, or the nested list of the model's only input.

    A list of objects, one for each row, is read as the columns. Raises InvalidInput naming the
    field.
    """
    specs = {spec.name: spec for spec in metadata.inputs}
    inputs = {}
    for name, data in _by_name(value, list(specs), where).items():
        if name not in specs:
            raise InvalidInput(f"input {name!r} is not known; the model takes: {', '.join(specs)}")
        field = f"{where}.{name}"
        shape = _shape_of(data, field, limits)
        inputs[name] = decode_data(data, specs[name].datatype, shape, field)
    return inputs


def encode_nested(response: InferenceResponse) -> JsonValue:
    """The only output as nested lists, or all of them by name; NaN as null."""
    outputs: dict[str, JsonValue] = {
        name: _nested(array) for name, array in response.outputs.items()
    }
    return next(iter(outputs.values())) if len(outputs) == 1 else outputs


def _by_name(value: object, names: list[str], where: str) -> dict[str, object]:
    if is_object(value):
        return dict(value)
    if not isinstance(value, list):
        raise InvalidInput(f"{where}: must be nested lists, or an object of them by name")
    if value and all(is_object(row) for row in value):
        rows = [row for row in value if is_object(row)]
        if any(row.keys() != rows[0].keys() for row in rows):
            raise InvalidInput(f"{where}: not every row has the same names")
        return {name: [row[name] for row in rows] for name in rows[0]}
    if len(names) != 1:
        raise InvalidInput(f"{where}: the model has several inputs: {', '.join(names)}; name them")
    return {names[0]: value}


def _shape_of(data: object, where: str, limits: Limits) -> tuple[int, ...]:
    """Of the first element of each level; whether the others fit, the decoder sees."""
    if not isinstance(data, list):
        raise InvalidInput(f"{where}: must be nested lists")
    shape: list[int] = []
    count = 1
    level: object = data
    while isinstance(level, list):
        shape.append(len(level))
        count *= len(level)
        if len(shape) > limits.rank or count > limits.elements:
            raise InvalidInput(f"{where}: is nested too deep, or has too many elements")
        level = level[0] if level else None
    return tuple(shape)


def _nested(array: Array) -> JsonValue:
    if array.dtype.kind in "OSU":
        texts = np.empty(array.shape, dtype=np.object_)
        texts.ravel()[:] = encode_data(array)
        answer: JsonValue = texts.tolist()
    else:
        plain = bf16_to_float32(array) if array.dtype.kind == "V" else array
        answer = orjson.loads(orjson.dumps(plain.tolist()))  # NaN becomes null on the way
    return answer
