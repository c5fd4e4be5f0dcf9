"""Bodies that cost more than they look, and paths that are spelt in other ways."""

import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.faults.abuse import BODY, INFER
from tests.faults.answers import refused
from tests.faults.server import MIB, InferencePlane
from tests.faults.wire import Answer, Connection, request
from tests.unit.app.imaging.test_header import FILES, jpeg_declaring, png_declaring

pytestmark = pytest.mark.integration

PICTURES = "/v1/pipelines/picture"
BLOCKED_SECONDS = 0.1
TRIES = 3
"""A machine that is busy with something else holds a ping up, too, but not each time."""

JPEG, PNG = FILES["jpeg"], png_declaring(53, 37)


def chunk(kind: bytes, content: bytes = b"") -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + checksum


def before_end(png: bytes, chunks: bytes) -> bytes:
    at = png.index(b"IEND") - 4
    return png[:at] + chunks + png[at:]


EMPTY_EXIF = b"\xff\xe1\0\x12Exif\0\0" + struct.pack("<2sHIH", b"II", 42, 8, 65_535)


def form(*parts: bytes) -> bytes:
    return b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + b"--b--\r\n"


def part(content: bytes, disposition: bytes = b'name="a"; filename="a"') -> bytes:
    return b"content-disposition: form-data; " + disposition + b"\r\n\r\n" + content


@contextmanager
def pinged(plane: InferencePlane) -> Iterator[list[float]]:
    """How long the server takes for a small request, again and again, while something is done."""
    seconds: list[float] = []
    done = threading.Event()

    def ping() -> None:
        with Connection(plane.port) as connection:
            while not (done.is_set() and seconds):
                started = time.monotonic()
                connection.exchange(request("GET", "/v2/health/live"), method="GET")
                seconds.append(time.monotonic() - started)

    thread = threading.Thread(target=ping)
    thread.start()
    try:
        yield seconds
    finally:
        done.set()
        thread.join()


def without_blocking(plane: InferencePlane, ask: Callable[[], Answer]) -> Answer:
    """The answer to `ask`, during which nobody else may have to wait."""
    worst = []
    for _ in range(TRIES):
        with pinged(plane) as seconds:
            answer = ask()
        worst.append(max(seconds))
        if worst[-1] < BLOCKED_SECONDS:
            return answer
    pytest.fail(f"others waited {', '.join(f'{each:.2f}' for each in worst)} s")


@pytest.mark.parametrize(
    ("picture", "status", "words"),
    [
        pytest.param(png_declaring(65_000, 65_000), 413, "65000 x 65000", id="png"),
        pytest.param(jpeg_declaring(65_000, 65_000), 413, "65000 x 65000", id="jpeg"),
        pytest.param(png_declaring(2**31 - 1, 2**31 - 1), 413, "pixels", id="png of 2^62"),
        pytest.param(
            FILES["bmp"][:18] + struct.pack("<ii", 65_000, -65_000) + FILES["bmp"][26:],
            *(400, "truncated"),
            id="bmp",
        ),
        pytest.param(
            before_end(PNG, chunk(b"tEXt") * 100_000), 400, "chunks", id="png of 100,000 chunks"
        ),
        pytest.param(
            JPEG[:2] + b"\xff\xfe\0\x02" * 250_000 + JPEG[2:],
            *(400, "segments"),
            id="jpeg of 250,000 segments",
        ),
        pytest.param(
            JPEG[:2] + EMPTY_EXIF * 60_000 + JPEG[2:],
            *(400, "segments"),
            id="jpeg of 60,000 directories that declare 65,535 entries each",
        ),
    ],
)
def test_fault_052_pictures_that_would_cost_much(
    plane: InferencePlane, picture: bytes, status: int, words: str
) -> None:
    data = request("POST", PICTURES, picture, {"content-type": "image/png"})
    with plane.peak_within(64.0):
        answer = without_blocking(plane, lambda: plane.http(data))
    refused(answer, PICTURES, status, words)
    plane.well()


def test_fault_052_a_picture_of_beginnings_is_read_once(plane: InferencePlane) -> None:
    scan = JPEG[:-2] + b"\xff" * MIB + b"\0" + JPEG[-2:]
    data = request("POST", PICTURES, scan, {"content-type": "image/jpeg"})
    with plane.peak_within(64.0):
        answer = without_blocking(plane, lambda: plane.http(data))
    assert answer.status in (200, 400)
    plane.well()


def test_fault_052_an_animated_picture_is_its_first_frame(plane: InferencePlane) -> None:
    """A thousand frames of 3 MB each, in 3 MB."""
    side, frames = 1000, 1000
    packed = zlib.compress(side * (b"\0" + bytes(3 * side)))
    control = struct.pack(">IIIIHHBB", side, side, 0, 0, 1, 10, 0, 0)
    chunks = [
        chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)),
        chunk(b"acTL", struct.pack(">II", frames, 0)),
        chunk(b"fcTL", struct.pack(">I", 0) + control),
        chunk(b"IDAT", packed),
    ]
    for number in range(1, 2 * frames - 1, 2):
        chunks.append(chunk(b"fcTL", struct.pack(">I", number) + control))
        chunks.append(chunk(b"fdAT", struct.pack(">I", number + 1) + packed))
    picture = PNG[:8] + b"".join(chunks) + chunk(b"IEND")
    data = request("POST", PICTURES, picture, {"content-type": "image/png"})
    with plane.peak_within(64.0):
        assert plane.http(data).status == 200
    plane.well()


@pytest.mark.parametrize(
    "picture",
    [
        pytest.param(JPEG[: len(JPEG) // 2], id="half a jpeg"),
        pytest.param(JPEG[: len(JPEG) // 2] + b"\xff\xd9", id="half a jpeg with an end"),
        pytest.param(PNG[:40], id="half a png"),
        pytest.param(JPEG[:200] + bytes(200) + JPEG[400:], id="a damaged jpeg"),
        pytest.param(PNG.replace(b"IDAT", b"IDOT"), id="a png without a picture"),
        pytest.param(b"\x89PNG\r\n\x1a\n" + JPEG, id="a jpeg that says it is a png"),
        pytest.param(b"<svg xmlns='http://www.w3.org/2000/svg'/>", id="svg"),
        pytest.param(b"II*\0" + bytes(100), id="tiff"),
        pytest.param(b"GIF89a" + bytes(100), id="gif"),
        pytest.param(b"BM" + bytes(100), id="a bmp of nothing"),
        pytest.param(b"\xff\xd8", id="the beginning of a jpeg"),
        pytest.param(b"%PDF-1.7", id="pdf"),
    ],
)
def test_fault_053_what_is_no_picture(plane: InferencePlane, picture: bytes) -> None:
    headers = {"content-type": "image/jpeg"}
    refused(plane.http(request("POST", PICTURES, picture, headers)), PICTURES, 400)
    refused(plane.http(request("POST", PICTURES, form(part(picture)), FORM)), PICTURES, 400)
    plane.well()


FORM = {"content-type": "multipart/form-data; boundary=b"}
NEAR = b"\r\n-"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        pytest.param(form(*[part(b"x", b'name="a"')] * 100_000), "Too many", id="100,000 fields"),
        pytest.param(form(*[part(b"x")] * 100_000), "Too many", id="100,000 files"),
        pytest.param(form(part(bytes(10 * MIB), b'name="a"')), "exceeded", id="10 MB, no filename"),
        pytest.param(b"j" * MIB + form(part(JPEG)), "multipart", id="1 MB of junk before"),
        pytest.param(form(part(b"x", b'name="' + b"a" * MIB + b'"')), "multipart", id="1 MB name"),
        pytest.param(
            form(b"a: b\r\n" * 100_000 + part(JPEG)), "multipart", id="100,000 headers of a part"
        ),
        pytest.param(form(part(NEAR * MIB)), "picture", id="what nearly ends a part"),
        pytest.param(form(part(JPEG))[:-8], "", id="no end"),
        pytest.param(b"", "empty", id="nothing"),
    ],
)
def test_fault_054_forms_that_would_cost_much(
    plane: InferencePlane, body: bytes, words: str
) -> None:
    data = request("POST", PICTURES, body, FORM)
    answer = without_blocking(plane, lambda: plane.http(data))
    refused(answer, PICTURES, 400, words)
    plane.well()


@pytest.mark.parametrize(
    "path",
    [
        "/" + INFER,
        INFER.replace("/models", "//models"),
        INFER + "/",
        INFER + ".",
        INFER.upper(),
        INFER.replace("/v2", "/V2"),
        INFER.replace("/models/", "/models/./"),
        "/v2/health/.." + INFER.removeprefix("/v2"),
        "/v2/../admin",
        "/v2/%2e%2e/admin",
        "/v1/pipelines/..%2f..%2fv2",
        INFER.replace("v2", "%25762"),
        INFER.replace("/models/", "/models%252f"),
        "/v2/health/%252e%252e" + INFER.removeprefix("/v2"),
        "/v2/health/%252e%252e%252fmodels" + INFER.removeprefix("/v2/models"),
        "/v2/%252e%252e/admin",
        "/v2\\models",
        INFER + "%00",
        INFER + ";a=b",
        INFER + "%20",
        "/%76%32" + INFER.removeprefix("/v2") + "%",
    ],
)
def test_fault_055_other_spellings_of_a_path_are_no_routes(
    plane: InferencePlane, path: str
) -> None:
    assert plane.http(request("POST", path, BODY)).status == 404
    plane.well()


@pytest.mark.parametrize("path", [INFER.replace("v2", "%762"), INFER.replace("/infer", "%2Finfer")])
def test_fault_055_escaped_characters_are_those_characters(
    plane: InferencePlane, path: str
) -> None:
    """One path for everything that looks at it: nothing is decided by how it was spelt."""
    assert plane.http(request("POST", path, BODY)).status == 200
    plane.well()
