"""The tensor datatypes of the Open Inference Protocol (v2) and the numpy types that carry them."""

import numpy as np
import numpy.typing as npt

from app.types import Array

DTYPES: dict[str, np.dtype[np.generic]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype(np.uint8),
    "UINT16": np.dtype(np.uint16),
    "UINT32": np.dtype(np.uint32),
    "UINT64": np.dtype(np.uint64),
    "INT8": np.dtype(np.int8),
    "INT16": np.dtype(np.int16),
    "INT32": np.dtype(np.int32),
    "INT64": np.dtype(np.int64),
    "FP16": np.dtype(np.float16),
    "FP32": np.dtype(np.float32),
    "FP64": np.dtype(np.float64),
    "BF16": np.dtype("V2"),
    "BYTES": np.dtype(np.object_),
}
"""BYTES is an object array whose elements are `bytes`.

numpy has no BF16: here it is the two bytes of each value, little-endian, which can be moved,
stacked and split, and widened to float32 where someone must calculate with them.
"""

_DATATYPES = {dtype: name for name, dtype in DTYPES.items()}


def dtype_of(datatype: str) -> np.dtype[np.generic]:
    """The numpy type of a v2 datatype. Raises ValueError naming the known ones."""
    try:
        return DTYPES[datatype]
    except KeyError:
        known = ", ".join(DTYPES)
        raise ValueError(f"unknown datatype {datatype!r}; known are: {known}") from None


def datatype_of(dtype: npt.DTypeLike) -> str:
    """The v2 datatype of a numpy type, in either byte order; text and byte strings are BYTES.

    Raises ValueError for a type that the protocol has no name for.
    """
    found = np.dtype(dtype)
    name = _DATATYPES.get(found)
    if name is not None:
        return name
    if found.kind in "SU":
        return "BYTES"
    try:
        return _DATATYPES[found.newbyteorder("=")]
    except KeyError:
        raise ValueError(f"{found} has no v2 datatype") from None


def text_to_bytes(array: Array) -> Array:
    """An object array of `str` as a BYTES tensor of UTF-8."""
    encoded = np.empty(array.shape, dtype=np.object_)
    encoded.ravel()[:] = [str(item).encode() for item in array.ravel()]
    return encoded


def bytes_to_text(array: Array) -> Array:
    """A BYTES tensor as an object array of `str`. Raises UnicodeDecodeError if one is not UTF-8."""
    decoded = np.empty(array.shape, dtype=np.object_)
    decoded.ravel()[:] = [
        str(item, "utf-8") if isinstance(item, bytes) else str(item) for item in array.ravel()
    ]
    return decoded


def bf16_to_float32(array: Array) -> Array:
    """Exact: a BF16 is the upper half of the float32 of the same value (IEEE 754 binary32)."""
    halves = np.ascontiguousarray(array).view("<u2").astype(np.uint32)
    widened: Array = (halves << np.uint32(16)).view(np.float32).reshape(array.shape)
    return widened


def float64_to_bf16(array: Array) -> Array:
    """Rounded once, to the nearest, ties to even; NaN stays NaN.

    The float32 in between is rounded to odd, which keeps on which side of a tie a value lies:
    S. Boldo and G. Melquiond, "Emulation of a FMA and correctly rounded sums", 2008.
    """
    exact = np.ascontiguousarray(array, dtype=np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        values = exact.astype(np.float32)
        back = values.astype(np.float64)
    bits = values.view(np.uint32).copy()
    is_even = (bits & np.uint32(1)) == 0
    # The bits of a float32 count its magnitude, whatever its sign.
    bits[is_even & np.isfinite(values) & (np.abs(exact) > np.abs(back))] += np.uint32(1)
    bits[is_even & (np.abs(exact) < np.abs(back))] -= np.uint32(1)
    return float32_to_bf16(bits.view(np.float32))


def float32_to_bf16(array: Array) -> Array:
    """Rounded to the nearest, ties to even; NaN stays NaN."""
    values = np.ascontiguousarray(array, dtype=np.float32).ravel()
    bits = values.view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    halves = np.where(np.isnan(values), np.uint32(0x7FC0), rounded).astype("<u2")
    pairs: Array = halves.view(DTYPES["BF16"]).reshape(array.shape)
    return pairs
