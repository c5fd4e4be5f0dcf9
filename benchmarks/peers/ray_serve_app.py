"""Ray Serve as its documentation begins: one deployment, FastAPI, no flags."""

from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response
from pydantic import BaseModel
from ray import serve
from ray.serve import Application

from benchmarks.peers.session import models_below

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

    @api.get("/v2/health/ready")
    async def ready(self) -> dict[str, bool]:
        return {"ready": True}


def build(arguments: Arguments) -> Application:
    application: Application = Server.bind(arguments.repository)  # type: ignore[attr-defined]  # @deployment adds it
    return application
