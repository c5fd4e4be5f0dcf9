"""The data of one tensor as raw bytes, to and from arrays.

The format: KServe "Open Inference Protocol", Binary Tensor Data Extension. Values are
little-endian and in row order; a BOOL is one byte, 0 or 1; an element of BYTES is its length as
four little-endian bytes, and then itself.
"""

import math
import sys
from struct import Struct

import numpy as np

from app.errors import InvalidInput
from app.formats.datatypes import DTYPES
from app.types import Array

_LENGTH = Struct("<I")
_LITTLE = {name: dtype.newbyteorder("<") for name, dtype in DTYPES.items()}
_IS_LITTLE = sys.byteorder == "little"
_SMALL_BYTES = 4096  # cheaper to copy than to be shared


def decode_raw(raw: memoryview, datatype: str, shape: tuple[int, ...], where: str) -> Array:
    """The array in `raw`, which it shares where the values lie as the processor wants them.

    `datatype` is a known one. Raises InvalidInput, naming the field, where `raw` has not exactly
    the size that `shape` needs, before anything of the stated size is allocated.
    """
    if datatype == "BYTES":
        return _decode_bytes(raw, shape, where)
    dtype = DTYPES[datatype]
    needed = math.prod(shape) * dtype.itemsize
    if needed != len(raw):
        raise InvalidInput(
            f"{where}: has {len(raw)} bytes but shape {list(shape)} of {datatype} needs {needed}"
        )
    if datatype == "BOOL" and needed and np.frombuffer(raw, np.uint8).max() > 1:
        raise InvalidInput(f"{where}: a BOOL is a byte that is 0 or 1")
    array = np.frombuffer(raw, _LITTLE[datatype]).reshape(shape)
    if _IS_LITTLE and array.flags.aligned:
        return array
    return array.astype(dtype)


def encode_raw(array: Array) -> bytes | memoryview:
    """The raw form of `array`, sharing its memory where that is large and in the right order."""
    if array.dtype.kind in "OSU":
        return _encode_bytes(array)
    if _IS_LITTLE and array.nbytes <= _SMALL_BYTES and array.dtype.isnative:
        return array.tobytes()
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    return np.ascontiguousarray(little).reshape(-1).view(np.uint8).data


def _decode_bytes(raw: memoryview, shape: tuple[int, ...], where: str) -> Array:
    count = math.prod(shape)
    size = len(raw)
    if count * _LENGTH.size > size:
        raise InvalidInput(
            f"{where}: {size} bytes are too few for the {count} elements of shape {list(shape)}"
        )
    array = np.empty(count, dtype=np.object_)
    start = 0
    for index in range(count):
        begin = start + _LENGTH.size
        if begin > size:
            raise InvalidInput(f"{where}: ends before element {index} of {count}")
        start = begin + _LENGTH.unpack_from(raw, begin - _LENGTH.size)[0]
        if start > size:
            raise InvalidInput(f"{where}: element {index} is said to end at byte {start} of {size}")
        array[index] = bytes(raw[begin:start])
    if start != size:
        raise InvalidInput(f"{where}: {size - start} bytes follow the last of {count} elements")
    return array.reshape(shape)


def _encode_bytes(array: Array) -> bytes:
    parts: list[bytes] = []
    for item in array.ravel().tolist():
        element = item if isinstance(item, bytes) else str(item).encode()
        parts.append(_LENGTH.pack(len(element)))
        parts.append(element)
    return b"".join(parts)
