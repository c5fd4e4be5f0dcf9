"""What an encoded picture says of itself, read without decoding or allocating any of it.

The size is read before anything is decoded because a few kilobytes can declare gigabytes, and the
structure is walked to the end because some decoders answer a truncated file with a half grey
picture instead of an error.

Formats: JPEG ITU-T T.81 annex B, Exif CIPA DC-008 section 4.6, PNG (third edition) section 5, WebP
RFC 9649, BMP as Windows writes it (BITMAPCOREHEADER and BITMAPINFOHEADER with its successors,
uncompressed).
"""

import re
from dataclasses import dataclass, replace
from typing import Literal

from app.errors import InvalidInput

ImageFormat = Literal["jpeg", "png", "webp", "bmp"]

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_JPEG_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_END, _JPEG_SCAN, _JPEG_EXIF = 0xD9, 0xDA, 0xE1
_JPEG_SEQUENTIAL = frozenset({0xC0, 0xC1})
_EXIF, _ORIENTATION_TAG, _ORIENTATIONS = b"Exif\0\0", 0x0112, range(1, 9)
# Inside a scan 0xFF is data when stuffed with 0x00, and D0-D7 only restart it. No repetition: where
# every byte of a run could begin a match, a megabyte of 0xFF takes hours.
_JPEG_MARKER_IN_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
# A progressive picture needs about ten scans; thousands of empty ones only burn time.
_JPEG_MAX_SCANS = 100
# A PNG of 64 MB in parts of the 8 KB that encoders write has 8192 of them.
_MAX_PARTS = 50_000
_BMP_UNCOMPRESSED = (0, 3)


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """Format and size in pixels, before any orientation tag is applied.

    `orientation` is Exif's number, 1 to 8, of a JPEG; 1 where it has none or a broken one. `ended`
    is false for a JPEG whose only scan runs to the end of the file, without the end mark.
    """

    format: ImageFormat
    width: int
    height: int
    orientation: int = 1
    ended: bool = True


def read_header(data: bytes) -> ImageHeader:
    """Raises InvalidInput for another format, a truncated file or an empty picture."""
    if data.startswith(b"\xff\xd8"):
        header = _read_jpeg(data)
    elif data.startswith(_PNG_SIGNATURE):
        header = _read_png(data)
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        header = _read_webp(data)
    elif data.startswith(b"BM"):
        header = _read_bmp(data)
    else:
        raise InvalidInput("the picture is not JPEG, PNG, WebP or BMP")
    if header.width <= 0 or header.height <= 0:
        raise InvalidInput(f"the {header.format} picture declares no size")
    return header


def _big(data: bytes, offset: int, length: int, what: str) -> int:
    return int.from_bytes(_take(data, offset, length, what), "big")


def _little(data: bytes, offset: int, length: int, what: str) -> int:
    return int.from_bytes(_take(data, offset, length, what), "little")


def _take(data: bytes, offset: int, length: int, what: str) -> bytes:
    if offset + length > len(data):
        raise InvalidInput(f"the {what} picture is truncated")
    return data[offset : offset + length]


def _read_jpeg(data: bytes) -> ImageHeader:
    position, scans, header, orientation = 2, 0, None, 1
    sequential = components = 0
    for _ in range(_MAX_PARTS):
        if _take(data, position, 1, "jpeg") != b"\xff":
            raise InvalidInput("the jpeg picture is corrupt: a marker is missing")
        marker = _big(data, position + 1, 1, "jpeg")
        position += 1
        if marker == 0xFF:  # fill byte before a marker
            continue
        position += 1
        if marker == _JPEG_END:
            if header is None or not scans:
                raise InvalidInput("the jpeg picture is corrupt: it has no frame")
            return replace(header, orientation=orientation)
        if marker == _JPEG_EXIF and orientation == 1:
            end = position + _big(data, position, 2, "jpeg")
            orientation = _read_orientation(data[position + 2 : end])
        if marker in _JPEG_START_OF_FRAME and header is None:
            height = _big(data, position + 3, 2, "jpeg")
            header = ImageHeader("jpeg", _big(data, position + 5, 2, "jpeg"), height)
            sequential = marker in _JPEG_SEQUENTIAL
            components = _big(data, position + 7, 1, "jpeg")
        here = _big(data, position + 2, 1, "jpeg") if marker == _JPEG_SCAN else 0
        position += _big(data, position, 2, "jpeg")
        if marker == _JPEG_SCAN:
            scans += 1
            if scans > _JPEG_MAX_SCANS:
                raise InvalidInput(f"the jpeg picture has over {_JPEG_MAX_SCANS} scans")
            found = _JPEG_MARKER_IN_SCAN.search(data, position)
            if found is None:
                if header is None or scans > 1 or not sequential or here != components:
                    raise InvalidInput("the jpeg picture is truncated")
                return replace(header, orientation=orientation, ended=False)
            position = found.start()
    raise InvalidInput(f"the jpeg picture has over {_MAX_PARTS} segments")


def _read_orientation(segment: bytes) -> int:
    """Decoders take a picture with a broken tag as it is, and so does this."""
    tiff = segment[len(_EXIF) :]
    byte_order: Literal["little", "big"] = "little" if tiff.startswith(b"II") else "big"

    def number(offset: int, length: int) -> int:
        return int.from_bytes(tiff[offset : offset + length], byte_order)

    if not segment.startswith(_EXIF) or number(2, 2) != 42:
        return 1
    directory = number(4, 4)
    declared = directory + 2 + 12 * number(directory, 2)
    for entry in range(directory + 2, min(declared, len(tiff)), 12):  # not what is only declared
        if number(entry, 2) == _ORIENTATION_TAG:
            value = number(entry + 8, 2)
            return value if value in _ORIENTATIONS else 1
    return 1


def _read_png(data: bytes) -> ImageHeader:
    if _take(data, 12, 4, "png") != b"IHDR":
        raise InvalidInput("the png picture is corrupt: it does not start with its header")
    header = ImageHeader("png", _big(data, 16, 4, "png"), _big(data, 20, 4, "png"))
    position = len(_PNG_SIGNATURE)
    for _ in range(_MAX_PARTS):
        if _take(data, position + 4, 4, "png") == b"IEND":
            _take(data, position, 12, "png")
            return header
        position += 12 + _big(data, position, 4, "png")
    raise InvalidInput(f"the png picture has over {_MAX_PARTS} chunks")


def _read_webp(data: bytes) -> ImageHeader:
    _take(data, 8, _little(data, 4, 4, "webp"), "webp")
    kind = _take(data, 12, 4, "webp")
    if kind == b"VP8X":
        width = _little(data, 24, 3, "webp") + 1
        height = _little(data, 27, 3, "webp") + 1
    elif kind == b"VP8L":
        bits = _little(data, 21, 4, "webp")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    elif kind == b"VP8 ":
        width = _little(data, 26, 2, "webp") & 0x3FFF
        height = _little(data, 28, 2, "webp") & 0x3FFF
    else:
        raise InvalidInput("the webp picture is corrupt: it holds no picture chunk")
    return ImageHeader("webp", width, height)


def _read_bmp(data: bytes) -> ImageHeader:
    pixels_at, header_size = _little(data, 10, 4, "bmp"), _little(data, 14, 4, "bmp")
    if header_size == 12:  # BITMAPCOREHEADER
        width, height = _little(data, 18, 2, "bmp"), _little(data, 20, 2, "bmp")
        depth, compression = _little(data, 24, 2, "bmp"), 0
    else:
        width = _signed(data, 18)
        height = abs(_signed(data, 22))  # negative when stored top down
        depth, compression = _little(data, 28, 2, "bmp"), _little(data, 30, 4, "bmp")
    if compression not in _BMP_UNCOMPRESSED:
        raise InvalidInput("the bmp picture is compressed, which is not handled")
    row = (width * depth + 31) // 32 * 4
    _take(data, pixels_at, max(0, row * height), "bmp")
    return ImageHeader("bmp", width, height)


def _signed(data: bytes, offset: int) -> int:
    return int.from_bytes(_take(data, offset, 4, "bmp"), "little", signed=True)
