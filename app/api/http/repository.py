"""Loading and unloading models over HTTP.

The format: Open Inference Protocol, Model Repository Extension.
"""

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from app.api.codec.fields import Fields, decode_json, flag, mapping, parameters
from app.api.dataplane import DataPlane
from app.api.http.answers import json_response, read_body
from app.config.limits import Limits
from app.errors import InvalidInput, NotSupported
from app.interfaces import ModelControl
from app.types import JsonValue


def repository_routes(dataplane: DataPlane, limits: Limits) -> list[BaseRoute]:
    async def index(request: Request) -> Response:
        """With `{"ready": true}` the ready ones only."""
        only_ready = flag(await fields_of(request, limits), "ready", "", default=False)
        states = await control_of(dataplane).index()
        lines: list[JsonValue] = [
            {"name": each.name, "version": each.version, "state": each.state, "reason": each.reason}
            for each in states
            if each.state == "READY" or not only_ready
        ]
        return json_response(lines)

    async def load(request: Request) -> Response:
        """`parameters.config` is a JSON text whose fields override those of the model's file."""
        options = parameters(await fields_of(request, limits), "")
        unknown = [name for name in options if name != "config"]
        if unknown:
            raise InvalidInput(f"parameters.{unknown[0]}: is not known; a load takes: config")
        config = config_of(options.get("config"), "parameters.config", limits)
        await control_of(dataplane).load(request.path_params["name"], config)
        return json_response({})

    async def unload(request: Request) -> Response:
        parameters(await fields_of(request, limits), "")
        await control_of(dataplane).unload(request.path_params["name"])
        return json_response({})

    return [
        Route("/v2/repository/index", index, methods=["POST"]),
        Route("/v2/repository/models/{name}/load", load, methods=["POST"]),
        Route("/v2/repository/models/{name}/unload", unload, methods=["POST"]),
    ]


def control_of(dataplane: DataPlane) -> ModelControl:
    """Raises NotSupported where callers may not load and unload models."""
    if dataplane.control is None:
        raise NotSupported("this process does not load and unload models; the gateway does")
    return dataplane.control


def config_of(value: object, where: str, limits: Limits) -> Mapping[str, JsonValue] | None:
    """An override as JSON text or as an object; None where there is none."""
    if value is None:
        return None
    if isinstance(value, str):
        value = decode_json(value.encode(), limits.json_depth)
    return mapping(value, where)


async def fields_of(request: Request, limits: Limits) -> Fields:
    """The JSON object in the body; an empty body has no fields."""
    body = await read_body(request.scope, request.receive, limits)
    return mapping(decode_json(body, limits.json_depth), "the body") if body.strip() else {}
