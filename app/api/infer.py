"""`POST /v2/models/{name}[/versions/{version}]/infer`, as a bare ASGI application.

This route carries the load, so it stands before the web framework: the framework's layers took
two thirds of the time that Manta itself spends on a request to a small model (docs/adr/0004).
Everything else about HTTP is the framework's.
"""

import time
from collections.abc import Mapping

from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.codec import decode_request, encode_response
from app.api.dataplane import DataPlane
from app.api.http import error_body, log_failure, read_body
from app.api.status import retry_headers, status_of
from app.errors import InvalidInput

_PREFIX = "/v2/models/"
_SUFFIX = "/infer"


class InferEndpoint:
    """Answers inference requests itself and leaves every other request to `app`.

    A body is read as JSON whatever its content type says: many clients name none, or a wrong one.
    `timeout_s` is the deadline of a request, in seconds from its arrival.
    """

    def __init__(self, app: ASGIApp, dataplane: DataPlane, timeout_s: float) -> None:
        self._app = app
        self._dataplane = dataplane
        self._timeout_s = timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST":
            target = model_of_path(scope["path"])
            if target is not None:
                await self._infer(target, scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _infer(
        self, target: tuple[str, str | None], scope: Scope, receive: Receive, send: Send
    ) -> None:
        deadline = time.monotonic() + self._timeout_s
        extra: Mapping[str, str] = {}
        try:
            self._dataplane.model(target[0])
            _refuse_binary(scope)
            body = await read_body(scope, receive)
            response = await self._dataplane.infer(decode_request(*target, body, deadline))
            answer = encode_response(response)
            status = 200
        except Exception as error:  # noqa: BLE001 - every error becomes an answer
            status = status_of(error).http
            answer = error_body(error)
            extra = retry_headers(status)
            log_failure(status, error)
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(answer)),
            *((name.encode(), value.encode()) for name, value in extra.items()),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": answer})


def model_of_path(path: str) -> tuple[str, str | None] | None:
    """The model and version of an inference path; None for any other path."""
    if not (path.startswith(_PREFIX) and path.endswith(_SUFFIX)):
        return None
    parts = path[len(_PREFIX) : -len(_SUFFIX)].split("/")
    if len(parts) == 1 and parts[0]:
        return parts[0], None
    if len(parts) == 3 and all(parts) and parts[1] == "versions":
        return parts[0], parts[2]
    return None


def _refuse_binary(scope: Scope) -> None:
    """The protocol's binary data extension is not in the server's list of extensions."""
    if any(name == b"inference-header-content-length" for name, _ in scope["headers"]):
        raise InvalidInput(
            "inference-header-content-length: binary tensor data is not handled; send JSON"
        )
