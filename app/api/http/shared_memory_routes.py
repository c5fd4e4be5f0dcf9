"""Shared memory over HTTP.

The format: Triton's System Shared Memory extension. Memory of accelerators is not shared.
"""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from app.api.codec.fields import text, whole
from app.api.codec.shared_memory import SharedMemory, switched_on
from app.api.dataplane import DataPlane
from app.api.http.answers import json_response
from app.api.http.repository import fields_of
from app.config.limits import Limits
from app.errors import InvalidInput, NotSupported, RegionNotFound

NO_CUDA = "CUDA shared memory is not served; there is system shared memory, if it is switched on"


def no_cuda_regions(memory: SharedMemory | None, name: str | None = None) -> None:
    """Finds no region of an accelerator, since there can be none: clients of system shared memory
    ask for them, and remove them, before they begin.

    Raises RegionNotFound for a `name`, and NotSupported where there is no shared memory at all.
    """
    if memory is None:
        raise NotSupported(NO_CUDA)
    if name is not None:
        raise RegionNotFound(f"there is no CUDA shared memory region {name!r}")


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

    async def cuda_status(request: Request) -> Response:
        no_cuda_regions(dataplane.memory, request.path_params.get("name"))
        return json_response([])

    async def cuda_register(_: Request) -> Response:
        raise NotSupported(NO_CUDA)

    async def cuda_unregister(_: Request) -> Response:
        no_cuda_regions(dataplane.memory)
        return json_response({})

    return [
        route
        for prefix, told, taken, removed in (
            ("/v2/systemsharedmemory", status, register, unregister),
            ("/v2/cudasharedmemory", cuda_status, cuda_register, cuda_unregister),
        )
        for route in (
            Route(f"{prefix}/status", told, methods=["GET"]),
            Route(f"{prefix}/unregister", removed, methods=["POST"]),
            Route(f"{prefix}/region/{{name}}/status", told, methods=["GET"]),
            Route(f"{prefix}/region/{{name}}/register", taken, methods=["POST"]),
            Route(f"{prefix}/region/{{name}}/unregister", removed, methods=["POST"]),
        )
    ]
