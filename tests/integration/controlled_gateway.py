"""The gateway with its ModelControl within reach of a test over HTTP, by the protocol's paths."""

import json
from typing import cast

from ray import serve
from ray.serve import Application
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route
from starlette.types import ASGIApp

from app.api.status import status_of
from app.errors import MantaError
from app.interfaces import ModelControl
from deployments.args import GatewayArgs
from deployments.gateway import GatewayReplica
from deployments.options import deploy


class ControlledGateway(GatewayReplica):
    def __serve_build_asgi_app__(self) -> ASGIApp:
        routes = [
            Route("/v2/repository/index", self._index, methods=["POST"]),
            Route("/v2/repository/models/{name}/{what}", self._change, methods=["POST"]),
            Mount("/", super().__serve_build_asgi_app__()),
        ]
        return Starlette(routes=routes)

    async def _index(self, _: Request) -> JSONResponse:
        states = await cast(ModelControl, self._control).index()
        return JSONResponse([[s.name, s.version, s.state, s.reason] for s in states])

    async def _change(self, request: Request) -> JSONResponse:
        control, name = cast(ModelControl, self._control), request.path_params["name"]
        try:
            if request.path_params["what"] == "load":
                await control.load(name, json.loads(await request.body() or b"null"))
            else:
                await control.unload(name)
        except MantaError as error:
            return JSONResponse({"error": str(error)}, status_of(error).http)
        return JSONResponse({})


def build(args: GatewayArgs) -> Application:
    return deploy(serve.ingress()(ControlledGateway), "Gateway", args)
