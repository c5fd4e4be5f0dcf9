"""The gateway's HTTP routes: the protocol's server part, pipelines, status, metrics, docs."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp

from app import __version__
from app.api.dataplane import DataPlane
from app.api.descriptions import encode_statistics
from app.api.http.aliases import alias_routes
from app.api.http.answers import json_response, on_error
from app.api.http.docs_page import docs_routes
from app.api.http.infer_route import InferEndpoint
from app.api.http.openapi import document
from app.api.http.origin import OriginGuard
from app.api.http.pictures import Pictures
from app.api.http.pipelines import pipeline_routes
from app.api.http.repository import repository_routes
from app.api.http.rest import model_routes
from app.api.http.settings import settings_routes
from app.api.http.shared_memory_routes import shared_memory_routes
from app.api.http.websocket import stream_routes
from app.config.limits import DEFAULT, Limits
from app.errors import MantaError
from app.pipeline.host import PipelineHost
from app.telemetry.metrics import render_metrics
from app.types import JsonValue

Statuses = Callable[[], Awaitable[Sequence[Mapping[str, JsonValue]]]]


def build_gateway_app(
    dataplane: DataPlane,
    pipelines: PipelineHost,
    statuses: Statuses,
    timeout_s: float,
    limits: Limits = DEFAULT,
    origins: Collection[str] = (),
    hosts: Collection[str] = (),
) -> ASGIApp:
    """`statuses` asks every process of the product what it holds.

    `origins` and `hosts` are those of `OriginGuard`.
    """
    api = FastAPI(
        title="Manta",
        version=__version__,
        description="Models, pipelines and streams of one edge site.",
        redirect_slashes=False,
        openapi_url=None,  # and so none of its pages, whose scripts come from elsewhere
    )
    for error in (MantaError, HTTPException, Exception):
        api.add_exception_handler(error, on_error)
    _add_server_routes(api, dataplane)
    pictures = Pictures(dataplane, pipelines, timeout_s, limits)
    for routes in (
        pipeline_routes(pipelines, timeout_s, limits),
        repository_routes(dataplane, limits),
        settings_routes(dataplane, limits),
        shared_memory_routes(dataplane, limits),
        alias_routes(dataplane, pictures, timeout_s, limits),
        stream_routes(dataplane, pipelines, timeout_s, limits),
    ):
        api.router.routes.extend(routes)
    api.router.routes.extend(docs_routes())
    _add_status_routes(api, statuses)
    api.router.routes.extend(model_routes(dataplane, limits))
    document(api)
    return OriginGuard(InferEndpoint(api, dataplane, timeout_s, limits), origins, hosts)


def _add_server_routes(api: FastAPI, dataplane: DataPlane) -> None:
    @api.get("/v2", tags=["protocol"], summary="Server metadata")
    async def server_metadata() -> Response:
        return json_response(dataplane.server_metadata())

    @api.get("/v2/models/stats", tags=["protocol"], summary="Statistics of every model")
    async def statistics() -> Response:
        return json_response(encode_statistics(await dataplane.statistics()))

    @api.get("/v2/health/live", tags=["protocol"], summary="Whether the server runs")
    async def live() -> Response:
        return json_response({"live": True})

    @api.get("/v2/health/ready", tags=["protocol"], summary="Whether every model is ready")
    async def ready() -> Response:
        is_ready = await dataplane.ready()
        return json_response({"ready": is_ready}, 200 if is_ready else 503)


def _add_status_routes(api: FastAPI, statuses: Statuses) -> None:
    @api.get("/v1/status", tags=["status"], summary="Every model, pipeline and connector")
    async def status() -> Response:
        return json_response({"version": __version__, "processes": list(await statuses())})

    @api.get("/metrics", tags=["status"], summary="The same for Prometheus")
    async def metrics() -> Response:
        text = render_metrics(await statuses())
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")
