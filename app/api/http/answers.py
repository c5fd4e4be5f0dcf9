"""What every HTTP route shares: body limits, answers, errors."""

import logging
from collections.abc import Mapping
from typing import NamedTuple

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope

from app.api.http.compression import check_encoding, decompressed
from app.api.status import retry_headers, status_of, text_of
from app.config.limits import DEFAULT, Limits
from app.errors import InvalidInput, TooLarge
from app.types import JsonValue

logger = logging.getLogger(__name__)


class RequestHeaders(NamedTuple):
    """What the body of a request says of itself, and what its answer may be packed with."""

    length: bytes = b""
    encoding: bytes = b""
    accept_encoding: bytes = b""
    json_length: bytes | None = None


def headers_of(scope: Scope, limits: Limits) -> RequestHeaders:
    """Raises InvalidInput where there are too many headers."""
    headers = scope["headers"]
    if len(headers) > limits.headers:
        raise InvalidInput(f"the request has more than {limits.headers} headers")
    length = encoding = accept = b""
    json_length = None
    for name, value in headers:
        if name == b"content-length":
            length = value
        elif name == b"content-encoding":
            encoding = value.strip().lower()
        elif name == b"accept-encoding":
            accept = value
        elif name == b"inference-header-content-length":
            json_length = value
    return RequestHeaders(length, encoding, accept, json_length)


async def read_body(
    scope: Scope,
    receive: Receive,
    limits: Limits = DEFAULT,
    headers: RequestHeaders | None = None,
) -> bytes:
    """The whole body, decompressed. `headers` are the scope's, where they were read already.

    Raises TooLarge as soon as a limit is known to be passed, UnsupportedMedia for a compression
    that is not handled and InvalidInput where the body is corrupt or its end never comes.
    """
    headers = headers or headers_of(scope, limits)
    most = limits.body_bytes
    if _is_over(headers.length, most):
        raise TooLarge(f"the body is over the limit of {most} bytes")
    if headers.encoding in (b"", b"identity"):
        return await _read(receive, most)
    check_encoding(headers.encoding)
    body = await _read(receive, most)
    return await decompressed(body, headers.encoding, limits.decompressed_bytes)


async def _read(receive: Receive, most: int) -> bytes:
    message = await receive()
    body: bytes = message.get("body", b"")
    more = _goes_on(message)
    if not more and len(body) <= most:
        return body
    chunks = bytearray(body)
    while more and len(chunks) <= most:
        message = await receive()
        chunks += message.get("body", b"")
        more = _goes_on(message)
    if len(chunks) > most:
        raise TooLarge(f"the body is over the limit of {most} bytes")
    return bytes(chunks)


def _is_over(declared: bytes, most: int) -> bool:
    """Numbers too long for any body are not even converted."""
    return declared.isdigit() and (len(declared) > 18 or int(declared) > most)


def _goes_on(message: Message) -> bool:
    if message["type"] == "http.disconnect":
        raise InvalidInput("the body ended before its end")
    more: bool = message.get("more_body", False)
    return more


def json_response(
    content: JsonValue, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """As every answer in JSON, it ends its line: in a terminal the prompt begins the next."""
    return Response(
        orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE),
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
    return orjson.dumps({"error": text_of(error)}, option=orjson.OPT_APPEND_NEWLINE)


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
    told = {"title": text, "status": status, "error": text}
    problem = orjson.dumps(told, option=orjson.OPT_APPEND_NEWLINE)
    return Response(
        problem, status_code=status, media_type="application/problem+json", headers=headers
    )
