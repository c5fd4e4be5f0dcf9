"""`POST /v2/models/{name}[/versions/{version}]/infer`, as a bare ASGI application.

This route carries the load, so it stands before the web framework: the framework's layers took
two thirds of the time that Manta itself spends on a request to a small model (docs/adr/0004).
Everything else about HTTP is the framework's.
"""

import time

from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.codec.classification import classified
from app.api.codec.requests import Answer, AnswerForm, Call, decode_request, encode_response
from app.api.dataplane import DataPlane
from app.api.http.answers import RequestHeaders, error_body, headers_of, log_failure, read_body
from app.api.http.compression import MIN_BYTES, accepted_encoding, compressed
from app.api.http.raw_body import decode_raw_body
from app.api.status import retry_headers, status_of
from app.config.limits import DEFAULT, Limits
from app.errors import InvalidInput
from app.types import InferenceRequest

_PREFIX = "/v2/models/"
_SUFFIX = "/infer"
_JSON = b"application/json"


class InferEndpoint:
    """Answers inference requests itself and leaves every other request to `app`.

    A body is read as JSON whatever its content type says: many clients name none, or a wrong one.
    `timeout_s` is the deadline of a request, in seconds from its arrival.
    """

    def __init__(
        self, app: ASGIApp, dataplane: DataPlane, timeout_s: float, limits: Limits = DEFAULT
    ) -> None:
        self._app = app
        self._dataplane = dataplane
        self._timeout_s = timeout_s
        self._limits = limits

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
        headers: list[tuple[bytes, bytes]] = []
        try:
            name, version = target
            self._dataplane.admit(name, version, deadline)
            asked = headers_of(scope, self._limits)
            body = await read_body(scope, receive, self._limits, asked)
            length = asked.json_length
            json_length = None if length is None else _json_length(length, len(body))
            if json_length == 0:
                _check_raw(scope)
                call = await self._raw_call(name, version, body, deadline)
            else:
                call = decode_request(
                    name,
                    version,
                    body,
                    deadline,
                    header_length=json_length,
                    limits=self._limits,
                    memory=self._dataplane.memory,
                )
            answer = await answer_call(self._dataplane, call)
            status = 200
            if asked.accept_encoding and len(answer.body) >= MIN_BYTES:
                answer = await _packed(answer, asked, headers)
        except Exception as error:  # noqa: BLE001 - every error becomes an answer
            status = status_of(error).http
            answer = Answer(error_body(error), None)
            headers = [(k.encode(), v.encode()) for k, v in retry_headers(status).items()]
            log_failure(status, error)
        if answer.header_length is None:
            headers.append((b"content-type", _JSON))
        else:
            headers.append((b"content-type", b"application/octet-stream"))
            headers.append((b"inference-header-content-length", b"%d" % answer.header_length))
        headers.append((b"content-length", b"%d" % len(answer.body)))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})

    async def _raw_call(self, name: str, version: str | None, body: bytes, deadline: float) -> Call:
        metadata = await self._dataplane.model_metadata(name, version)
        inputs = decode_raw_body(body, metadata, self._limits)
        request = InferenceRequest(name, inputs, version, deadline=deadline)
        return Call(request, AnswerForm(binary=True))


async def answer_call(dataplane: DataPlane, call: Call) -> Answer:
    """The answer to a decoded request, in the form that its caller asked for."""
    request, form = call
    response = await dataplane.infer(request)
    if form.classes:
        metadata = await dataplane.model_metadata(request.model, request.version)
        response = classified(response, form.classes, metadata)
    return encode_response(response, form, dataplane.memory)


async def _packed(
    answer: Answer, asked: RequestHeaders, headers: list[tuple[bytes, bytes]]
) -> Answer:
    """The answer in the compression that its caller accepts, which is added to the headers."""
    encoding = accepted_encoding(asked.accept_encoding)
    if encoding is None:
        return answer
    headers.append((b"content-encoding", encoding))
    headers.append((b"vary", b"accept-encoding"))
    return answer._replace(body=await compressed(answer.body, encoding))


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


def _check_raw(scope: Scope) -> None:
    """Raises InvalidInput for a raw body that says it is JSON: it may have the right length."""
    for name, value in scope["headers"]:
        if name == b"content-type" and value.partition(b";")[0].strip().lower() == _JSON:
            raise InvalidInput(
                "inference-header-content-length: is 0, so the body is raw, but content-type says"
                " that it is JSON; send application/octet-stream"
            )


def _json_length(declared: bytes, size: int) -> int:
    """The value of Inference-Header-Content-Length for a body of `size` bytes."""
    if declared.isdigit() and len(declared) < 19 and int(declared) <= size:
        return int(declared)
    raise InvalidInput(
        "inference-header-content-length: must be the length of the JSON at the start of the body,"
        f" a whole number from 0 to {size}; 0 where the body is the model's only input"
    )
