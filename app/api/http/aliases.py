"""Other spellings of the same calls: `/v1/models`, `/api/v1` and `/health`."""

import asyncio
import time
from collections.abc import Awaitable, Iterable, Mapping
from dataclasses import replace

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from app.api.codec.fields import Fields, mapping, text
from app.api.codec.nested import decode_nested, encode_nested, is_protocol
from app.api.codec.requests import AnswerForm, Call, decode_fields
from app.api.dataplane import DataPlane
from app.api.descriptions import encode_statistics
from app.api.http.answers import json_response, log_failure
from app.api.http.infer_route import answer_call
from app.api.http.pictures import Pictures
from app.api.http.repository import config_of, control_of, fields_of
from app.api.status import status_of, text_of
from app.config.limits import Limits
from app.errors import InvalidInput
from app.types import InferenceRequest, JsonValue


def alias_routes(
    dataplane: DataPlane, pictures: Pictures, timeout_s: float, limits: Limits
) -> list[BaseRoute]:
    return [
        *_predict_routes(dataplane, pictures, timeout_s, limits),
        *_inference_routes(dataplane, pictures, timeout_s, limits),
        *_model_routes(dataplane, limits),
        *_health_routes(dataplane),
    ]


def _predict_routes(
    dataplane: DataPlane, pictures: Pictures, timeout_s: float, limits: Limits
) -> list[BaseRoute]:
    async def predict(request: Request) -> Response:
        """Answers `instances` and pictures with `predictions`, and `inputs` with `outputs`."""
        name = request.path_params["name"]
        pictures.check(name)
        if files := await pictures.in_body(request):
            return json_response({"predictions": _results(await pictures.answers(name, files))})
        data = await fields_of(request, limits)
        asked = "instances" if "instances" in data else "inputs"
        if asked not in data:
            raise InvalidInput("needs inputs or instances")
        answered = "predictions" if asked == "instances" else "outputs"
        if files := pictures.in_json(data[asked], asked):
            return json_response({answered: _results(await pictures.answers(name, files))})
        metadata = await dataplane.model_metadata(name)
        inputs = decode_nested(data[asked], metadata, asked, limits)
        deadline = time.monotonic() + timeout_s
        response = await dataplane.infer(InferenceRequest(name, inputs, deadline=deadline))
        return json_response({answered: encode_nested(response)})

    return [
        Route("/v1/models/{name}:predict", predict, methods=["POST"]),
        Route("/v1/models/{name}/predict", predict, methods=["POST"]),
    ]


def _inference_routes(
    dataplane: DataPlane, pictures: Pictures, timeout_s: float, limits: Limits
) -> list[BaseRoute]:
    async def one(data: Fields) -> bytes:
        name = text(data, "model", "the body")
        if files := pictures.in_json(data.get("image"), "image"):
            return _dumped(await pictures.answer(name, files[0]))
        version = data.get("version")
        if version is not None:
            version = str(version)  # as a number, too
        deadline = time.monotonic() + timeout_s
        if is_protocol(data.get("inputs")):
            call = decode_fields(
                name, version, data, deadline, limits=limits, memory=dataplane.memory
            )
        else:
            metadata = await dataplane.model_metadata(name, version)
            inputs = decode_nested(data.get("inputs"), metadata, "inputs", limits)
            rest = {key: value for key, value in data.items() if key != "inputs"}
            request, form = decode_fields(
                name, version, rest, deadline, limits=limits, memory=dataplane.memory
            )
            call = Call(replace(request, inputs=inputs), form)
        in_json = AnswerForm(classes=call.form.classes, places=call.form.places)
        return (await answer_call(dataplane, Call(call.request, in_json))).body

    async def infer(request: Request) -> Response:
        """The model is named in the body, or for pictures in the query: `?model=`."""
        if files := await pictures.in_body(request):
            if len(files) > 1:
                raise InvalidInput("more than one picture: send them to /api/v1/batch")
            return json_response(await pictures.answer(_model_of(request), files[0]))
        answer = await one(await fields_of(request, limits))
        return Response(answer, media_type="application/json")

    async def settled(answer: Awaitable[bytes]) -> orjson.Fragment | dict[str, JsonValue]:
        try:
            return orjson.Fragment(await answer)
        except Exception as error:  # noqa: BLE001 - one item's error is its own answer
            status = status_of(error).http
            log_failure(status, error)
            return {"error": text_of(error), "status": status}

    async def of_item(item: object) -> bytes:
        answer = await one(mapping(item, "a request"))
        return answer.removesuffix(b"\n")

    async def of_picture(model: str, picture: bytes) -> bytes:
        return _dumped(await pictures.answer(model, picture))

    async def batch(request: Request) -> Response:
        """`{"requests": [...]}`, or pictures as the parts of a multipart body: every one at once,
        each answered by its result or its error."""
        if files := await pictures.in_body(request):
            model = _model_of(request)
            answers = [of_picture(model, each) for each in files]
        else:
            requests = (await fields_of(request, limits)).get("requests")
            if not isinstance(requests, list):
                raise InvalidInput("requests: must be an array")
            if len(requests) > limits.batch_requests:
                raise InvalidInput(f"requests: more than {limits.batch_requests}")
            answers = [of_item(each) for each in requests]
        results = await asyncio.gather(*map(settled, answers))
        body = orjson.dumps({"results": results}, option=orjson.OPT_APPEND_NEWLINE)
        return Response(body, media_type="application/json")

    return [
        Route("/api/v1/infer", infer, methods=["POST"]),
        Route("/api/v1/batch", batch, methods=["POST"]),
    ]


def _model_of(request: Request) -> str:
    model = request.query_params.get("model", "")
    if not model:
        raise InvalidInput("a picture needs ?model=NAME")
    return model


def _results(answers: Iterable[Mapping[str, JsonValue]]) -> list[JsonValue]:
    return [answer["result"] for answer in answers]


def _dumped(answer: Mapping[str, JsonValue]) -> bytes:
    return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)


def _model_routes(dataplane: DataPlane, limits: Limits) -> list[BaseRoute]:
    async def listed(_: Request) -> Response:
        ready = await dataplane.each_ready()
        models: list[JsonValue] = [
            {"name": name, "ready": is_ready} for name, is_ready in ready.items()
        ]
        return json_response({"models": models})

    async def names(_: Request) -> Response:
        return json_response({"models": list(dataplane.names())})

    async def ready(request: Request) -> Response:
        """Answered with 200 also while the model is not ready: the body tells."""
        name = request.path_params["name"]
        if name.endswith(":predict"):  # a model's call, whose path has this form, too
            raise HTTPException(405, headers={"Allow": "POST"})
        return json_response({"name": name, "ready": await dataplane.model_ready(name)})

    async def load(request: Request) -> Response:
        data = await fields_of(request, limits)
        name = text(data, "model" if "model" in data else "name", "the body")
        config = config_of(data.get("config"), "config", limits)
        await control_of(dataplane).load(name, config)
        return json_response({"model": name, "ready": True})

    async def stats(_: Request) -> Response:
        return json_response(encode_statistics(await dataplane.statistics()))

    return [
        Route("/v1/models", names, methods=["GET"]),
        Route("/v1/models/{name}", ready, methods=["GET"]),
        Route("/api/v1/models", listed, methods=["GET"]),
        Route("/api/v1/models/load", load, methods=["POST"]),
        Route("/api/v1/stats", stats, methods=["GET"]),
    ]


def _health_routes(dataplane: DataPlane) -> list[BaseRoute]:
    async def live(_: Request) -> Response:
        return json_response({"live": True})

    async def ready(_: Request) -> Response:
        is_ready = await dataplane.ready()
        answer: dict[str, JsonValue] = {"live": True, "ready": is_ready}
        return json_response(answer, 200 if is_ready else 503)

    return [
        *(Route(path, live, methods=["GET"]) for path in ("/health/live", "/healthz")),
        *(
            Route(path, ready, methods=["GET"])
            for path in ("/health", "/health/ready", "/api/v1/health")
        ),
    ]
