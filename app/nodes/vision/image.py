"""From what a camera sends to what a model takes: decode, resize, crop, to_tensor."""

from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from app.errors import InvalidInput
from app.imaging.codec import DEFAULT_MAX_PIXELS, decode_image
from app.imaging.resize import letterbox, resize, stretch
from app.imaging.tensor import Normalisation, copy_planes, write_planes
from app.imaging.values import Image
from app.nodes.flow.function import register_function
from app.registry import ComponentConfig
from app.types import Array, Tensors

_INTENSITIES = ("scale", "mean", "std")


class DecodeConfig(ComponentConfig):
    """`max_pixels` bounds width x height as the file declares it, before it is decoded."""

    max_pixels: int = Field(DEFAULT_MAX_PIXELS, gt=0)


def decode(config: DecodeConfig, content: object) -> Image:
    """Bytes or an array to a picture; see `app.imaging.codec.decode_image`."""
    return decode_image(content, config.max_pixels)


class ResizeConfig(ComponentConfig):
    """Size in pixels; 0 for one of the two keeps the aspect ratio."""

    width: int = Field(0, ge=0)
    height: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _one_is_given(self) -> "ResizeConfig":
        if not (self.width or self.height):
            raise ValueError("width or height must be given")
        return self


def resize_image(config: ResizeConfig, content: object) -> Image:
    """Boxes found in the result are in its own pixels, not in those of the picture before."""
    image = decode_image(content)
    height, width = image.shape[:2]
    return resize(
        image,
        config.width or max(1, round(width * config.height / height)),
        config.height or max(1, round(height * config.width / width)),
    )


class CropConfig(ComponentConfig):
    """A rectangle in pixels, or in fractions of the picture's width and height."""

    x: float = Field(0, ge=0)
    y: float = Field(0, ge=0)
    width: float = Field(gt=0)
    height: float = Field(gt=0)
    unit: Literal["pixels", "fraction"] = "pixels"


def crop(config: CropConfig, content: object) -> Image:
    """The part of the rectangle that lies in the picture. Raises InvalidInput if none does."""
    image = decode_image(content)
    height, width = image.shape[:2]
    unit_x, unit_y = (width, height) if config.unit == "fraction" else (1, 1)
    left, top = round(config.x * unit_x), round(config.y * unit_y)
    right = round((config.x + config.width) * unit_x)
    bottom = round((config.y + config.height) * unit_y)
    part = image[top:bottom, left:right]
    if not part.size:
        raise InvalidInput(f"the crop lies outside the picture of {width} x {height}")
    return part


class ToTensorConfig(ComponentConfig):
    """What the model was trained with.

    A value becomes `(pixel * scale - mean) / std`, per channel in the order of `color`. With
    `letterbox` the aspect ratio is kept on grey, else the picture is stretched. `input` names the
    model's input; empty means its only one.
    """

    width: int = Field(640, gt=0)
    height: int = Field(640, gt=0)
    letterbox: bool = True
    color: Literal["rgb", "bgr"] = "rgb"
    layout: Literal["nchw", "nhwc"] = "nchw"
    dtype: Literal["float32", "uint8"] = "float32"
    scale: float = 1 / 255
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    input: str = ""
    max_pixels: int = Field(DEFAULT_MAX_PIXELS, gt=0)

    @model_validator(mode="after")
    def _values_make_sense(self) -> "ToTensorConfig":
        if self.dtype == "uint8" and self.model_fields_set.intersection(_INTENSITIES):
            raise ValueError("scale, mean and std do not apply to dtype uint8")
        if 0.0 in self.std:
            raise ValueError("std must not be 0")
        return self


def to_tensor(config: ToTensorConfig, content: object) -> Tensors:
    """One picture as a batch of one, (1, 3, height, width) or (1, height, width, 3).

    Takes an array or encoded bytes, so that it can stand first in a pipeline.
    """
    image = decode_image(content, config.max_pixels)
    fit = letterbox if config.letterbox else stretch
    fitted, transform = fit(image, config.width, config.height)
    return Tensors({config.input: _as_batch(config, fitted)}, transform)


def _as_batch(config: ToTensorConfig, image: Image) -> Array:
    nhwc = config.layout == "nhwc"
    shape = (config.height, config.width, 3) if nhwc else (3, config.height, config.width)
    norm = Normalisation(config.scale, config.mean, config.std, rgb=config.color == "rgb")
    if config.dtype == "uint8":
        pixels = np.empty(shape, np.uint8)
        copy_planes(image, pixels.transpose(2, 0, 1) if nhwc else pixels, norm)
        return pixels[None]
    values = np.empty(shape, np.float32)
    write_planes(image, values.transpose(2, 0, 1) if nhwc else values, norm)
    return values[None]


class JpegToYoloConfig(ComponentConfig):
    """Size of the model's input in pixels."""

    width: int = Field(640, gt=0)
    height: int = Field(640, gt=0)
    input: str = ""
    max_pixels: int = Field(DEFAULT_MAX_PIXELS, gt=0)


def jpeg_to_yolov5(config: JpegToYoloConfig, content: object) -> Tensors:
    """Letterboxed red-green-blue / 255, as YOLOv5 and YOLOv8 exports take it."""
    return to_tensor(ToTensorConfig(**config.model_dump()), content)


register_function("image.decode", DecodeConfig, decode, blocking=True)
register_function(
    "image.resize", ResizeConfig, resize_image, blocking=True, aliases=("ResizeNode",)
)
register_function("image.crop", CropConfig, crop, blocking=True, aliases=("CropNode",))
register_function(
    "image.to_tensor", ToTensorConfig, to_tensor, blocking=True, aliases=("ImagePreproc",)
)
register_function("vision.jpeg_to_yolov5", JpegToYoloConfig, jpeg_to_yolov5, blocking=True)
