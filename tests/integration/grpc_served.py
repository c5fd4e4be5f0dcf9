"""A gRPC server in this process, with a model that hangs."""

import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass

import numpy as np
import tritonclient.grpc
import tritonclient.grpc.aio as triton

from app.api.dataplane import DataPlane
from app.api.grpc.config import GrpcConfig
from app.api.grpc.server import GrpcServer
from app.config.limits import Limits
from models.repository.repository import ModelRepository
from models.serving.service import LocalModelService
from models.serving.version import ModelVersion
from tests.fakes.models import FakeModel
from tests.paths import ROOT

IMAGE = np.linspace(0, 1, 64, dtype=np.float32).reshape(1, 1, 8, 8)


SMALL = Limits(body_bytes=100_000)


class Hanging:
    """A ModelHandle around a model whose runs wait for `gate`."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.model = FakeModel(gate=self.gate)
        self.model.load()
        self.version = ModelVersion("1", self.model, queue_size=8)
        self.infer = self.version.infer

    async def ready(self) -> bool:
        return True


@dataclass(frozen=True)
class Served:
    server: GrpcServer
    hanging: Hanging

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server.port}"


async def serving(config: GrpcConfig) -> AsyncIterator[Served]:
    digits = LocalModelService(ModelRepository([ROOT / "models" / "zoo"]), "digits")
    await digits.load()
    hanging = Hanging()
    dataplane = DataPlane({"digits": digits, "hanging": hanging})  # type: ignore[dict-item]  # as far as it is used
    server = GrpcServer(config, dataplane, timeout_s=30.0, limits=SMALL)
    await server.start()
    try:
        yield Served(server, hanging)
    finally:
        hanging.gate.set()
        await server.stop(1.0)
        await hanging.version.close()
        await digits.close()


def tensor(array: np.ndarray, name: str = "image") -> tritonclient.grpc.InferInput:
    made = tritonclient.grpc.InferInput(name, list(array.shape), "FP32")
    made.set_data_from_numpy(array)
    return made


async def still_fine(client: triton.InferenceServerClient) -> None:
    assert await client.is_server_live()
    answer = await client.infer("digits", [tensor(IMAGE)])
    assert answer.as_numpy("probabilities").shape == (1, 10)
