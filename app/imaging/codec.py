"""Encoded pictures to arrays, refusing what would cost too much before it costs anything."""

import cv2
import numpy as np
import simplejpeg

from app.errors import InvalidInput, TooLarge
from app.imaging.header import ImageHeader, read_header
from app.imaging.values import Image, require_image

DEFAULT_MAX_PIXELS = 50_000_000

_JPEG_START, _JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"

_MIRRORED_AXES = ((), (1,), (0, 1), (0,))
"""Of Exif's orientations 1 to 4; those of 5 to 8 are the same with the two axes exchanged first."""


def decode_image(content: object, max_pixels: int = DEFAULT_MAX_PIXELS) -> Image:
    """A picture from JPEG, PNG, WebP or BMP bytes, or from a uint8 array.

    Arrays are (height, width) grey or (height, width, 3) blue-green-red. An EXIF orientation is
    applied; transparency and depths over 8 bits are dropped. Raises TooLarge when the picture is,
    or declares to be, over `max_pixels`, and InvalidInput when it is anything else or damaged, as
    far as its format lets that be seen: lossy WebP has no mark of where its data went wrong.
    """
    if isinstance(content, np.ndarray):
        return _from_array(content, max_pixels)
    if not isinstance(content, bytes | bytearray | memoryview):
        raise InvalidInput(f"expected an encoded picture, got {type(content).__name__}")
    data = bytes(content)
    if data.lstrip(b"\r\n").startswith(_JPEG_START):  # as parts of a multipart stream may begin
        data = data.lstrip(b"\r\n")
    header = read_header(data)
    _check_size(header.width, header.height, max_pixels)
    if header.format == "jpeg":
        return _decode_jpeg(data, header)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise InvalidInput(f"the {header.format} picture cannot be decoded") from error
    if image is None:
        raise InvalidInput(f"the {header.format} picture cannot be decoded")
    return require_image(image)


def _decode_jpeg(data: bytes, header: ImageHeader) -> Image:
    """Not by OpenCV, which answers damaged data with a picture that is grey or smeared from there.

    Its pixels are the same: both are libjpeg-turbo's. Where the end mark alone is missing, as in
    what some cameras send, it is added: the decoder refuses a scan that ends before its last block.
    """
    if not header.ended:
        data = data.removesuffix(b"\xff") + _JPEG_END
    try:
        image = simplejpeg.decode_jpeg(data, "BGR")
    except ValueError as error:
        raise InvalidInput(f"the jpeg picture is damaged: {error}") from error
    return _upright(image, header.orientation)


def _upright(image: Image, orientation: int) -> Image:
    """As it is to be looked at, by Exif's number for how it is stored."""
    if orientation == 1:
        return image
    turned = image.swapaxes(0, 1) if orientation > 4 else image
    return np.ascontiguousarray(np.flip(turned, _MIRRORED_AXES[(orientation - 1) % 4]))


def _from_array(array: Image, max_pixels: int) -> Image:
    if array.ndim >= 2:
        _check_size(array.shape[1], array.shape[0], max_pixels)
    if array.ndim == 2 and array.dtype == np.uint8 and array.size:
        return require_image(cv2.cvtColor(array, cv2.COLOR_GRAY2BGR))
    return require_image(array)


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise TooLarge(f"the picture is {width} x {height}, over {max_pixels} pixels")
