"""What a pipeline is given of an HTTP body: a picture's bytes or a JSON document."""

import asyncio
import binascii
from base64 import b64decode
from collections.abc import AsyncGenerator

from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from app.api.codec.fields import decode_json, is_object
from app.config.limits import Limits
from app.errors import InvalidInput, UnsupportedMedia

_BYTES_TYPES = (
    "",
    "application/octet-stream",
    "application/x-www-form-urlencoded",  # what curl --data-binary says when told nothing
)
_CHUNK = 64 * 1024


async def content_of(headers: Headers, body: bytes, limits: Limits) -> object:
    """The body as it is, the first file of a multipart body, or JSON.

    JSON of the form `{"image": {"b64": ...}}` is that picture. Raises UnsupportedMedia for any
    other content type and InvalidInput for a body that is empty or not what its type says.
    """
    media_type = media_type_of(headers)
    if not body:
        raise InvalidInput("the body is empty; send a picture or a JSON document")
    if media_type == "application/json":
        return picture_or_document(decode_json(body, limits.json_depth))
    if media_type == "multipart/form-data":
        return (await files_of(headers, body, limits))[0]
    if media_type.startswith("image/") or media_type in _BYTES_TYPES:
        return body
    raise UnsupportedMedia(
        f"{media_type!r} is not handled; send image/* or application/json, or multipart/form-data"
    )


def media_type_of(headers: Headers) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def picture_or_document(document: object) -> object:
    """The bytes of `{"image": {"b64": ...}}`; any other document as it is."""
    image = document.get("image") if is_object(document) else None
    picture = picture_of(image, "image") if is_object(image) and "b64" in image else None
    return document if picture is None else picture


def picture_of(value: object, where: str) -> bytes | None:
    """The bytes of `{"b64": ...}` or `{"image": {"b64": ...}}`; None for anything else."""
    if not is_object(value):
        return None
    if "b64" not in value:
        inner = value.get("image")
        return picture_of(inner, f"{where}.image") if is_object(inner) and "b64" in inner else None
    text = value["b64"]
    if not isinstance(text, str):
        return None
    try:
        return b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidInput(f"{where}.b64: is not valid base64") from error


async def files_of(headers: Headers, body: bytes, limits: Limits) -> list[bytes]:
    """The parts of a multipart body that are files: at least one, or InvalidInput is raised."""
    parser = MultiPartParser(
        headers, _in_chunks(body), max_files=limits.parts, max_fields=limits.parts
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise InvalidInput(f"the multipart body: {error.message}") from error
    except KeyError as error:
        raise InvalidInput("content-type: a multipart body needs a boundary") from error
    try:
        parts = [part for _, part in form.multi_items() if isinstance(part, UploadFile)]
        if not parts:
            raise InvalidInput("the multipart body has no part with a filename")
        return [await part.read() for part in parts]
    finally:
        await form.close()


async def _in_chunks(body: bytes) -> AsyncGenerator[bytes, None]:
    """Others get their turn between the chunks: the parser does not wait for anything itself."""
    for start in range(0, len(body), _CHUNK):
        yield body[start : start + _CHUNK]
        await asyncio.sleep(0)
    yield b""
