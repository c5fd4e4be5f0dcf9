"""Shared memory over HTTP.

The format: Triton's System Shared Memory extension. Memory of accelerators is not shared.
"""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from app.api.dataplane import DataPlane
from app.api.fields import text, whole
from app.api.http import json_response
from app.api.repository import fields_of
from app.api.shared_memory import switched_on
from app.errors import InvalidInput, NotSupported
from app.limits import Limits

NO_CUDA = "CUDA shared memory is not served; there is system shared memory, if it is switched on"


def shared_memory_routes(dataplane: DataPlane, limits: Limits) -> list[BaseRoute]:
    async def status(request: Request) -> Response:
        regions = switched_on(dataplane.memory).regions(request.path_params.get("name"))
        return json_response(
            [
                {"name": r.name, "key": r.key, "offset": r.offset, "byte_size": r.byte_size}
                for r in regions
            ]
        )

    async def register(request: Request) -> Response:
        memory = switched_on(dataplane.memory)
        fields = await fields_of(request, limits)
        size = whole(fields, "byte_size", "")
        if size is None:
            raise InvalidInput("byte_size: must be a whole number from 1")
        offset = whole(fields, "offset", "") or 0
        memory.register(request.path_params["name"], text(fields, "key", "the body"), offset, size)
        return json_response({})

    async def unregister(request: Request) -> Response:
        switched_on(dataplane.memory).unregister(request.path_params.get("name"))
        return json_response({})

    async def no_cuda(_: Request) -> Response:
        raise NotSupported(NO_CUDA)

    calls = [
        ("/status", status, "GET"),
        ("/unregister", unregister, "POST"),
        ("/region/{name}/status", status, "GET"),
        ("/region/{name}/register", register, "POST"),
        ("/region/{name}/unregister", unregister, "POST"),
    ]
    return [
        route
        for path, call, method in calls
        for route in (
            Route(f"/v2/systemsharedmemory{path}", call, methods=[method]),
            Route(f"/v2/cudasharedmemory{path}", no_cuda, methods=[method]),
        )
    ]
