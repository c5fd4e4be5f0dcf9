"""Boxes as float32 (n, 4) arrays of x1, y1, x2, y2: overlap, suppression, mapping back."""

import cv2
import numpy as np
import numpy.typing as npt

from app.imaging.values import Floats
from app.types import ImageTransform


def iou_matrix(first: Floats, second: Floats) -> Floats:
    """Intersection over union of every pair, (len(first), len(second)); 0 for empty boxes."""
    top_left = np.maximum(first[:, None, :2], second[None, :, :2])
    bottom_right = np.minimum(first[:, None, 2:], second[None, :, 2:])
    overlap = np.prod(np.clip(bottom_right - top_left, 0, None), axis=2)
    union = _areas(first)[:, None] + _areas(second)[None, :] - overlap
    result: Floats = (overlap / np.maximum(union, 1e-9)).astype(np.float32)
    return result


def _areas(boxes: Floats) -> Floats:
    sides: Floats = np.clip(boxes[:, 2:] - boxes[:, :2], 0, None)
    areas: Floats = sides[:, 0] * sides[:, 1]
    return areas


def suppress(
    boxes: Floats, scores: Floats, classes: npt.NDArray[np.int32], iou: float
) -> npt.NDArray[np.intp]:
    """Indices that survive non-maximum suppression within each class, best score first.

    A box goes when it overlaps a better one of its class by more than `iou`.
    """
    if not len(boxes):
        return np.zeros(0, np.intp)
    corner_and_size = np.hstack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]]).astype(np.float64)
    indices = cv2.dnn.NMSBoxesBatched(
        corner_and_size.tolist(), scores.tolist(), classes.tolist(), 0.0, iou
    )
    kept = np.asarray(indices, np.intp).reshape(-1)
    return kept[np.argsort(-scores[kept], kind="stable")]


def to_original(boxes: Floats, transform: ImageTransform) -> Floats:
    """From the model's pixels to the original picture's, clipped to it."""
    height, width = transform.original_size
    pad = np.array([transform.pad_x, transform.pad_y] * 2, np.float32)
    scale = np.array([transform.scale_x, transform.scale_y] * 2, np.float32)
    limit = np.array([width, height] * 2, np.float32)
    mapped: Floats = np.clip((boxes - pad) / scale, 0, limit)
    return mapped
