"""Runs of ONNX Runtime sessions that take or give BF16, for which it has no numpy type."""

import ctypes
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from app.formats.datatypes import DTYPES
from app.types import Array

if TYPE_CHECKING:
    from onnxruntime import InferenceSession, OrtValue

BF16 = DTYPES["BF16"]

_ELEMENT = 16
"""BFLOAT16 in TensorProto.DataType of onnx.proto."""


def run_with_bf16(session: "InferenceSession", feed: Mapping[str, Array]) -> list[Array]:
    """As `session.run(None, feed)`, with BF16 tensors as `app.formats.datatypes` carries them."""
    values = {name: _value(array) for name, array in feed.items()}
    return [_array(value) for value in session.run_with_ort_values(None, values)]


def _value(array: Array) -> "OrtValue":
    from onnxruntime import OrtValue  # noqa: PLC0415 - an extra, and slow to import

    whole = np.ascontiguousarray(array).reshape(array.shape)
    if array.dtype == BF16:
        return OrtValue.ortvalue_from_numpy_with_onnx_type(whole.view(np.uint16), _ELEMENT)
    return OrtValue.ortvalue_from_numpy(whole)


def _array(value: "OrtValue") -> Array:
    if value.data_type() != "tensor(bfloat16)":
        plain: Array = value.numpy()
        return plain
    array: Array = np.empty(value.shape(), BF16)
    ctypes.memmove(array.ctypes.data, value.data_ptr(), array.nbytes)
    return array
