"""gzip and deflate bodies, in both directions (RFC 9110, section 8.4.1)."""

import zlib

from starlette.concurrency import run_in_threadpool

from app.errors import InvalidInput, TooLarge, UnsupportedMedia

MIN_BYTES = 1024
"""A shorter answer goes as it is: packing it would cost more than it saves."""

_INLINE_BYTES = 32 * 1024
"""What is longer is packed and unpacked on a thread, so that others need not wait for it."""

MAX_MEMBERS = 256
"""Of one gzip body, which may be several put together (RFC 1952, section 2.2). Each costs a copy of
what is behind it, so that without an end a body of empty ones would take minutes."""

_LEVEL = 1
_GZIP_MAGIC = b"\x1f\x8b"
_FORMATS = {
    b"gzip": 16 + zlib.MAX_WBITS,
    b"x-gzip": 16 + zlib.MAX_WBITS,
    b"deflate": zlib.MAX_WBITS,
}
_RAW_DEFLATE = -zlib.MAX_WBITS


def check_encoding(encoding: bytes) -> None:
    """Raises UnsupportedMedia for any Content-Encoding but gzip and deflate, once."""
    if encoding not in _FORMATS:
        raise UnsupportedMedia(
            f"content-encoding: {encoding.decode('latin-1')!r} is not handled; a body may be"
            " compressed once, with gzip or deflate"
        )


async def decompressed(body: bytes, encoding: bytes, most: int) -> bytes:
    """Raises InvalidInput for a corrupt or truncated body, TooLarge above `most` bytes."""
    if len(body) < _INLINE_BYTES:
        return _decompress(body, encoding, most)
    return await run_in_threadpool(_decompress, body, encoding, most)


async def compressed(body: bytes, encoding: bytes) -> bytes:
    if len(body) < _INLINE_BYTES:
        return _compress(body, encoding)
    return await run_in_threadpool(_compress, body, encoding)


def accepted_encoding(accept: bytes) -> bytes | None:
    """gzip or deflate, if the Accept-Encoding header names one with a weight above 0."""
    found = None
    for part in accept.lower().split(b","):
        name, _, weight = (piece.strip() for piece in part.partition(b";"))
        if name in (b"gzip", b"deflate") and not _is_zero(weight):
            if name == b"gzip":
                return name
            found = name
    return found


def _is_zero(weight: bytes) -> bool:
    return weight.replace(b" ", b"").removeprefix(b"q=").rstrip(b"0") in (b"0.", b"") and bool(
        weight
    )


def _decompress(body: bytes, encoding: bytes, most: int) -> bytes:
    wbits = _FORMATS[encoding]
    if encoding == b"deflate" and not _has_zlib_header(body):
        wbits = _RAW_DEFLATE  # what some clients take "deflate" for
    plain, rest = _member(body, encoding, wbits, 0, most)
    if not rest:
        return plain
    members = [plain]
    taken = len(plain)
    while rest:
        if encoding == b"deflate" or not rest.startswith(_GZIP_MAGIC):
            raise InvalidInput(f"the body goes on after the end of its {encoding.decode()}")
        if len(members) == MAX_MEMBERS:
            raise InvalidInput(f"the body has more than {MAX_MEMBERS} gzip members")
        plain, rest = _member(rest, encoding, wbits, taken, most)
        members.append(plain)
        taken += len(plain)
    return b"".join(members)


def _member(body: bytes, encoding: bytes, wbits: int, taken: int, most: int) -> tuple[bytes, bytes]:
    """What the first compressed stream of the body holds, and what comes behind it."""
    unpacker = zlib.decompressobj(wbits)
    try:
        plain = unpacker.decompress(body, most - taken + 1)
    except zlib.error as error:
        raise InvalidInput(f"the body is not valid {encoding.decode()}") from error
    if taken + len(plain) > most:
        raise TooLarge(f"the body is over the limit of {most} bytes once decompressed")
    if not unpacker.eof:
        raise InvalidInput(f"the body is truncated {encoding.decode()}")
    return plain, unpacker.unused_data


def _has_zlib_header(body: bytes) -> bool:
    """RFC 1950: method 8 in the low bits, and the first two bytes are a multiple of 31."""
    return len(body) >= 2 and body[0] & 0x0F == 8 and (body[0] << 8 | body[1]) % 31 == 0


def _compress(body: bytes, encoding: bytes) -> bytes:
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _FORMATS[encoding])
    return packer.compress(body) + packer.flush()
