"""What every HTTP route shares: body limits, answers, errors."""

import logging
from collections.abc import Mapping

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from app.api.status import retry_headers, status_of, text_of
from app.errors import TooLarge
from app.types import JsonValue

logger = logging.getLogger(__name__)

MAX_BODY = 64 * 1024 * 1024


async def read_body(request: Request, limit: int = MAX_BODY) -> bytes:
    """The whole body. Raises TooLarge as soon as the limit is known to be passed."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise TooLarge(f"the body has {declared} bytes; the limit is {limit}")
    chunks = bytearray()
    async for chunk in request.stream():
        chunks += chunk
        if len(chunks) > limit:
            raise TooLarge(f"the body is over the limit of {limit} bytes")
    return bytes(chunks)


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
