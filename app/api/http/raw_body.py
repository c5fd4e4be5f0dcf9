"""A body that is nothing but the raw bytes of a model's only input.

The format: Triton's Binary Tensor Data Extension, Raw Binary Request.
"""

import math

import numpy as np

from app.api.codec.binary_data import decode_raw
from app.config.limits import DEFAULT, Limits
from app.errors import InvalidInput
from app.formats.datatypes import DTYPES
from app.types import Array, ModelMetadata, TensorSpec

_WHERE = "inference-header-content-length: 0, so the body is the model's only input"


def decode_raw_body(
    body: bytes, metadata: ModelMetadata, limits: Limits = DEFAULT
) -> dict[str, Array]:
    """The only input, with a batch of 1 where the model batches.

    One size that the model leaves open follows from the length of the body. A BYTES input has one
    element, which is the body itself without a length before it. Raises InvalidInput where the
    model has several inputs, or a shape that the body does not determine or does not fill.
    """
    if len(metadata.inputs) != 1:
        names = ", ".join(spec.name for spec in metadata.inputs)
        raise InvalidInput(f"{_WHERE}: it has {len(metadata.inputs)}: {names}; send them with JSON")
    [spec] = metadata.inputs
    shape = (1, *spec.shape[1:]) if metadata.max_batch_size > 0 else spec.shape
    if spec.datatype == "BYTES":
        return {spec.name: _only_element(body, spec, shape)}
    shape = _filled(shape, len(body), spec)
    count = math.prod(shape)
    if count > limits.elements:
        raise InvalidInput(f"{_WHERE}: {count} elements are more than {limits.elements}")
    return {spec.name: decode_raw(memoryview(body), spec.datatype, shape, _WHERE)}


def _only_element(body: bytes, spec: TensorSpec, shape: tuple[int, ...]) -> Array:
    if any(size != 1 for size in shape):
        raise InvalidInput(
            f"{_WHERE}: shape {list(spec.shape)} of BYTES is not for one element; send it with JSON"
        )
    array = np.empty(shape, dtype=np.object_)
    array[...] = body
    return array


def _filled(shape: tuple[int, ...], length: int, spec: TensorSpec) -> tuple[int, ...]:
    """The shape with the size that is left open, -1, as `length` bytes make it."""
    if -1 not in shape:
        return shape
    place = shape.index(-1)
    others = shape[:place] + shape[place + 1 :]
    step = math.prod(others) * DTYPES[spec.datatype].itemsize
    if step <= 0 or -1 in others:
        raise InvalidInput(
            f"{_WHERE}: its length does not tell shape {list(spec.shape)}; send it with JSON"
        )
    size, rest = divmod(length, step)
    if rest:
        raise InvalidInput(
            f"{_WHERE}: has {length} bytes, but {list(spec.shape)} of {spec.datatype} needs a"
            f" multiple of {step}"
        )
    return (*shape[:place], size, *shape[place + 1 :])
