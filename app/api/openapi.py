"""The OpenAPI page: what the plain routes are, told to FastAPI's document."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

_PICTURE_OR_JSON = {
    "required": True,
    "content": {
        "image/jpeg": {"schema": {"type": "string", "format": "binary"}},
        "image/png": {"schema": {"type": "string", "format": "binary"}},
        "application/json": {"schema": {}},
    },
}

_TENSOR = {
    "type": "object",
    "required": ["name", "shape", "datatype", "data"],
    "properties": {
        "name": {"type": "string"},
        "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
        "datatype": {"type": "string", "example": "FP32"},
        "data": {"type": "array", "items": {}},
    },
}

_INFERENCE = {
    "type": "object",
    "required": ["inputs"],
    "properties": {
        "id": {"type": "string"},
        "inputs": {"type": "array", "items": _TENSOR},
        "outputs": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name"],
                "properties": {"name": {"type": "string"}},
            },
        },
    },
}


def document(api: FastAPI) -> None:
    """Make `/openapi.json` list the plain routes beside FastAPI's own."""

    def openapi() -> dict[str, Any]:
        if api.openapi_schema is None:
            schema = get_openapi(
                title=api.title,
                version=api.version,
                description=api.description,
                routes=api.routes,
            )
            schema["paths"].update(_plain_paths())
            api.openapi_schema = schema
        return api.openapi_schema

    api.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend it


def _plain_paths() -> dict[str, Any]:
    paths: dict[str, Any] = {
        "/v1/pipelines": {"get": _operation("pipelines", "Every pipeline and its counts")},
        "/v1/pipelines/{pipeline}": {
            "post": _operation(
                "pipelines",
                "Run one picture or JSON document through a pipeline",
                _parameter("pipeline", "path"),
                _parameter("annotate", "query"),
                body=_PICTURE_OR_JSON,
            )
        },
    }
    model, version = _parameter("name", "path"), _parameter("version", "path")
    for prefix, names in (
        ("/v2/models/{name}", [model]),
        ("/v2/models/{name}/versions/{version}", [model, version]),
    ):
        body = {"required": True, "content": {"application/json": {"schema": _INFERENCE}}}
        paths[prefix] = {"get": _operation("protocol", "Model metadata", *names)}
        paths[f"{prefix}/ready"] = {
            "get": _operation("protocol", "Whether the model is ready", *names)
        }
        paths[f"{prefix}/config"] = {"get": _operation("protocol", "Model configuration", *names)}
        paths[f"{prefix}/stats"] = {"get": _operation("protocol", "Model statistics", *names)}
        paths[f"{prefix}/infer"] = {
            "post": _operation("protocol", "Run the model on tensors", *names, body=body)
        }
    return paths


def _parameter(name: str, place: str) -> dict[str, Any]:
    return {"name": name, "in": place, "required": place == "path", "schema": {"type": "string"}}


def _operation(
    tag: str, summary: str, *parameters: dict[str, Any], body: dict[str, Any] | None = None
) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "tags": [tag],
        "summary": summary,
        "parameters": list(parameters),
        "responses": {
            "200": {"description": "Done"},
            "default": {
                "description": "What went wrong",
                "content": {
                    "application/json": {
                        "schema": {"type": "object", "properties": {"error": {"type": "string"}}}
                    }
                },
            },
        },
    }
    return operation if body is None else operation | {"requestBody": body}
