"""Weights in 8 bits: smaller, on some processors faster, and a little wrong: it is measured."""

from pathlib import Path

import numpy as np

from app.formats.datatypes import dtype_of
from app.types import Array, Arrays, ModelMetadata

_SEED = 20240


def quantize_int8(source: Path, target: Path) -> None:
    """Write `source` with its weights in 8 bits to `target`.

    ONNX Runtime's own dynamic quantization. Raises ImportError without the `onnx` package.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic  # noqa: PLC0415 - needs onnx

    quantize_dynamic(source, target, weight_type=QuantType.QInt8)


def seeded_inputs(metadata: ModelMetadata, shapes: Arrays) -> Arrays:
    """Inputs in the shapes of `shapes`, the same at every call.

    Fractions are normally distributed; anything else stays as it is, since what it may be is not
    known.
    """
    random = np.random.default_rng(_SEED)
    inputs: dict[str, Array] = {}
    for spec in metadata.inputs:
        array = shapes[spec.name]
        if spec.datatype in ("FP16", "FP32", "FP64"):
            array = random.standard_normal(array.shape).astype(dtype_of(spec.datatype))
        inputs[spec.name] = array
    return inputs


def deviation(answers: Arrays, original: Arrays) -> float:
    """The largest difference of any output, as a part of the largest value of that output.

    Infinite where a shape differs or a value is not finite in one only.
    """
    return max((_deviation(answers[name], array) for name, array in original.items()), default=0.0)


def _deviation(answer: Array, original: Array) -> float:
    if answer.shape != original.shape:
        return float("inf")
    if original.dtype.kind not in "fiu" or original.size == 0:
        return 0.0 if np.array_equal(answer, original) else float("inf")
    left, right = answer.astype(np.float64), original.astype(np.float64)
    if not (np.isfinite(left).all() and np.isfinite(right).all()):
        return 0.0 if np.array_equal(left, right, equal_nan=True) else float("inf")
    scale = float(np.abs(right).max())
    difference = float(np.abs(left - right).max())
    return difference / scale if scale > 0 else (0.0 if difference == 0 else float("inf"))
