"""Encoded pictures to pixels. OpenCV is the judge of what the pixels are."""

import struct

import cv2
import numpy as np
import pytest

from app.errors import InvalidInput
from app.imaging.codec import decode_image
from app.imaging.values import Image, require_image

COLUMNS = np.linspace(0, 255, 53).astype(np.uint8)
ROWS = np.linspace(0, 255, 37).astype(np.uint8)
PICTURE = np.stack(np.broadcast_arrays(COLUMNS, ROWS[:, None], np.uint8(90)), axis=-1)


def jpeg(*options: int) -> bytes:
    return cv2.imencode(".jpg", PICTURE, options)[1].tobytes()


def with_exif(data: bytes, tiff: bytes) -> bytes:
    body = b"Exif\0\0" + tiff
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:]


def tiff(byte_order: str, orientation: int) -> bytes:
    """A first directory of two entries, the second of which is the orientation."""
    mark = b"II*\0" if byte_order == "<" else b"MM\0*"
    width = struct.pack(byte_order + "HHII", 0x0100, 4, 1, 53)
    entry = struct.pack(byte_order + "HHIHH", 0x0112, 3, 1, orientation, 0)
    return mark + struct.pack(byte_order + "IH", 8, 2) + width + entry + bytes(4)


def by_opencv(data: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None
    return pixels.astype(np.uint8)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(jpeg(), id="plain"),
        pytest.param(jpeg(cv2.IMWRITE_JPEG_PROGRESSIVE, 1), id="progressive"),
        pytest.param(jpeg(cv2.IMWRITE_JPEG_RST_INTERVAL, 2), id="restarts"),
        pytest.param(cv2.imencode(".jpg", PICTURE[:, :, 0])[1].tobytes(), id="grey"),
        pytest.param(cv2.imencode(".png", PICTURE)[1].tobytes(), id="png"),
    ],
)
def test_the_pixels_are_opencvs(data: bytes) -> None:
    np.testing.assert_array_equal(decode_image(data), by_opencv(data))


@pytest.mark.parametrize("byte_order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(10))
def test_every_orientation_is_applied(orientation: int, byte_order: str) -> None:
    data = with_exif(jpeg(), tiff(byte_order, orientation))
    upright = decode_image(data)
    np.testing.assert_array_equal(upright, by_opencv(data))
    assert upright.flags.c_contiguous


@pytest.mark.parametrize("length", range(31))
def test_a_broken_tag_leaves_the_picture_as_it_is(length: int) -> None:
    data = with_exif(jpeg(), tiff("<", 6)[:length])
    np.testing.assert_array_equal(decode_image(data), by_opencv(data))


def test_fault_053_damaged_jpegs_are_refused() -> None:
    whole = cv2.imencode(".jpg", np.tile(PICTURE, (8, 8, 1)))[1].tobytes()
    middle = len(whole) // 2
    zeros = whole[:middle] + bytes(200) + whole[middle + 200 :]
    half = whole[:middle] + b"\xff\xd9"
    for data in (zeros, half):
        with pytest.raises(InvalidInput, match="the jpeg picture is damaged: "):
            decode_image(data)


def test_fault_053_a_damaged_png_is_refused() -> None:
    data = bytearray(cv2.imencode(".png", PICTURE)[1].tobytes())
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(InvalidInput, match="the png picture cannot be decoded"):
        decode_image(bytes(data))


def noise(*options: int, size: tuple[int, int] = (96, 128)) -> bytes:
    """A JPEG in which no block is like another."""
    pixels = np.random.default_rng(5).integers(0, 256, (*size, 3)).astype(np.uint8)
    return bytes(cv2.imencode(".jpg", pixels, options)[1])


RESTARTS = (cv2.IMWRITE_JPEG_RST_INTERVAL, 4)
KINDS = {
    "usual": noise(),
    "poor": noise(cv2.IMWRITE_JPEG_QUALITY, 5),
    "restarts": noise(*RESTARTS),
    "optimised": noise(cv2.IMWRITE_JPEG_OPTIMIZE, 1),
    "odd size": noise(size=(37, 53)),
}


def opencvs(data: bytes) -> Image:
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    return require_image(decoded)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("before", [b"", b"\r\n", b"\n", b"\r\n\r\n"])
@pytest.mark.parametrize(
    "end", [b"\xff\xd9", b"", b"\xff", b"\xff\xd9\r\n--next", b"\xff\xd9" + bytes(999)]
)
def test_fault_167_a_jpeg_that_lacks_its_end_or_stands_among_other_bytes(
    kind: str, before: bytes, end: bytes
) -> None:
    data = KINDS[kind]
    found = decode_image(before + data[:-2] + end)
    assert np.array_equal(found, opencvs(data))


@pytest.mark.parametrize("kind", KINDS)
def test_fault_167_a_truncated_jpeg_is_refused_or_whole(kind: str) -> None:
    data = KINDS[kind]
    whole = opencvs(data)
    refused = 0
    for length in range(2, len(data)):
        try:
            found = decode_image(data[:length])
        except InvalidInput:
            refused += 1
        else:
            assert np.array_equal(found, whole), length
    assert refused >= len(data) - 8


def test_fault_167_a_progressive_jpeg_without_its_end_may_lack_scans_and_is_refused() -> None:
    data = noise(cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    assert np.array_equal(decode_image(data), opencvs(data))
    with pytest.raises(InvalidInput, match="truncated"):
        decode_image(data[:-2])
