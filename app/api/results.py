"""Node results as plain JSON data."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass

import numpy as np

from app.types import Detections, JsonValue, Tensors


def to_json(value: object) -> JsonValue:
    """Plain data for whatever a node may answer; arrays become nested lists."""
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, Detections):
        return _detections(value)
    if isinstance(value, Tensors):
        return {name: to_json(array) for name, array in value.arrays.items()}
    if isinstance(value, np.ndarray | np.generic):
        return to_json(value.tolist())
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    if is_dataclass(value):
        return {f.name: to_json(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [to_json(item) for item in value]
    return str(value)


def _detections(found: Detections) -> JsonValue:
    """One object for each detection: what people look for, side by side."""
    objects: list[JsonValue] = []
    for index, number in enumerate(found.classes.tolist()):
        label = found.labels[number] if number < len(found.labels) else str(number)
        item: dict[str, JsonValue] = {
            "label": label,
            "score": round(float(found.scores[index]), 4),
            "box": [round(float(edge), 1) for edge in found.boxes[index]],
        }
        if found.track_ids is not None:
            item["track_id"] = int(found.track_ids[index])
        objects.append(item)
    return objects
