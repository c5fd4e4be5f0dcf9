"""Fitting a picture into a model's input, keeping track of where every pixel went."""

import cv2
import numpy as np

from app.imaging.values import Image
from app.types import ImageTransform

LETTERBOX_GREY = 114
"""The padding that YOLO models are trained with."""


def resize(image: Image, width: int, height: int) -> Image:
    """Bilinear, as models are trained with; `image` itself where the size is right already."""
    if image.shape[:2] == (height, width):
        return image
    return np.asarray(cv2.resize(image, (width, height)), np.uint8)


def stretch(image: Image, width: int, height: int) -> tuple[Image, ImageTransform]:
    """Fill width x height, each axis scaled by its own factor."""
    original = (image.shape[0], image.shape[1])
    transform = ImageTransform(
        original_size=original,
        model_size=(height, width),
        scale_x=width / original[1],
        scale_y=height / original[0],
    )
    return resize(image, width, height), transform


def letterbox(image: Image, width: int, height: int) -> tuple[Image, ImageTransform]:
    """Fit into width x height with the aspect ratio kept, centred on grey."""
    original = (image.shape[0], image.shape[1])
    scale = min(width / original[1], height / original[0])
    inner_width = max(1, round(original[1] * scale))
    inner_height = max(1, round(original[0] * scale))
    left, top = (width - inner_width) // 2, (height - inner_height) // 2
    canvas = np.full((height, width, 3), LETTERBOX_GREY, np.uint8)
    canvas[top : top + inner_height, left : left + inner_width] = resize(
        image, inner_width, inner_height
    )
    transform = ImageTransform(
        original_size=original,
        model_size=(height, width),
        scale_x=inner_width / original[1],
        scale_y=inner_height / original[0],
        pad_x=left,
        pad_y=top,
    )
    return canvas, transform
