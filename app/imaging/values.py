"""What picture nodes pass to one another, checked where it enters a node."""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from app.errors import InferenceFailed, InvalidInput
from app.types import Array, Arrays, ImageTransform, Tensors

Image: TypeAlias = npt.NDArray[np.uint8]
"""A picture, uint8 (height, width, 3), blue-green-red as OpenCV has it."""

Floats: TypeAlias = npt.NDArray[np.float32]


def require_image(value: object) -> Image:
    """`value` as an Image. Raises InvalidInput saying what it is instead."""
    if not isinstance(value, np.ndarray):
        raise InvalidInput(f"expected a picture, got {type(value).__name__}")
    if value.dtype != np.uint8 or value.ndim != 3 or value.shape[2] != 3 or not value.size:
        raise InvalidInput(
            f"expected a picture as uint8 (height, width, 3), got {value.dtype} {value.shape}"
        )
    return value


def require_tensors(value: object) -> Tensors:
    """Raises InvalidInput saying what `value` is instead."""
    if not isinstance(value, Tensors):
        raise InvalidInput(f"expected tensors, got {type(value).__name__}")
    return value


def require_transform(tensors: Tensors) -> ImageTransform:
    """Raises InvalidInput when nothing says how the model's picture came from the original."""
    if tensors.transform is None:
        raise InvalidInput("the tensors carry no image transform")
    return tensors.transform


def pick_output(arrays: Arrays, name: str) -> Array:
    """The array called `name`, or the only one where `name` is empty.

    Raises InferenceFailed naming what the model answered.
    """
    if name in arrays:
        return arrays[name]
    if not name and len(arrays) == 1:
        return next(iter(arrays.values()))
    known = ", ".join(sorted(arrays)) or "none"
    wanted = f"output {name!r}" if name else "a single output"
    raise InferenceFailed(f"expected {wanted} of the model, got {known}")
