import struct
import zlib

import cv2
import numpy as np
import pytest

from app.errors import InvalidInput
from app.imaging.header import read_header

PICTURE = np.random.default_rng(0).integers(0, 255, (37, 53, 3), dtype=np.uint8)


def encoded(extension: str, *options: int) -> bytes:
    return cv2.imencode(extension, PICTURE, options)[1].tobytes()


FILES = {
    "jpeg": encoded(".jpg"),
    "jpeg progressive": encoded(".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    "jpeg restarts": encoded(".jpg", cv2.IMWRITE_JPEG_RST_INTERVAL, 2),
    "png": encoded(".png"),
    "webp lossy": encoded(".webp", cv2.IMWRITE_WEBP_QUALITY, 60),
    "webp lossless": encoded(".webp", cv2.IMWRITE_WEBP_QUALITY, 101),
    "bmp": encoded(".bmp"),
}


def png_declaring(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        checksum = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(64))
    start = b"\x89PNG\r\n\x1a\n"
    return start + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def jpeg_declaring(width: int, height: int) -> bytes:
    data = bytearray(FILES["jpeg"])
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(data)


@pytest.mark.parametrize("name", FILES)
def test_reads_format_and_size(name: str) -> None:
    header = read_header(FILES[name])
    assert name.startswith(header.format)
    assert (header.width, header.height) == (53, 37)


@pytest.mark.parametrize("name", FILES)
def test_every_truncation_is_refused(name: str) -> None:
    data = FILES[name]
    for length in range(len(data) - 1):
        try:
            header = read_header(data[:length])
        except InvalidInput:
            continue
        assert not header.ended, "only the decoder can tell whether the scan is complete"
        assert length > data.index(b"\xff\xda")


@pytest.mark.parametrize("name", FILES)
def test_bytes_after_the_end_are_ignored(name: str) -> None:
    assert read_header(FILES[name] + bytes(16)).width == 53


def test_a_thumbnail_does_not_stand_in_for_a_truncated_picture() -> None:
    thumbnail = b"Exif\0\0" + FILES["jpeg"]
    segment = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    whole = b"\xff\xd8" + segment + FILES["jpeg"][2:]
    assert read_header(whole).width == 53
    assert not read_header(whole[:-100]).ended


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"II*\0" + bytes(60),
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"GIF89a" + bytes(60),
    ],
    ids=["empty", "tiff", "svg", "gif"],
)
def test_other_formats_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidInput, match="not JPEG, PNG, WebP or BMP"):
        read_header(data)


@pytest.mark.parametrize("data", [png_declaring(0, 5), jpeg_declaring(53, 0)])
def test_a_picture_without_size_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidInput, match="no size"):
        read_header(data)


def test_a_flood_of_scans_is_refused() -> None:
    data = FILES["jpeg progressive"]
    last_scan = data.rindex(b"\xff\xda")
    scan = data[last_scan:-2]
    with pytest.raises(InvalidInput, match="scans"):
        read_header(data[:-2] + scan * 200 + data[-2:])


def test_a_run_of_bytes_that_could_begin_a_marker_is_read_once() -> None:
    scan = FILES["jpeg"][:-2] + b"\xff" * 1_000_000 + b"\x00" + FILES["jpeg"][-2:]
    assert read_header(scan).width == 53  # hours, if each of them were a new beginning


@pytest.mark.parametrize("piece", [b"\xff", b"\xff\xfe\0\x02"], ids=["fill bytes", "segments"])
def test_a_jpeg_of_countless_segments_is_refused(piece: bytes) -> None:
    with pytest.raises(InvalidInput, match="segments"):
        read_header(FILES["jpeg"][:2] + piece * 60_000 + FILES["jpeg"][2:])


def test_a_png_of_countless_chunks_is_refused() -> None:
    data = png_declaring(5, 5)
    ends = data.index(b"IEND") - 4
    empty = struct.pack(">I", 0) + b"teXt" + struct.pack(">I", zlib.crc32(b"teXt"))
    with pytest.raises(InvalidInput, match="chunks"):
        read_header(data[:ends] + empty * 60_000 + data[ends:])


def test_a_compressed_bmp_is_refused() -> None:
    data = bytearray(FILES["bmp"])
    data[30] = 1  # run length encoding
    with pytest.raises(InvalidInput, match="compressed"):
        read_header(bytes(data))
