"""Finding lines of text with a PP-OCR detector, whose output is a probability per pixel.

The numbers are those the detectors are trained and usually run with: the shorter side at least 736
pixels, both sides multiples of 32, values from -1 to 1 in blue-green-red. The way from
probabilities to boxes is that of Differentiable Binarization (Liao et al., AAAI 2020).
"""

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field

from app.errors import InferenceFailed
from app.imaging.codec import DEFAULT_MAX_PIXELS, decode_image
from app.imaging.resize import resize
from app.imaging.tensor import Normalisation, write_planes
from app.imaging.text import reading_order, start_reading
from app.imaging.values import Floats, pick_output, require_tensors, require_transform
from app.nodes.flow.function import register_function
from app.registry import ComponentConfig
from app.types import Array, ImageTransform, Tensors

_STRIDE = 32
_NORMALISATION = Normalisation(scale=1 / 255, mean=(0.5,) * 3, std=(0.5,) * 3, rgb=False)
# Detectors miss the text of a narrow strip that touches both edges: beyond this ratio of its sides,
# or below this many pixels, black is added until the ratio is half, or the pixels double.
_STRIP_RATIO = 8
_STRIP_PIXELS = 30


class DetectInputConfig(ComponentConfig):
    """How large the detector sees the picture.

    A side over `max_side` is shrunk to it, then a shorter side under `min_side` grown to it.
    """

    min_side: int = Field(736, ge=_STRIDE)
    max_side: int = Field(2000, ge=_STRIDE)
    input: str = ""
    max_pixels: int = Field(DEFAULT_MAX_PIXELS, gt=0)


def detect_input(config: DetectInputConfig, content: object) -> Tensors:
    """A picture, or its encoded bytes, to the detector's (1, 3, height, width) float32."""
    image = decode_image(content, config.max_pixels)
    height, width = image.shape[:2]
    full_width, full_height = _padded(width, height), _padded(height, width)
    scale = min(1.0, config.max_side / max(full_width, full_height))
    scale *= max(1.0, config.min_side / (min(full_width, full_height) * scale))
    model_width, model_height = _whole(full_width * scale), _whole(full_height * scale)
    inner_width = max(1, round(width * model_width / full_width))
    inner_height = max(1, round(height * model_height / full_height))
    left, top = (model_width - inner_width) // 2, (model_height - inner_height) // 2

    batch = np.full((1, 3, model_height, model_width), -1, np.float32)
    inside = batch[0, :, top : top + inner_height, left : left + inner_width]
    write_planes(resize(image, inner_width, inner_height), inside, _NORMALISATION)
    transform = ImageTransform(
        original_size=(height, width),
        model_size=(model_height, model_width),
        scale_x=inner_width / width,
        scale_y=inner_height / height,
        pad_x=left,
        pad_y=top,
    )
    return Tensors({config.input: batch}, transform)


def _padded(side: int, other: int) -> int:
    """The length of a side once black is added to what would be a strip."""
    if side > _STRIP_PIXELS and other <= _STRIP_RATIO * side:
        return side
    return 2 * max(round(other / _STRIP_RATIO), _STRIP_PIXELS)


def _whole(length: float) -> int:
    return max(_STRIDE, round(length / _STRIDE) * _STRIDE)


class TextBoxesConfig(ComponentConfig):
    """From which probability on a pixel is text, and a box is.

    The detector marks the core of a line only; `unclip` says how far its box is grown outwards,
    as a share of area / circumference. `min_size` in the model's pixels drops specks.
    """

    pixel_thresh: float = Field(0.3, gt=0, lt=1)
    box_thresh: float = Field(0.5, gt=0, lt=1)
    unclip: float = Field(1.6, ge=0)
    min_size: float = Field(3, ge=0)
    max_boxes: int = Field(1000, gt=0)
    output: str = ""


def text_boxes(config: TextBoxesConfig, value: object) -> Floats:
    """Polygons (n, 4, 2) in original pixels and reading order; see `app.imaging.text`."""
    tensors = require_tensors(value)
    transform = require_transform(tensors)
    probabilities = _probability_map(pick_output(tensors.arrays, config.output))
    # One pixel more to the right and below closes the gaps between thin strokes.
    mask = cv2.dilate(
        (probabilities > config.pixel_thresh).astype(np.uint8), np.ones((2, 2), np.uint8)
    )
    contours, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    found = [
        box
        for contour in contours[: config.max_boxes]
        if (box := _box(config, np.asarray(contour, np.int32), probabilities)) is not None
    ]
    if not found:
        return np.zeros((0, 4, 2), np.float32)
    polygons = _to_original(np.stack(found), transform)
    return polygons[reading_order(polygons)]


def _probability_map(output: Array) -> Floats:
    if output.ndim != 4 or output.shape[:2] != (1, 1):
        raise InferenceFailed(
            f"a text detector answers (1, 1, height, width), this one {output.shape}"
        )
    return np.asarray(output[0, 0], np.float32)


def _box(
    config: TextBoxesConfig, contour: npt.NDArray[np.int32], probabilities: Floats
) -> Floats | None:
    centre, (width, height), angle = cv2.minAreaRect(contour)
    if min(width, height) < config.min_size:
        return None
    core = cv2.boxPoints((centre, (width, height), angle)).astype(np.float32)
    if _mean_inside(core, probabilities) < config.box_thresh:
        return None
    # Offsetting a rectangle outwards and boxing the result gives the rectangle with every side
    # moved by the distance, so no polygon clipping is needed.
    distance = width * height * config.unclip / (2 * (width + height))
    grown = (width + 2 * distance, height + 2 * distance)
    if min(grown) < config.min_size + 2:
        return None
    return start_reading(cv2.boxPoints((centre, grown, angle)).astype(np.float32))


def _mean_inside(polygon: Floats, probabilities: Floats) -> float:
    limit = np.array(probabilities.shape[::-1]) - 1
    left, top = np.clip(np.floor(polygon.min(axis=0)).astype(int), 0, limit)
    right, bottom = np.clip(np.ceil(polygon.max(axis=0)).astype(int), 0, limit)
    mask = np.zeros((bottom - top + 1, right - left + 1), np.uint8)
    cv2.fillPoly(mask, [(polygon - (left, top)).astype(np.int32)], (1,))
    return float(cv2.mean(probabilities[top : bottom + 1, left : right + 1], mask)[0])


def _to_original(polygons: Floats, transform: ImageTransform) -> Floats:
    height, width = transform.original_size
    scale = np.array([transform.scale_x, transform.scale_y])
    mapped = (polygons - (transform.pad_x, transform.pad_y)) / scale
    polygons = np.clip(mapped, 0, [width - 1, height - 1]).astype(np.float32)
    sides = np.linalg.norm(np.roll(polygons, -1, axis=1) - polygons, axis=2)
    return np.asarray(polygons[(sides[:, :2] > 3).all(axis=1)], np.float32)


register_function("text.detect_input", DetectInputConfig, detect_input, blocking=True)
register_function("text.boxes", TextBoxesConfig, text_boxes, blocking=True)
