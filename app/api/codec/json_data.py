"""The data of one tensor as JSON, to and from arrays.

The format: KServe "Open Inference Protocol" (v2), Tensor Data.
"""

import math
import struct
from collections.abc import Sequence

import numpy as np

from app.errors import InvalidInput
from app.formats.datatypes import bf16_to_float32, datatype_of, dtype_of, float64_to_bf16
from app.types import Array

MAX_RANK = 32
"""Of numpy too, nearly; nested rows are followed by recursion."""

_ELEMENT_TYPES: dict[str, set[type]] = {"b": {bool}, "u": {int}, "i": {int}, "f": {int, float}}


def decode_data(data: object, datatype: str, shape: tuple[int, ...], where: str) -> Array:
    """The array of `data`, flat or nested. Raises InvalidInput naming the field.

    BF16 is read as the nearest one to each number.
    """
    if not isinstance(data, list):
        raise InvalidInput(f"{where}.data: must be an array")
    if datatype == "BYTES":
        return _bytes_array(data, shape, where)
    if datatype == "BF16":
        return _bf16(data, shape, where)
    return _numbers(data, shape, dtype_of(datatype), where)


def encode_data(array: Array) -> object:
    """What orjson writes as the tensor's data, flat; BF16 as the same numbers in float32.

    NaN and infinities become null, since JSON has no word for them.
    """
    if array.dtype.kind in "OSU":
        return [_text_of(item) for item in array.ravel().tolist()]
    if array.dtype.kind == "V":
        return bf16_to_float32(array).ravel()
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    return np.ascontiguousarray(native).ravel()


def _numbers(
    data: Sequence[object], shape: tuple[int, ...], dtype: np.dtype[np.generic], where: str
) -> Array:
    types = _types(data, where)
    if types == {float} and dtype == np.float32 and not isinstance(data[0], list):
        return _flat_floats(data, shape, where)
    # Looked at before numpy sees it: of a list with texts it would make an array of the longest.
    if not types <= _ELEMENT_TYPES[dtype.kind]:
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


def _bf16(data: Sequence[object], shape: tuple[int, ...], where: str) -> Array:
    array = float64_to_bf16(_numbers(data, shape, np.dtype(np.float64), where))
    if not np.isfinite(bf16_to_float32(array)).all():
        raise InvalidInput(f"{where}.data: a value is out of range for BF16")
    return array


def _flat_floats(data: Sequence[object], shape: tuple[int, ...], where: str) -> Array:
    """What most requests hold: numpy takes three times as long to find out what it is given."""
    _check_count(len(data), shape, where)
    try:
        packed = struct.pack(f"<{len(data)}f", *data)
    except OverflowError:
        raise InvalidInput(f"{where}.data: a value is out of range for FP32") from None
    except struct.error:
        raise InvalidInput(f"{where}.data: rows differ in depth") from None
    return np.frombuffer(packed, "<f4").reshape(shape)


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


def _text_of(item: object) -> str:
    return item.decode(errors="replace") if isinstance(item, bytes) else str(item)
