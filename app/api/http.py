"""What every HTTP route shares: body limits, answers, errors."""

import logging
from collections.abc import Mapping

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope

from app.api.status import retry_headers, status_of, text_of
from app.errors import InvalidInput, TooLarge, UnsupportedMedia
from app.types import JsonValue

logger = logging.getLogger(__name__)

MAX_BODY = 64 * 1024 * 1024


async def read_body(scope: Scope, receive: Receive) -> bytes:
    """The whole body.

    Raises TooLarge as soon as the limit is known to be passed, UnsupportedMedia for a compressed
    body and InvalidInput where the caller goes away before its end.
    """
    for name, value in scope["headers"]:
        if name == b"content-length" and _is_over(value):
            raise TooLarge(f"the body is over the limit of {MAX_BODY} bytes")
        if name == b"content-encoding" and value.lower() not in (b"", b"identity"):
            raise UnsupportedMedia("compressed bodies are not handled; send the body as it is")
    message = await receive()
    body: bytes = message.get("body", b"")
    more = _goes_on(message)
    if not more and len(body) <= MAX_BODY:
        return body
    chunks = bytearray(body)
    while more and len(chunks) <= MAX_BODY:
        message = await receive()
        chunks += message.get("body", b"")
        more = _goes_on(message)
    if len(chunks) > MAX_BODY:
        raise TooLarge(f"the body is over the limit of {MAX_BODY} bytes")
    return bytes(chunks)


def _is_over(declared: bytes) -> bool:
    """Numbers too long for any body are not even converted."""
    return declared.isdigit() and (len(declared) > 18 or int(declared) > MAX_BODY)


def _goes_on(message: Message) -> bool:
    if message["type"] == "http.disconnect":
        raise InvalidInput("the body ended before its end")
    more: bool = message.get("more_body", False)
    return more


def json_response(
    content: JsonValue, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    return Response(
        orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY),
        status_code=status,
        media_type="application/json",
        headers=headers,
    )


async def on_error(request: Request, error: Exception) -> Response:
    """Any error as the answer its path promises: OIP routes have one form, the others another."""
    if isinstance(error, HTTPException):
        return _error_response(request, error.status_code, str(error.detail), error.headers)
    status = status_of(error).http
    log_failure(status, error)
    return _error_response(request, status, text_of(error), retry_headers(status))


def error_body(error: Exception) -> bytes:
    """An error as the Open Inference Protocol writes it."""
    return orjson.dumps({"error": text_of(error)})


def log_failure(status: int, error: Exception) -> None:
    """A trace for what is our own fault; the caller's faults are the caller's to read.

    Serve adds the request's id to the log line, and to the answer.
    """
    if status == 500:
        logger.error("a request failed", exc_info=error)


def _error_response(
    request: Request, status: int, text: str, headers: Mapping[str, str] | None
) -> Response:
    if request.url.path.startswith("/v2"):
        return json_response({"error": text}, status, headers)
    problem = orjson.dumps({"title": text, "status": status, "error": text})
    return Response(
        problem, status_code=status, media_type="application/problem+json", headers=headers
    )
