"""The gateway's HTTP routes: the protocol's server part, pipelines, status, metrics, docs."""

import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from app import __version__
from app.api.codec import decode_json
from app.api.dataplane import DataPlane
from app.api.http import json_response, on_error, read_body
from app.api.infer import InferEndpoint
from app.api.openapi import document
from app.api.rest import model_routes
from app.errors import DeadlineExceeded, InvalidInput, MantaError, UnsupportedMedia
from app.imaging.picture import annotated_jpeg
from app.pipeline.host import PipelineHost
from app.pipeline.outcome import Outcome
from app.result_json import result_json
from app.telemetry.metrics import render_metrics
from app.types import JsonValue, Message

MAX_ID = 128

Statuses = Callable[[], Awaitable[Sequence[Mapping[str, JsonValue]]]]


def build_gateway_app(
    dataplane: DataPlane, pipelines: PipelineHost, statuses: Statuses, timeout_s: float
) -> ASGIApp:
    """`statuses` asks every process of the product what it holds."""
    api = FastAPI(
        title="Manta",
        version=__version__,
        description="Models, pipelines and streams of one edge site.",
        redirect_slashes=False,
    )
    for error in (MantaError, HTTPException, Exception):
        api.add_exception_handler(error, on_error)
    api.router.routes.extend(model_routes(dataplane))
    _add_server_routes(api, dataplane)
    _add_pipeline_routes(api, pipelines, timeout_s)
    _add_status_routes(api, statuses)
    document(api)
    return InferEndpoint(api, dataplane, timeout_s)


def _add_server_routes(api: FastAPI, dataplane: DataPlane) -> None:
    @api.get("/v2", tags=["protocol"], summary="Server metadata")
    async def server_metadata() -> Response:
        return json_response(dataplane.server_metadata())

    @api.get("/v2/health/live", tags=["protocol"], summary="Whether the server runs")
    async def live() -> Response:
        return json_response({"live": True})

    @api.get("/v2/health/ready", tags=["protocol"], summary="Whether every model is ready")
    async def ready() -> Response:
        is_ready = await dataplane.ready()
        return json_response({"ready": is_ready}, 200 if is_ready else 503)


def _add_pipeline_routes(api: FastAPI, pipelines: PipelineHost, timeout_s: float) -> None:
    async def run(request: Request) -> Response:
        """Run one picture or one JSON document through a pipeline.

        Answers `{"id", "pipeline", "result"}`, or with `?annotate=1` the picture as a JPEG with
        what was found drawn on it.
        """
        pipeline = pipelines.get(request.path_params["pipeline"])
        message = Message(
            id=request.headers.get("x-request-id", "")[:MAX_ID] or uuid.uuid4().hex,
            source="http",
            content=_content(request, await read_body(request.scope, request.receive)),
            captured_at=time.time(),
            pipeline=pipeline.id,
            deadline=time.monotonic() + timeout_s,
        )
        outcome = await pipeline.process(message)
        _raise_failure(outcome)
        answering = pipelines.get(outcome.message.pipeline)  # the fallback, where it was late
        result = answering.output_of(outcome.message)
        if request.query_params.get("annotate", "0") not in ("0", "false"):
            picture = await run_in_threadpool(annotated_jpeg, message.content, result)
            return Response(picture, media_type="image/jpeg")
        return json_response(
            {"id": message.id, "pipeline": answering.id, "result": result_json(result)}
        )

    async def listed(_: Request) -> Response:
        return json_response({"pipelines": pipelines.status()})

    api.add_route("/v1/pipelines", listed, methods=["GET"])
    api.add_route("/v1/pipelines/{pipeline}", run, methods=["POST"])


def _add_status_routes(api: FastAPI, statuses: Statuses) -> None:
    @api.get("/v1/status", tags=["status"], summary="Every model, pipeline and connector")
    async def status() -> Response:
        return json_response({"version": __version__, "processes": list(await statuses())})

    @api.get("/metrics", tags=["status"], summary="The same for Prometheus")
    async def metrics() -> Response:
        text = render_metrics(await statuses())
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


def _content(request: Request, body: bytes) -> object:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not body:
        raise InvalidInput("the body is empty; send a picture or a JSON document")
    if media_type == "application/json":
        return decode_json(body)
    if media_type.startswith("image/") or media_type in (
        "",
        "application/octet-stream",
        "application/x-www-form-urlencoded",  # what curl --data-binary says when told nothing
    ):
        return body
    raise UnsupportedMedia(f"{media_type!r} is not handled; send image/* or application/json")


def _raise_failure(outcome: Outcome) -> None:
    """A dropped message as the error its caller should see."""
    if outcome.kind != "dropped":
        return
    if outcome.message.error is not None:
        raise outcome.message.error.error
    if outcome.reason == "late":
        raise DeadlineExceeded("the deadline passed before the pipeline could run")
    raise InvalidInput(f"the pipeline dropped this message: {outcome.reason}")
