"""The OpenAPI page: what the plain routes are, told to FastAPI's document."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

_PICTURE_OR_JSON = {
    "required": True,
    "content": {
        "image/jpeg": {"schema": {"type": "string", "format": "binary"}},
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "properties": {"file": {"type": "string", "format": "binary"}},
            }
        },
        "image/png": {"schema": {"type": "string", "format": "binary"}},
        "application/json": {"schema": {}},
    },
}

_OBJECT = {"required": False, "content": {"application/json": {"schema": {"type": "object"}}}}

_REGION = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["key", "byte_size"],
                "properties": {
                    "key": {"type": "string"},
                    "offset": {"type": "integer", "minimum": 0},
                    "byte_size": {"type": "integer", "minimum": 1},
                },
            }
        }
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
    paths |= _management_paths() | _alias_paths()
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
        if len(names) == 1:
            paths[f"{prefix}/trace/setting"] = {
                "get": _operation("settings", "Trace settings of the model", *names),
                "post": _operation("settings", "Change trace settings", *names, body=_OBJECT),
            }
        paths[f"{prefix}/infer"] = {
            "post": _operation("protocol", "Run the model on tensors", *names, body=body)
        }
    return paths


def _management_paths() -> dict[str, Any]:
    name = _parameter("name", "path")
    index = _operation("models", "Every version of every model", body=_OBJECT)
    settings = {
        f"/v2/{path}": {
            "get": _operation("settings", f"{what} settings"),
            "post": _operation("settings", f"Change {what.lower()} settings", body=_OBJECT),
        }
        for path, what in (("logging", "Log"), ("trace/setting", "Trace"))
    }
    return (
        settings
        | _memory_paths()
        | {
            "/v2/repository/index": {"post": index},
            "/v2/repository/models/{name}/load": {
                "post": _operation("models", "Load or reload a model", name, body=_OBJECT)
            },
            "/v2/repository/models/{name}/unload": {
                "post": _operation("models", "Unload a model", name, body=_OBJECT)
            },
        }
    )


def _memory_paths() -> dict[str, Any]:
    calls = {
        "status": ("get", "Registered regions", None),
        "unregister": ("post", "Forget registered regions", _OBJECT),
        "register": ("post", "Register a region", _REGION),
    }
    return {
        f"/v2/{kind}sharedmemory{path}{call}": {
            method: _operation(
                f"{kind} shared memory",
                what,
                *([_parameter("name", "path")] if "{name}" in path else []),
                body=body,
            )
        }
        for kind in ("system", "cuda")
        for path in ("/", "/region/{name}/")
        for call, (method, what, body) in calls.items()
        if path != "/" or call != "register"
    }


def _alias_paths() -> dict[str, Any]:
    gets = {
        "/api/v1/models": "Every model and whether it is ready",
        "/api/v1/stats": "Statistics of every model",
        "/api/v1/health": "Whether every model is ready",
        "/health": "Whether every model is ready",
        "/health/ready": "Whether every model is ready",
        "/health/live": "Whether the server runs",
        "/healthz": "Whether the server runs",
    }
    posts = {
        "/api/v1/infer": "Run a model that the body names, or that is named for a picture",
        "/api/v1/batch": "Run many requests, or send many pictures, at once",
    }
    load = _operation("aliases", "Load or reload a model that the body names", body=_OBJECT)
    name = _parameter("name", "path")
    model = _parameter("model", "query")
    predict = _operation(
        "aliases", "Run the model on nested lists or pictures", name, body=_PICTURE_OR_JSON
    )
    return (
        {path: {"get": _operation("aliases", what)} for path, what in gets.items()}
        | {
            path: {"post": _operation("aliases", what, model, body=_PICTURE_OR_JSON)}
            for path, what in posts.items()
        }
        | {"/api/v1/models/load": {"post": load}}
        | {f"/v1/models/{{name}}{end}": {"post": predict} for end in (":predict", "/predict")}
    )


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
