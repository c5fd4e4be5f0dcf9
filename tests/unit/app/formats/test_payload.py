import pytest

from app.errors import InvalidInput, TooLarge
from app.formats.payload import Serializer, decode


def test_json_is_parsed_and_the_rest_stays_bytes() -> None:
    assert decode("json", b'{"a": [1, 2.5]}', 100) == {"a": [1, 2.5]}
    assert decode("jpeg", b"\xff\xd8\xff\xe0", 100) == b"\xff\xd8\xff\xe0"
    assert decode("raw", b"\x00", 100) == b"\x00"


@pytest.mark.parametrize(
    ("serializer", "payload"),
    [
        ("json", b""),
        ("json", b"{"),
        ("json", b"NaN"),
        ("json", b'"\xff"'),
        ("json", b"[" * 1_000_000),
        ("jpeg", b""),
        ("jpeg", b"\x89PNG"),
    ],
)
def test_what_is_not_as_announced_is_refused(serializer: Serializer, payload: bytes) -> None:
    with pytest.raises(InvalidInput):
        decode(serializer, payload, 10_000_000)


def test_too_large_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(TooLarge, match="4 bytes, more than 3"):
        decode("json", b"{{{{", 3)
