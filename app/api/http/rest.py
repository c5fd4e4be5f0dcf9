"""The Open Inference Protocol over HTTP: the routes of one model, wherever they are served."""

from collections.abc import Awaitable, Callable, Collection

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.dataplane import DataPlane
from app.api.descriptions import encode_config, encode_metadata, encode_statistics
from app.api.http.answers import json_response, on_error
from app.api.http.infer_route import InferEndpoint
from app.api.http.origin import OriginGuard
from app.api.http.settings import trace_route
from app.config.limits import DEFAULT, Limits
from app.errors import MantaError

Endpoint = Callable[[Request], Awaitable[Response]]


def model_routes(dataplane: DataPlane, limits: Limits = DEFAULT) -> list[BaseRoute]:
    """`/v2/models/{name}[/versions/{version}]` and under it `/ready`, `/config` and `/stats`.

    And the model's trace settings, and 405 for what is no POST to `/infer`.
    """

    async def metadata(request: Request) -> Response:
        return json_response(encode_metadata(await dataplane.model_metadata(*_names(request))))

    async def ready(request: Request) -> Response:
        name, version = _names(request)
        is_ready = await dataplane.model_ready(name, version)
        return json_response({"name": name, "ready": is_ready}, 200 if is_ready else 503)

    async def config(request: Request) -> Response:
        return json_response(encode_config(await dataplane.model_metadata(*_names(request))))

    async def stats(request: Request) -> Response:
        return json_response(encode_statistics(await dataplane.statistics(*_names(request))))

    async def post_only(_: Request) -> Response:
        """Never reached: `InferEndpoint` answers every POST. Other methods get 405 and Allow."""
        raise HTTPException(404)

    return [
        trace_route("/v2/models/{name}/trace/setting", dataplane, limits),
        *(
            route
            for prefix in ("/v2/models/{name}", "/v2/models/{name}/versions/{version}")
            for route in (
                Route(f"{prefix}/ready", ready, methods=["GET"]),
                Route(f"{prefix}/config", config, methods=["GET"]),
                Route(f"{prefix}/stats", stats, methods=["GET"]),
                Route(f"{prefix}/infer", post_only, methods=["POST"]),
                Route(prefix, metadata, methods=["GET"]),
            )
        ),
    ]


def build_model_app(
    dataplane: DataPlane,
    timeout_s: float,
    limits: Limits = DEFAULT,
    origins: Collection[str] = (),
    hosts: Collection[str] = (),
) -> ASGIApp:
    """What the process of one model serves: the same full paths as everywhere else.

    `origins` and `hosts` are those of `OriginGuard`.
    """
    app = Starlette(
        routes=model_routes(dataplane, limits),
        exception_handlers={MantaError: on_error, HTTPException: on_error, Exception: on_error},
    )
    app.router.redirect_slashes = False

    async def from_the_root(scope: Scope, receive: Receive, send: Send) -> None:
        """Serve names the application's own prefix as the root; the routes begin above it."""
        scope["root_path"] = ""
        await app(scope, receive, send)

    endpoint = InferEndpoint(from_the_root, dataplane, timeout_s, limits)
    return OriginGuard(endpoint, origins, hosts, field="args.hosts")


def _names(request: Request) -> tuple[str, str | None]:
    return request.path_params["name"], request.path_params.get("version")
