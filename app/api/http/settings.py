"""Log and trace settings over HTTP.

The formats: Triton's Logging and Trace extensions.
"""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from app.api.dataplane import DataPlane
from app.api.http.answers import json_response
from app.api.http.repository import fields_of
from app.config.limits import Limits

_METHODS = ["GET", "POST"]


def settings_routes(dataplane: DataPlane, limits: Limits) -> list[BaseRoute]:
    async def logging_settings(request: Request) -> Response:
        if request.method == "POST":
            dataplane.logs.change(await fields_of(request, limits))
        return json_response(dataplane.logs.answer())

    return [
        Route("/v2/logging", logging_settings, methods=_METHODS),
        trace_route("/v2/trace/setting", dataplane, limits),
    ]


def trace_route(path: str, dataplane: DataPlane, limits: Limits) -> Route:
    """Settings of the model `{name}` in the path, or of all models. `null` clears one."""

    async def trace_settings(request: Request) -> Response:
        change = await fields_of(request, limits) if request.method == "POST" else {}
        return json_response(
            await dataplane.trace_settings(request.path_params.get("name"), change)
        )

    return Route(path, trace_settings, methods=_METHODS)
