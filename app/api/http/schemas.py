"""JSON Schemas of what goes in and out over HTTP, for the OpenAPI document."""

from collections.abc import Mapping

from app.formats.datatypes import DTYPES
from app.telemetry.tracing import DEFAULTS
from app.types import JsonValue

Schema = Mapping[str, JsonValue]

TEXT: Schema = {"type": "string"}
FLAG: Schema = {"type": "boolean"}
COUNT: Schema = {"type": "integer", "minimum": 0}
ANYTHING: Schema = {}
BYTES: Schema = {"type": "string", "format": "binary"}


def array(items: Schema, **more: JsonValue) -> Schema:
    return {"type": "array", "items": items, **more}


def fields(required: Mapping[str, Schema], **optional: Schema) -> Schema:
    """An object that may have other fields, too."""
    properties: dict[str, JsonValue] = {**required, **optional}
    names: list[JsonValue] = list(required)
    return {"type": "object", "required": names, "properties": properties}


def closed(**optional: Schema) -> Schema:
    """An object of these fields only; each may be left out."""
    return {**fields({}, **optional), "additionalProperties": False}


ERROR = fields({"error": TEXT})
PROBLEM = fields({"title": TEXT, "status": {"type": "integer"}, "error": TEXT})

_SHAPE = array(COUNT, maxItems=32)
_SIZES = array({"type": "integer", "minimum": -1})
_OBJECT_OR_NULL: list[JsonValue] = ["object", "null"]
_PARAMETERS: Schema = {"type": _OBJECT_OR_NULL}
_DATATYPE: Schema = {"type": "string", "enum": [*sorted(DTYPES)]}
_NAME: Schema = {"type": "string", "minLength": 1}

_TENSOR = fields(
    {"name": _NAME, "shape": _SHAPE, "datatype": _DATATYPE},
    data=array(ANYTHING),
    parameters=_PARAMETERS,
)
_OUTPUT = fields({"name": _NAME}, parameters=_PARAMETERS)
INFERENCE = fields(
    {},
    id={"type": ["string", "null"]},
    inputs={**array(_TENSOR), "type": ["array", "null"]},
    outputs={**array(_OUTPUT), "type": ["array", "null"]},
    parameters=_PARAMETERS,
)
INFERRED = fields(
    {"model_name": TEXT, "model_version": TEXT, "outputs": array(_TENSOR)},
    id=TEXT,
)

_SPEC = fields({"name": TEXT, "datatype": _DATATYPE, "shape": _SIZES})
METADATA = fields(
    {
        "name": TEXT,
        "versions": array(TEXT),
        "platform": TEXT,
        "inputs": array(_SPEC),
        "outputs": array(_SPEC),
    },
    parameters={"type": "object"},
)
_CONFIGURED = fields({"name": TEXT, "data_type": TEXT, "dims": _SIZES}, reshape={"type": "object"})
CONFIG = fields(
    {
        "name": TEXT,
        "platform": TEXT,
        "backend": TEXT,
        "version_policy": {"type": "object"},
        "max_batch_size": COUNT,
        "input": array(_CONFIGURED),
        "output": array(_CONFIGURED),
    },
    dynamic_batching={"type": "object"},
)
STATISTICS = fields(
    {
        "model_stats": array(
            fields(
                {
                    "name": TEXT,
                    "version": TEXT,
                    "last_inference": COUNT,
                    "inference_count": COUNT,
                    "execution_count": COUNT,
                    "inference_stats": {"type": "object"},
                    "batch_stats": array({"type": "object"}),
                }
            )
        )
    }
)
SERVER = fields({"name": TEXT, "version": TEXT, "extensions": array(TEXT)})
LIVE = fields({"live": FLAG})
READY = fields({"ready": FLAG})
MODEL_READY = fields({"name": TEXT, "ready": FLAG})
STATUS = fields({"version": TEXT, "processes": array({"type": "object"})})

INDEX_ASKED = fields({}, ready=FLAG)
INDEX = array(fields({"name": TEXT, "version": TEXT, "state": TEXT, "reason": TEXT}))
_OVERRIDE: Schema = {"type": ["string", "object", "null"]}
LOAD = fields({}, parameters={**closed(config=_OVERRIDE), "type": _OBJECT_OR_NULL})
UNLOAD = fields({}, parameters=_PARAMETERS)
LOG_SETTINGS = closed(
    log_file={"enum": [""]},
    log_info=FLAG,
    log_warning=FLAG,
    log_error=FLAG,
    log_verbose_level=COUNT,
    log_format={"enum": ["default", "ISO8601"]},
)
TRACE_SETTINGS = closed(**dict.fromkeys(DEFAULTS, ANYTHING))

PREDICT: Schema = {
    "type": "object",
    "properties": {"instances": ANYTHING, "inputs": ANYTHING},
    "anyOf": [{"required": ["instances"]}, {"required": ["inputs"]}],
}
PREDICTED = fields({}, predictions=ANYTHING, outputs=ANYTHING)
NAMED_INFERENCE = fields(
    {"model": _NAME},
    inputs={"type": ["array", "object"]},
    image=fields({"b64": TEXT}),
    version={"type": ["string", "integer", "null"]},
    id={"type": ["string", "null"]},
    outputs={**array(_OUTPUT), "type": ["array", "null"]},
    parameters=_PARAMETERS,
)
REGION = fields({"key": TEXT, "byte_size": {"type": "integer", "minimum": 1}}, offset=COUNT)
REGIONS = array(
    fields({"name": TEXT, "key": TEXT, "offset": COUNT, "byte_size": {"type": "integer"}})
)
BATCH = fields({"requests": array(ANYTHING)})
BATCHED = fields({"results": array({"type": "object"})})
NAMED_LOAD: Schema = {
    "type": "object",
    "properties": {"model": _NAME, "name": _NAME, "config": _OVERRIDE},
    "anyOf": [{"required": ["model"]}, {"required": ["name"]}],
}
LOADED = fields({"model": TEXT, "ready": FLAG})
MODEL_NAMES = fields({"models": array(TEXT)})
MODELS = fields({"models": array(fields({"name": TEXT, "ready": FLAG}))})
PIPELINES = fields({"pipelines": {"type": "object"}})
RESULT = fields({"id": TEXT, "pipeline": TEXT, "result": ANYTHING}, filtered=FLAG)
INFERRED_OR_RESULT: Schema = {"anyOf": [dict(INFERRED), dict(RESULT)]}
