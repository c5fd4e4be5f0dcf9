"""Ray Serve as its documentation begins: one deployment, FastAPI, no flags.

The same deployment answers `ModelInfer` of the Open Inference Protocol behind Serve's gRPC proxy.
"""

from pathlib import Path
from typing import Any

import grpc
import numpy as np
from fastapi import FastAPI, Request
from fastapi.responses import Response
from pydantic import BaseModel
from ray import serve
from ray.serve import Application

from app.api.grpc.proto import inference_pb2 as pb
from benchmarks.peers.session import models_below

SERVICE = "inference.GRPCInferenceService"

api = FastAPI()


class Arguments(BaseModel):
    repository: Path


@serve.deployment(max_ongoing_requests=100)
@serve.ingress(api)
class Server:
    def __init__(self, repository: Path) -> None:
        self._models = models_below(repository)

    @api.post("/v2/models/{name}/infer")
    async def infer(self, name: str, request: Request) -> Any:
        """JSON in and out, or the tensor's bytes in and out."""
        model = self._models[name]
        if request.headers.get("content-type") == "application/octet-stream":
            answer = model.run(model.decode_raw(await request.body()))
            return Response(answer.tobytes(), media_type="application/octet-stream")
        return model.encode_json(model.run(model.decode_json(await request.json())))

    async def ModelInfer(self, request: pb.ModelInferRequest) -> pb.ModelInferResponse:  # noqa: N802 - the protocol's name
        """One tensor of raw bytes in, one out."""
        model = self._models[request.model_name]
        answer = model.run(model.decode_raw(request.raw_input_contents[0]))
        response = pb.ModelInferResponse(model_name=request.model_name)
        tensor = response.outputs.add(name=model.output, datatype="FP32")
        tensor.shape.extend(answer.shape)
        response.raw_output_contents.append(np.ascontiguousarray(answer).tobytes())
        return response

    @api.get("/v2/health/ready")
    async def ready(self) -> dict[str, bool]:
        return {"ready": True}


def add_servicer(servicer: Any, server: Any) -> None:
    """What protoc's module would add for the one method that is asked for."""
    handler = grpc.unary_unary_rpc_method_handler(
        servicer.ModelInfer,
        request_deserializer=pb.ModelInferRequest.FromString,
        response_serializer=pb.ModelInferResponse.SerializeToString,
    )
    handlers = grpc.method_handlers_generic_handler(SERVICE, {"ModelInfer": handler})
    server.add_generic_rpc_handlers((handlers,))


def build(arguments: Arguments) -> Application:
    application: Application = Server.bind(arguments.repository)  # type: ignore[attr-defined]  # @deployment adds it
    return application
