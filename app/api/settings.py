"""Log and trace settings over HTTP."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from app.api.http import json_response
from app.api.log_settings import TRACE, LogSettings, check_trace_setting
from app.api.repository import fields_of
from app.limits import Limits


def settings_routes(logs: LogSettings, limits: Limits) -> list[BaseRoute]:
    async def logging_settings(request: Request) -> Response:
        if request.method == "POST":
            logs.change(await fields_of(request, limits))
        return json_response(logs.answer())

    async def trace_settings(request: Request) -> Response:
        if request.method == "POST":
            for name, value in (await fields_of(request, limits)).items():
                check_trace_setting(name, value)
        return json_response(dict(TRACE))

    methods = ["GET", "POST"]
    return [
        Route("/v2/logging", logging_settings, methods=methods),
        Route("/v2/trace/setting", trace_settings, methods=methods),
    ]
