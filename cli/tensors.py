"""From a file to what a model takes."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import orjson

from app.errors import InvalidInput
from app.formats.datatypes import dtype_of
from app.types import Array, JsonValue, TensorSpec
from cli.server import Json, mapping


def request_of(file: Path, metadata: Json) -> bytes:
    """The inference request that a file stands for, `metadata` being the model's.

    A .json file holds the request itself, or the values of the model's only input; a .npy file
    holds the latter as an array. Raises InvalidInput for what cannot be made to fit.
    """
    content = file.read_bytes()
    if file.suffix == ".npy":
        return _request(_only_input(metadata), _npy(content, file))
    if file.suffix != ".json":
        raise InvalidInput(
            f"{metadata.get('name')!r} is a model and takes tensors: give it a .json or .npy file"
            " (pictures are for pipelines)"
        )
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f"{file} is not JSON: {error}") from error
    if isinstance(value, dict):
        if "inputs" not in value:
            raise InvalidInput(
                f'{file} has no "inputs": write a whole inference request, or only the list of'
                " values"
            )
        return content
    return _request(_only_input(metadata), _array(value, file))


def inputs_of(metadata: Json) -> tuple[TensorSpec, ...]:
    """What the model's metadata says of its inputs."""
    inputs = metadata.get("inputs")
    found = [mapping(each) for each in inputs] if isinstance(inputs, list) else []
    return tuple(
        TensorSpec(str(each["name"]), str(each["datatype"]), _shape(each["shape"]))
        for each in found
    )


def fitted(spec: TensorSpec, array: Array) -> Array:
    """The array in the type and shape of an input, its values unchanged.

    A missing batch dimension is added; where only one size is open, any grouping of the values
    will do. Raises InvalidInput otherwise, and for values that the type does not hold.
    """
    return _typed(spec, _shaped(spec, array))


def _shaped(spec: TensorSpec, array: Array) -> Array:
    if _fits(spec.shape, array.shape):
        return array
    if _fits(spec.shape, (1, *array.shape)):
        return array[np.newaxis]
    fixed = [size for size in spec.shape if size >= 0]
    if array.size and len(spec.shape) - len(fixed) <= 1:
        try:
            return array.reshape(spec.shape)
        except ValueError:
            pass
    raise InvalidInput(
        f"input {spec.name!r} takes shape {list(spec.shape)}; the file holds {list(array.shape)}"
    )


def _fits(wanted: Sequence[int], given: Sequence[int]) -> bool:
    return len(wanted) == len(given) and all(
        size in (-1, actual) for size, actual in zip(wanted, given, strict=True)
    )


def _typed(spec: TensorSpec, array: Array) -> Array:
    if spec.datatype == "BYTES":
        if array.dtype.kind not in "US":
            raise InvalidInput(f"input {spec.name!r} takes text; the file holds {array.dtype}")
        return array
    wanted = dtype_of(spec.datatype)
    if array.dtype.kind not in "biuf":
        raise InvalidInput(f"input {spec.name!r} takes {spec.datatype}; the file holds no numbers")
    with np.errstate(invalid="ignore", over="ignore"):
        cast = array.astype(wanted)
    if wanted.kind != "f" and not np.array_equal(cast, array):
        raise InvalidInput(f"input {spec.name!r} takes {spec.datatype}; not every value is one")
    return cast


def _request(spec: TensorSpec, array: Array) -> bytes:
    tensor = fitted(spec, array)
    data = tensor.astype(np.str_) if spec.datatype == "BYTES" else tensor
    return orjson.dumps(
        {
            "inputs": [
                {
                    "name": spec.name,
                    "datatype": spec.datatype,
                    "shape": list(tensor.shape),
                    "data": data.ravel().tolist(),
                }
            ]
        }
    )


def _only_input(metadata: Json) -> TensorSpec:
    inputs = inputs_of(metadata)
    if len(inputs) != 1:
        names = ", ".join(spec.name for spec in inputs)
        raise InvalidInput(
            f"model {metadata.get('name')!r} has {len(inputs)} inputs ({names}): write a whole"
            ' inference request, {"inputs": [...]}, into a .json file'
        )
    return inputs[0]


def _npy(content: bytes, file: Path) -> Array:
    try:
        array: Array = np.load(io.BytesIO(content), allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise InvalidInput(f"{file} is no .npy file that can be read: {error}") from error
    return array


def _array(value: JsonValue, file: Path) -> Array:
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise InvalidInput(f"{file}: the rows differ in length") from error
    if array.dtype == np.object_:
        raise InvalidInput(f"{file}: holds neither numbers nor text alone")
    return array


def _shape(value: JsonValue) -> tuple[int, ...]:
    sizes = value if isinstance(value, list) else []
    return tuple(size for size in sizes if isinstance(size, int))
