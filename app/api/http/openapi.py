"""The OpenAPI document: every route, what it takes and every status it answers with."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias, cast

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.api.http import schemas
from app.api.http.answers import json_response
from app.api.http.schemas import Schema
from app.types import JsonValue

Document: TypeAlias = dict[str, JsonValue]

JSON = "application/json"
RAW = "application/octet-stream"

_ERRORS: Mapping[int, str] = {
    400: "Something in the request is wrong",
    403: "A page of another origin asks, or the host is not known as a name of this server",
    404: "There is no such model, version or pipeline",
    413: "Over a limit",
    415: "The content type or encoding is not handled",
    500: "The model failed",
    501: "Switched off here",
    503: "Not ready, or too much is waiting already",
    504: "The deadline passed",
}
_BODY = (400, 413, 415)
_MODEL = (404, 503, 504)
_RUN = (*_BODY, *_MODEL, 500, 501)
_CONTROL = (*_BODY, 404, 501, 503)

_NAME: Document = {
    "name": "name",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "minLength": 1},
}
_VERSION: Document = {
    "name": "version",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "pattern": "^[1-9][0-9]{0,18}$"},
}
_PIPELINE: Document = {**_NAME, "name": "pipeline"}
_ANNOTATE: Document = {
    "name": "annotate",
    "in": "query",
    "description": "answer the picture as a JPEG with what was found drawn on it",
    "schema": {"type": "string", "enum": ["0", "1", "false", "true"]},
}
_JSON_LENGTH: Document = {
    "name": "Inference-Header-Content-Length",
    "in": "header",
    "description": "how many bytes at the start of the body are JSON, where raw tensors follow;"
    " 0 where the body is the raw bytes of the model's only input",
    "schema": {"type": "integer", "minimum": 0},
}
_FILE = schemas.fields({}, file=schemas.BYTES)
_PICTURE: Document = {
    "image/jpeg": {"schema": dict(schemas.BYTES)},
    "image/png": {"schema": dict(schemas.BYTES)},
    "multipart/form-data": {"schema": dict(_FILE)},
}
_PICTURE_OR_JSON: Document = {**_PICTURE, JSON: {"schema": {}}}
_MODEL_OF_PICTURE: Document = {
    "name": "model",
    "in": "query",
    "description": "the model that pictures are for",
    "schema": {"type": "string"},
}
_TAKE_PICTURES = (
    "/v1/models/{name}:predict",
    "/v1/models/{name}/predict",
    "/api/v1/infer",
    "/api/v1/batch",
)


def document(api: FastAPI) -> None:
    """Add `/openapi.json`, which tells of all routes, the plain ones and FastAPI's own."""

    def openapi() -> Document:
        if api.openapi_schema is None:
            schema = get_openapi(
                title=api.title, version=api.version, description=api.description, routes=[]
            )
            api.openapi_schema = {**schema, "paths": _paths()}
        return api.openapi_schema

    async def answer(_: Request) -> Response:
        return json_response(openapi())

    api.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend it
    api.router.routes.append(Route("/openapi.json", answer, methods=["GET"]))


def _paths() -> Document:
    operations = {
        **_server(),
        **_models(),
        **_management(),
        **_memory(),
        **_aliases(),
        **_pipelines(),
    }
    paths: dict[str, dict[str, JsonValue]] = {}
    for (method, path), operation in operations.items():
        responses = {**_errors((403,), path), **cast(Document, operation["responses"])}
        paths.setdefault(path, {})[method] = {**operation, "responses": responses}
    return dict(paths)


Operations: TypeAlias = dict[tuple[str, str], Document]


def _server() -> Operations:
    ready = _answers(JSON, schemas.READY, 503)
    alias_ready = {"/health", "/health/ready", "/api/v1/health"}
    return {
        ("get", "/v2"): _operation("protocol", "Server metadata", schemas.SERVER),
        ("get", "/v2/health/live"): _operation("protocol", "The server runs", schemas.LIVE),
        ("get", "/v2/health/ready"): {
            **_operation("protocol", "Whether every model is ready", schemas.READY),
            "responses": ready,
        },
        ("get", "/v2/models/stats"): _operation(
            "protocol", "Statistics of every model", schemas.STATISTICS
        ),
        ("get", "/v1/status"): _operation(
            "status", "Every model, pipeline and connector", schemas.STATUS
        ),
        ("get", "/metrics"): {
            **_operation("status", "The same for Prometheus", schemas.TEXT),
            "responses": _answers("text/plain", schemas.TEXT),
        },
        **{
            ("get", path): {
                **_operation("aliases", "Whether every model is ready", schemas.READY),
                "responses": ready,
            }
            for path in sorted(alias_ready)
        },
        **{
            ("get", path): _operation("aliases", "The server runs", schemas.LIVE)
            for path in ("/health/live", "/healthz")
        },
    }


def _models() -> Operations:
    operations: Operations = {}
    for prefix, names, wrong in (
        ("/v2/models/{name}", (_NAME,), ()),
        ("/v2/models/{name}/versions/{version}", (_NAME, _VERSION), (400,)),
    ):
        for path, summary, answer in (
            ("", "Model metadata", schemas.METADATA),
            ("/config", "Model configuration", schemas.CONFIG),
            ("/stats", "Model statistics", schemas.STATISTICS),
        ):
            operations["get", prefix + path] = _operation(
                "protocol", summary, answer, (*_MODEL, *wrong), names
            )
        ready = _operation("protocol", "Whether the model is ready", schemas.MODEL_READY, (), names)
        answers = _answers(JSON, schemas.MODEL_READY, 503) | _errors((404, 504, *wrong), "/v2")
        operations["get", f"{prefix}/ready"] = {**ready, "responses": answers}
        infer = _operation(
            "protocol", "Run the model on tensors", schemas.INFERRED, _RUN, (*names, _JSON_LENGTH)
        )
        infer["responses"] = {
            **_answers(JSON, schemas.INFERRED, raw=True),
            **_errors(_RUN, "/v2"),
        }
        infer["requestBody"] = _body(
            {JSON: {"schema": dict(schemas.INFERENCE)}, RAW: {"schema": dict(schemas.BYTES)}}
        )
        operations["post", f"{prefix}/infer"] = infer
    return operations


def _management() -> Operations:
    operations: Operations = {}
    for path, what, asked in (
        ("/v2/logging", "Log settings", schemas.LOG_SETTINGS),
        ("/v2/trace/setting", "Trace settings", schemas.TRACE_SETTINGS),
    ):
        operations["get", path] = _operation("settings", what, {"type": "object"}, (), (), path)
        operations["post", path] = _posted(
            "settings", f"Change {what.lower()}", path, asked, {"type": "object"}, _BODY
        )
    own, settings = "/v2/models/{name}/trace/setting", {"type": "object"}
    operations["get", own] = _operation(
        "settings", "Trace settings of the model", settings, _MODEL, (_NAME,)
    )
    operations["post", own] = _posted(
        "settings",
        "Change trace settings of the model",
        *(own, schemas.TRACE_SETTINGS, settings, (*_BODY, *_MODEL)),
    )
    repository = "/v2/repository"
    for path, what, asked, answer in (
        ("/index", "Every version of every model", schemas.INDEX_ASKED, schemas.INDEX),
        ("/models/{name}/load", "Load or reload a model", schemas.LOAD, {"type": "object"}),
        ("/models/{name}/unload", "Unload a model", schemas.UNLOAD, {"type": "object"}),
    ):
        operations["post", repository + path] = _posted(
            "models", what, repository + path, asked, answer, _CONTROL
        )
    return operations


def _memory() -> Operations:
    operations: Operations = {}
    for kind in ("system", "cuda"):
        tag, prefix = f"{kind} shared memory", f"/v2/{kind}sharedmemory"
        for path, names in ((prefix, ()), (f"{prefix}/region/{{name}}", (_NAME,))):
            operations["get", f"{path}/status"] = _operation(
                tag, "Registered regions", schemas.REGIONS, (404, 501), names
            )
            operations["post", f"{path}/unregister"] = _operation(
                tag, "Forget registered regions", {"type": "object"}, (501,), names
            )
        register = f"{prefix}/region/{{name}}/register"
        operations["post", register] = _posted(
            tag, "Register a region", register, schemas.REGION, {"type": "object"}, (*_BODY, 501)
        )
    return operations


def _aliases() -> Operations:
    operations = {
        ("post", path): _posted("aliases", what, path, asked, answer, errors)
        for path, what, asked, answer, errors in (
            (
                "/v1/models/{name}:predict",
                "Run the model on nested lists",
                *(schemas.PREDICT, schemas.PREDICTED, _RUN),
            ),
            (
                "/v1/models/{name}/predict",
                "Run the model on nested lists",
                *(schemas.PREDICT, schemas.PREDICTED, _RUN),
            ),
            (
                "/api/v1/infer",
                "Run a model that the body names",
                *(schemas.NAMED_INFERENCE, schemas.INFERRED_OR_RESULT, _RUN),
            ),
            ("/api/v1/batch", "Run many requests at once", schemas.BATCH, schemas.BATCHED, _BODY),
            (
                "/api/v1/models/load",
                "Load or reload a model that the body names",
                *(schemas.NAMED_LOAD, schemas.LOADED, _CONTROL),
            ),
        )
    }
    for path, what, answer in (
        ("/v1/models", "Every model", schemas.MODEL_NAMES),
        ("/api/v1/models", "Every model and whether it is ready", schemas.MODELS),
        ("/api/v1/stats", "Statistics of every model", schemas.STATISTICS),
    ):
        operations["get", path] = _operation("aliases", what, answer, (), (), path)
    one = "/v1/models/{name}"
    operations["get", one] = _operation(
        "aliases", "Whether the model is ready", schemas.MODEL_READY, (404, 504), (_NAME,), one
    )
    return operations


def _pipelines() -> Operations:
    run = _operation(
        "pipelines",
        "Run one picture or JSON document through a pipeline",
        schemas.RESULT,
        _RUN,
        (_PIPELINE, _ANNOTATE),
        "/v1/pipelines",
    )
    run["responses"] = {
        "200": {
            "description": "The result, or with `annotate` the picture",
            "content": {
                JSON: {"schema": dict(schemas.RESULT)},
                "image/jpeg": {"schema": dict(schemas.BYTES)},
            },
        },
        **_errors(_RUN, "/v1"),
    }
    run["requestBody"] = _body(_PICTURE_OR_JSON)
    listed = _operation("pipelines", "Every pipeline and its counts", schemas.PIPELINES)
    return {("get", "/v1/pipelines"): listed, ("post", "/v1/pipelines/{pipeline}"): run}


def _posted(
    tag: str, summary: str, path: str, asked: Schema, answer: Schema, errors: Sequence[int]
) -> Document:
    names = (_NAME,) if "{name}" in path else ()
    operation = _operation(tag, summary, answer, errors, names, path)
    required = bool(asked.get("required") or asked.get("anyOf"))
    takes_pictures = path in _TAKE_PICTURES
    content: Document = {JSON: {"schema": dict(asked)}, **(_PICTURE if takes_pictures else {})}
    operation["requestBody"] = _body(content, required=required)
    if takes_pictures and not names:
        operation["parameters"] = [_MODEL_OF_PICTURE]
    return operation


def _operation(
    tag: str,
    summary: str,
    answer: Schema,
    errors: Sequence[int] = (),
    parameters: Sequence[Document] = (),
    path: str = "/v2",
) -> Document:
    return {
        "tags": [tag],
        "summary": summary,
        "parameters": list(parameters),
        "responses": {**_answers(JSON, answer), **_errors(errors, path)},
    }


def _answers(media_type: str, schema: Schema, *others: int, raw: bool = False) -> Document:
    """The answer 200, which has the same form with the `others`; `raw`: or with raw tensors."""
    content: Document = {media_type: {"schema": dict(schema)}}
    if raw:
        content[RAW] = {"schema": dict(schemas.BYTES)}
    return {
        str(status): {"description": "Done" if status == 200 else _ERRORS[status]}
        | {"content": content}
        for status in (200, *others)
    }


def _errors(statuses: Sequence[int], path: str) -> Document:
    """Routes of the protocol have one form of error, the others the other."""
    protocol = path.startswith("/v2")
    media_type = JSON if protocol else "application/problem+json"
    schema = dict(schemas.ERROR if protocol else schemas.PROBLEM)
    return {
        str(status): {
            "description": _ERRORS[status],
            "content": {media_type: {"schema": schema}},
        }
        for status in sorted(set(statuses))
    }


def _body(content: Document, *, required: bool = True) -> Document:
    return {"required": required, "content": content}
