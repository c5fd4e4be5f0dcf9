"""Node results as JSON, for archives, stores and clients."""

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass

import numpy as np

from app.types import Detections, JsonValue, Tensors

MAX_ARRAY_ITEMS = 10_000


def result_json(value: object) -> JsonValue:
    """The value as JSON: dataclasses as objects, arrays as nested lists, NaN as null.

    Tensors, large arrays and encoded pictures are told by type and size only: they are what a
    model reads, not what anyone wants to read.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | str | float | bytes | bytearray):
        return _scalar(value)
    if isinstance(value, np.ndarray):
        return _outline(value) if value.size > MAX_ARRAY_ITEMS else result_json(value.tolist())
    if isinstance(value, Detections):
        return _detections(value)
    if isinstance(value, Tensors):
        return {name: _outline(np.asarray(array)) for name, array in value.arrays.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [result_json(item) for item in value]
    return _object(value)


def _detections(found: Detections) -> JsonValue:
    """One object for each detection: what people look for, side by side."""
    objects: list[JsonValue] = []
    for index, number in enumerate(found.classes.tolist()):
        label = found.labels[number] if number < len(found.labels) else str(number)
        item: dict[str, JsonValue] = {
            "label": label,
            "score": _scalar(round(float(found.scores[index]), 4)),
            "box": [round(float(edge), 1) for edge in found.boxes[index]],
        }
        if found.track_ids is not None:
            item["track_id"] = int(found.track_ids[index])
        objects.append(item)
    return objects


def _scalar(value: bool | int | str | float | bytes | bytearray | None) -> JsonValue:
    if isinstance(value, bytes | bytearray):
        return {"bytes": len(value)}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _object(value: object) -> JsonValue:
    if isinstance(value, Mapping):
        return {str(key): result_json(item) for key, item in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: result_json(getattr(value, field.name)) for field in fields(value)}
    return str(value)


def _outline(array: "np.ndarray[tuple[int, ...], np.dtype[np.generic]]") -> JsonValue:
    return {"shape": list(array.shape), "dtype": str(array.dtype)}
