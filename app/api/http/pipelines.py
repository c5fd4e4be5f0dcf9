"""Running pipelines over HTTP."""

import time
import uuid

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from app.api.http.answers import json_response, read_body
from app.api.http.content import content_of
from app.config.limits import Limits
from app.errors import DeadlineExceeded, InvalidInput
from app.formats.results import result_json
from app.imaging.picture import annotated_jpeg
from app.pipeline.host import PipelineHost
from app.pipeline.outcome import Outcome
from app.types import JsonValue, Message

MAX_ID = 128


def pipeline_routes(pipelines: PipelineHost, timeout_s: float, limits: Limits) -> list[BaseRoute]:
    async def run(request: Request) -> Response:
        """Run one picture or one JSON document through a pipeline.

        Answers `{"id", "pipeline", "result"}`, or with `?annotate=1` the picture as a JPEG with
        what was found drawn on it.
        """
        name = request.path_params["pipeline"]
        pipelines.get(name)
        body = await read_body(request.scope, request.receive, limits)
        content = await content_of(request.headers, body, limits)
        message_id = request.headers.get("x-request-id", "")[:MAX_ID]
        message, outcome = await run_content(pipelines, name, content, timeout_s, message_id)
        if outcome.kind == "dropped":
            return json_response(answer_of(pipelines, message, outcome))
        if request.query_params.get("annotate", "0") not in ("0", "false"):
            result = pipelines.get(outcome.message.pipeline).output_of(outcome.message)
            picture = await run_in_threadpool(annotated_jpeg, message.content, result)
            return Response(picture, media_type="image/jpeg")
        return json_response(answer_of(pipelines, message, outcome))

    async def listed(_: Request) -> Response:
        return json_response({"pipelines": pipelines.status()})

    return [
        Route("/v1/pipelines", listed, methods=["GET"]),
        Route("/v1/pipelines/{pipeline}", run, methods=["POST"]),
    ]


async def run_content(
    pipelines: PipelineHost, name: str, content: object, timeout_s: float, message_id: str = ""
) -> tuple[Message, Outcome]:
    """One message through a pipeline. Raises what its caller should see if it failed or was late.

    One that a node has filtered out is an answer as well.
    """
    pipeline = pipelines.get(name)
    message = Message(
        id=message_id or uuid.uuid4().hex,
        source="http",
        content=content,
        captured_at=time.time(),
        pipeline=pipeline.id,
        deadline=time.monotonic() + timeout_s,
    )
    outcome = await pipeline.process(message)
    _raise_failure(outcome)
    return message, outcome


def answer_of(pipelines: PipelineHost, message: Message, outcome: Outcome) -> dict[str, JsonValue]:
    """`id`, the pipeline that answered (the fallback, where it was late), and its result.

    Of a message that was filtered out the result is null, and `filtered` says so.
    """
    answering = pipelines.get(outcome.message.pipeline)
    if outcome.kind == "dropped":
        return {"id": message.id, "pipeline": answering.id, "result": None, "filtered": True}
    result = answering.output_of(outcome.message)
    return {"id": message.id, "pipeline": answering.id, "result": result_json(result)}


def _raise_failure(outcome: Outcome) -> None:
    """A dropped message as the error its caller should see."""
    if outcome.kind != "dropped" or outcome.reason == "filtered":
        return
    if outcome.message.error is not None:
        raise outcome.message.error.error
    if outcome.reason == "late":
        raise DeadlineExceeded("the deadline passed before the pipeline could run")
    raise InvalidInput(f"the pipeline dropped this message: {outcome.reason}")
