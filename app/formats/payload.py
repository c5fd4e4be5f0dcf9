"""Decoding of what a transport delivers as bytes."""

from typing import Literal, TypeAlias

import orjson

from app.errors import InvalidInput, TooLarge

Serializer: TypeAlias = Literal["json", "jpeg", "raw"]

JPEG_START = b"\xff\xd8\xff"
"""SOI and the first byte of the next marker (ITU-T T.81, annex B)."""


def decode(serializer: Serializer, payload: bytes, max_bytes: int) -> object:
    """The content of a message: parsed JSON, or the bytes themselves for `jpeg` and `raw`.

    A JPEG stays encoded, so that a frame that is dropped costs no decoding; only its first bytes
    are looked at. Raises TooLarge above `max_bytes` and InvalidInput for what is not as announced.
    """
    if len(payload) > max_bytes:
        raise TooLarge(f"the payload has {len(payload)} bytes, more than {max_bytes}")
    if serializer == "json":
        try:
            return orjson.loads(payload)
        except orjson.JSONDecodeError as error:
            raise InvalidInput(f"the payload is not JSON: {error}") from error
    if serializer == "jpeg" and not payload.startswith(JPEG_START):
        raise InvalidInput("the payload is not a JPEG: it does not start with FF D8 FF")
    return payload
