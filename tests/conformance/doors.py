"""The product's two binary doors around a model repository, without Ray, and clients for them.

The composition is the gateway's own: one DataPlane over the process's services, the HTTP
application behind the direct door, and the gRPC server.
"""

import asyncio
import gc
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import NoReturn

import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import np_to_triton_dtype

from app.api.dataplane import DataPlane
from app.api.grpc.config import GrpcConfig
from app.api.grpc.server import GrpcServer
from app.api.http.direct_server import DirectConfig, DirectServer
from app.api.http.gateway import build_gateway_app
from app.clock import SystemClock
from app.errors import ConfigurationError
from app.pipeline.host import PipelineHost
from app.pipeline.resources import Resources
from app.types import Array, Arrays, JsonValue
from models.repository.repository import ModelRepository
from models.serving.cache import inline_services
from tests.integration.mosquitto import free_port

TIMEOUT_SECONDS = 60.0
DOORS = ("http", "grpc")


@dataclass(frozen=True)
class Doors:
    """One connected client of each door."""

    http: tritonclient.http.InferenceServerClient
    grpc: tritonclient.grpc.InferenceServerClient

    def infer(self, door: str, model: str, inputs: Arrays) -> dict[str, Array]:
        """Every output by name, in the model's order; tensors are binary in both directions."""
        library = tritonclient.http if door == "http" else tritonclient.grpc
        sent = [_tensor(library, name, array) for name, array in inputs.items()]
        if door == "http":
            answer = self.http.infer(model, sent)
            names = [output["name"] for output in answer.get_response()["outputs"]]
        else:
            answer = self.grpc.infer(model, sent)
            names = [output.name for output in answer.get_response().outputs]
        return {name: answer.as_numpy(name) for name in names}


@contextmanager
def open_doors(repository: Path) -> Iterator[Doors]:
    """Serve every model of `repository`; of those that are marked on demand one at a time."""
    server = _Server(repository)
    # Unloading a model collects garbage, which is slow with as much in memory as tests have.
    gc.collect()
    gc.freeze()
    server.start()
    try:
        with (
            tritonclient.http.InferenceServerClient(server.http) as http,
            tritonclient.grpc.InferenceServerClient(server.grpc) as grpc,
        ):
            yield Doors(http, grpc)
    finally:
        server.stop()
        gc.unfreeze()


class _Server:
    """The doors on an event loop of their own thread."""

    def __init__(self, repository: Path) -> None:
        self.http = f"127.0.0.1:{free_port()}"
        self.grpc = ""
        self._repository = repository
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._end = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="doors")

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(TIMEOUT_SECONDS), "the server did not start"
        assert self.grpc, "the server failed to start"

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(TIMEOUT_SECONDS)
        assert not self._thread.is_alive(), "the server did not end"

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()
            self._ready.set()

    async def _serve(self) -> None:
        repository = ModelRepository([self._repository])
        services = inline_services(repository, repository.names(), cache_size=1)
        dataplane = DataPlane(services)
        host = PipelineHost({}, (), Resources(_nothing, _nothing, SystemClock()))
        app = build_gateway_app(dataplane, host, _no_statuses, TIMEOUT_SECONDS)
        direct = DirectServer(app, DirectConfig(port=int(self.http.rpartition(":")[2])))
        grpc = GrpcServer(GrpcConfig(port=0), dataplane, TIMEOUT_SECONDS)
        for service in services.values():
            await service.load()
        await direct.start()
        await grpc.start()
        self.grpc = f"127.0.0.1:{grpc.port}"
        self._ready.set()
        await self._end.wait()
        await direct.stop()
        await grpc.stop(1.0)
        for service in services.values():
            await service.close()


def _nothing(name: str) -> NoReturn:
    raise ConfigurationError(f"there is no {name!r}: these doors lead to no pipelines")


async def _no_statuses() -> Sequence[Mapping[str, JsonValue]]:
    return ()


def _tensor(library: ModuleType, name: str, array: Array) -> object:
    datatype = np_to_triton_dtype(array.dtype)
    made = library.InferInput(name, list(array.shape), datatype)
    made.set_data_from_numpy(array)
    return made
