"""Bodies that come compressed: what is accepted, and within which size."""

import gzip
import zlib

import pytest

from app.api.http.compression import MAX_MEMBERS, decompressed
from app.errors import InvalidInput, MantaError, TooLarge

PARTS = (b"the first half, ", b"", b"and the second")
MEMBERS = b"".join(gzip.compress(part) for part in PARTS)


@pytest.mark.parametrize("encoding", [b"gzip", b"x-gzip"])
async def test_a_gzip_body_may_have_several_members(encoding: bytes) -> None:
    assert await decompressed(MEMBERS, encoding, 1000) == b"".join(PARTS)


@pytest.mark.parametrize(
    ("body", "encoding", "error", "reason"),
    [
        (MEMBERS + b"x", b"gzip", InvalidInput, "goes on after the end of its gzip"),
        (MEMBERS + bytes(8), b"gzip", InvalidInput, "goes on after the end of its gzip"),
        (MEMBERS[:-4], b"gzip", InvalidInput, "truncated gzip"),
        (MEMBERS + b"\x1f\x8bxxxx", b"gzip", InvalidInput, "not valid gzip"),
        (zlib.compress(b"a") * 2, b"deflate", InvalidInput, "after the end of its deflate"),
        (zlib.compress(b"a") + gzip.compress(b"a"), b"deflate", InvalidInput, "after the end"),
        (gzip.compress(bytes(600)) * 2, b"gzip", TooLarge, "limit of 1000 bytes"),
        (gzip.compress(b"") * (MAX_MEMBERS + 1), b"gzip", InvalidInput, "members"),
    ],
)
async def test_what_comes_behind_a_member(
    body: bytes, encoding: bytes, error: type[MantaError], reason: str
) -> None:
    with pytest.raises(error, match=reason):
        await decompressed(body, encoding, 1000)


async def test_members_may_fill_the_limit_together() -> None:
    assert await decompressed(gzip.compress(bytes(500)) * 2, b"gzip", 1000) == bytes(1000)
