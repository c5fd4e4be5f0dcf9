"""The Open Inference Protocol over HTTP: the routes of one model, wherever they are served."""

import time
from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from app.api.codec import decode_request, encode_metadata, encode_response
from app.api.dataplane import DataPlane
from app.api.http import RequestId, json_response, on_error, read_body
from app.errors import MantaError

Endpoint = Callable[[Request], Awaitable[Response]]


def model_routes(dataplane: DataPlane, timeout_s: float) -> list[BaseRoute]:
    """`/v2/models/{name}[/versions/{version}][/ready|/infer]`.

    These are plain routes: the declared parameters of a framework's own cost more per request
    than the rest of the way (benchmarks/RESULTS.md). `timeout_s` is the deadline of a request.
    """

    async def infer(request: Request) -> Response:
        body = await read_body(request)
        name, version = _names(request)
        deadline = time.monotonic() + timeout_s
        response = await dataplane.infer(decode_request(name, version, body, deadline))
        return Response(encode_response(response), media_type="application/json")

    async def metadata(request: Request) -> Response:
        return json_response(encode_metadata(await dataplane.model_metadata(*_names(request))))

    async def ready(request: Request) -> Response:
        name, _ = _names(request)
        is_ready = await dataplane.model_ready(name)
        return json_response({"name": name, "ready": is_ready}, 200 if is_ready else 503)

    return [
        route
        for prefix in ("/v2/models/{name}", "/v2/models/{name}/versions/{version}")
        for route in (
            Route(f"{prefix}/infer", infer, methods=["POST"]),
            Route(f"{prefix}/ready", ready, methods=["GET"]),
            Route(prefix, metadata, methods=["GET"]),
        )
    ]


def build_model_app(dataplane: DataPlane, timeout_s: float) -> ASGIApp:
    """What the process of one model serves."""
    return RequestId(
        Starlette(
            routes=model_routes(dataplane, timeout_s),
            exception_handlers={
                MantaError: on_error,
                HTTPException: on_error,
                Exception: on_error,
            },
        )
    )


def _names(request: Request) -> tuple[str, str | None]:
    return request.path_params["name"], request.path_params.get("version")
