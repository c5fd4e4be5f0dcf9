"""The inference plane in a process of its own, without Ray: `python -m tests.faults.plane JSON`.

The gateway's application behind the direct door, and the gRPC server, over one DataPlane: what
`deployments.gateway` composes, with models that live in this process. The one argument is a
PlaneConfig; a line on standard output says that both doors are open. It ends with its standard
input, and so with whoever started it.
"""

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import deployments.catalogue  # noqa: F401 - fills the registries
from app.api.dataplane import DataPlane
from app.api.grpc.config import GrpcConfig
from app.api.grpc.server import GrpcServer
from app.api.http.direct_server import DirectConfig, DirectServer
from app.api.http.gateway import build_gateway_app
from app.clock import SystemClock
from app.config.limits import Limits
from app.config.pipelines import parse_pipelines
from app.errors import ConfigurationError, ModelNotFound
from app.interfaces import ModelHandle, Sink
from app.pipeline.graph import compile_all
from app.pipeline.host import PipelineHost
from app.pipeline.resources import Resources
from app.registry import ComponentConfig
from app.telemetry.logging import configure_logging
from app.types import JsonValue
from models.repository.loaded_file import LoadedFile
from models.repository.repository import ModelRepository
from models.serving.control import ModelController
from models.serving.service import LocalModelService
from tests.fakes.applications import FakeApplications
from tests.faults.models import HEALTHY, INLINE, NEVER_LOADED, register, write_repository

READY = "both doors are open"

PIPELINES = """
pipelines:
  - id: numbers
    preprocess: env.vector_to_tensor
    model: air-quality
  - id: picture
    nodes:
      - {id: image, type: image.to_tensor, params: {width: 8, height: 8, dtype: uint8}}
      - {id: shown, type: infer, params: {model: picture}}
    edges: [{from: image, to: shown}]
"""


class PlaneConfig(ComponentConfig):
    """`folder` is an empty directory, to which the models are written: all, or `healthy` ones."""

    folder: Path
    direct: DirectConfig
    grpc: GrpcConfig
    limits: Limits
    timeout_s: float
    healthy: bool


class Plane:
    """Everything that the process holds, opened and closed once."""

    def __init__(self, config: PlaneConfig) -> None:
        self._stack = AsyncExitStack()
        written = write_repository(config.folder / "models", healthy=config.healthy)
        repository = ModelRepository([written])
        names = HEALTHY if config.healthy else INLINE
        self._services = {name: LocalModelService(repository, name) for name in names}
        dataplane = DataPlane(self._services)
        if not config.healthy:
            dataplane.add(NEVER_LOADED, LocalModelService(repository, NEVER_LOADED))
        dataplane.control = ModelController(
            repository,
            self._services,
            (),
            FakeApplications(repository),
            dataplane,
            LoadedFile(config.folder / "loaded.json"),
        )
        self._pipelines = _pipelines(self._services)
        app = build_gateway_app(
            dataplane, self._pipelines, self._statuses, config.timeout_s, config.limits
        )
        self._direct = DirectServer(app, config.direct, config.limits)
        self._grpc = GrpcServer(config.grpc, dataplane, config.timeout_s, config.limits)

    async def open(self) -> None:
        for service in self._services.values():
            await service.load()
            self._stack.push_async_callback(service.close)
        await self._pipelines.open()
        self._stack.push_async_callback(self._pipelines.close)
        await self._direct.start()
        self._stack.push_async_callback(self._direct.stop)
        await self._grpc.start()
        self._stack.push_async_callback(self._grpc.stop, 0.5)

    async def close(self) -> None:
        await self._stack.aclose()

    async def _statuses(self) -> Sequence[Mapping[str, JsonValue]]:
        models = {name: service.status() for name, service in self._services.items()}
        return [
            {
                "application": "gateway",
                "replica": "only",
                "pid": os.getpid(),
                "models": models,
                "pipelines": self._pipelines.status(),
                "connectors": {},
            }
        ]


def _pipelines(models: Mapping[str, ModelHandle]) -> PipelineHost:
    def model(name: str) -> ModelHandle:
        if name not in models:
            raise ModelNotFound(f"model {name!r} is not served here")
        return models[name]

    def sink(name: str) -> Sink:
        raise ConfigurationError(f"no action is called {name!r}")

    graphs = compile_all(parse_pipelines(PIPELINES, environ={}))
    return PipelineHost(graphs, list(graphs), Resources(model, sink, SystemClock()))


async def serve(config: PlaneConfig) -> None:
    plane = Plane(config)
    await plane.open()
    sys.stdout.write(f"{READY}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    await plane.close()


if __name__ == "__main__":
    configure_logging()
    register()
    asyncio.run(serve(PlaneConfig.model_validate_json(sys.argv[1])))
