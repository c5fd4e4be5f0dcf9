"""System shared memory with Triton's own clients, over real doors and real memory."""

import os
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.grpc.aio
import tritonclient.http
import tritonclient.http.aio
from starlette.types import ASGIApp
from tritonclient.utils import InferenceServerException, shared_memory

from app.api.codec.shared_memory import OBJECTS, SharedMemory, SharedMemoryConfig
from app.api.dataplane import DataPlane
from app.api.grpc.config import GrpcConfig
from app.api.grpc.server import GrpcServer
from app.api.http.direct_server import DirectConfig, DirectServer
from app.api.http.gateway import build_gateway_app
from models.repository.repository import ModelRepository
from models.serving.service import LocalModelService
from tests.fakes.pipelines import PipelineBench
from tests.integration.mosquitto import free_port
from tests.paths import ZOO

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not OBJECTS.is_dir(), reason="this system has no /dev/shm"),
    # tritonclient's asyncio client leaves the connection of an error to the garbage collector
    pytest.mark.filterwarnings("ignore:Exception ignored in. .function Connection"),
]

IMAGES = np.random.default_rng(7).random((4, 1, 8, 8), dtype=np.float32)
SCORES = 4 * 10 * 4
KEY = f"manta_test_{os.getpid()}"


@dataclass(frozen=True)
class Client:
    """One of the two clients, and the classes that go with it."""

    calls: Any
    module: Any

    def image(self) -> Any:
        tensor = self.module.InferInput("image", list(IMAGES.shape), "FP32")
        tensor.set_data_from_numpy(IMAGES)
        return tensor

    def shared_image(self, size: int = IMAGES.nbytes, offset: int = 0) -> Any:
        tensor = self.module.InferInput("image", list(IMAGES.shape), "FP32")
        tensor.set_shared_memory("in", size, offset)
        return tensor

    def shared_scores(self, size: int = SCORES, offset: int = 0) -> Any:
        output = self.module.InferRequestedOutput("probabilities")
        output.set_shared_memory("out", size, offset)
        return output


def gateway_app(dataplane: DataPlane) -> ASGIApp:
    async def statuses() -> list[dict[str, Any]]:
        return []

    host = PipelineBench().host("pipelines: []\n")
    return build_gateway_app(dataplane, host, statuses, 5.0)


@pytest.fixture(params=["http", "grpc"])
async def client(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Client]:
    digits = LocalModelService(ModelRepository([ZOO]), "digits")
    await digits.load()
    memory = SharedMemory(SharedMemoryConfig(), tmp_path / "registry")
    dataplane = DataPlane({"digits": digits}, memory=memory)
    if request.param == "http":
        http = DirectServer(gateway_app(dataplane), DirectConfig(port=free_port()))
        await http.start()
        calls = tritonclient.http.aio.InferenceServerClient(f"127.0.0.1:{http.port}")
        yield Client(calls, tritonclient.http)
        await calls.close()
        await http.stop()
    else:
        grpc = GrpcServer(GrpcConfig(port=0), dataplane, timeout_s=5.0)
        await grpc.start()
        calls = tritonclient.grpc.aio.InferenceServerClient(f"127.0.0.1:{grpc.port}")
        yield Client(calls, tritonclient.grpc)
        await calls.close()
        await grpc.stop(1.0)
    await digits.close()


@contextmanager
def region(name: str, size: int) -> Iterator[Any]:
    handle = shared_memory.create_shared_memory_region(name, f"{KEY}_{name}", size)
    try:
        yield handle
    finally:
        with warnings.catch_warnings():  # another test took the memory away already
            warnings.simplefilter("ignore")
            shared_memory.destroy_shared_memory_region(handle)


async def test_tensors_go_both_ways_through_memory(client: Client) -> None:
    plain = (await client.calls.infer("digits", [client.image()])).as_numpy("probabilities")
    with region("in", 64 + IMAGES.nbytes) as given, region("out", SCORES) as answered:
        shared_memory.set_shared_memory_region(given, [IMAGES], offset=64)
        await client.calls.unregister_system_shared_memory()
        await client.calls.register_system_shared_memory("in", f"{KEY}_in", 64 + IMAGES.nbytes)
        await client.calls.register_system_shared_memory("out", f"/{KEY}_out", SCORES)
        result = await client.calls.infer(
            "digits",
            [client.shared_image(offset=64)],
            outputs=[client.shared_scores()],
        )
        found = shared_memory.get_contents_as_numpy(answered, np.float32, [4, 10])
        np.testing.assert_allclose(found, plain, rtol=1e-5)
        described: Any = result.get_output("probabilities")
        shape = described["shape"] if isinstance(described, dict) else list(described.shape)
        assert shape == [4, 10]
        mixed = await client.calls.infer("digits", [client.shared_image(offset=64)])
        np.testing.assert_allclose(mixed.as_numpy("probabilities"), plain, rtol=1e-5)
        del found
        await client.calls.unregister_system_shared_memory("in")
        with pytest.raises(InferenceServerException, match="there is no region 'in'"):
            await client.calls.infer("digits", [client.shared_image(offset=64)])


async def test_status_and_what_the_extension_is_called(client: Client) -> None:
    metadata = await client.calls.get_server_metadata()
    told = metadata["extensions"] if isinstance(metadata, dict) else metadata.extensions
    assert "system_shared_memory" in told
    with region("in", IMAGES.nbytes):
        await client.calls.register_system_shared_memory("in", f"{KEY}_in", 100, offset=10)
        status = await client.calls.get_system_shared_memory_status("in")
        [found] = status if isinstance(status, list) else status.regions.values()
        byte_size = found["byte_size"] if isinstance(found, dict) else found.byte_size
        assert byte_size == 100
        with pytest.raises(InferenceServerException, match="registered already"):
            await client.calls.register_system_shared_memory("in", f"{KEY}_in", 100)
    with pytest.raises(InferenceServerException, match="there is no shared memory region"):
        await client.calls.get_system_shared_memory_status("absent")


async def test_the_calls_for_cuda_that_clients_make_all_the_same(client: Client) -> None:
    await client.calls.unregister_cuda_shared_memory()
    status = await client.calls.get_cuda_shared_memory_status()
    assert not (status if isinstance(status, list) else status.regions)
    with pytest.raises(InferenceServerException, match="CUDA"):
        await client.calls.register_cuda_shared_memory("r", b"", 0, 8)


@pytest.mark.parametrize(
    ("key", "size", "offset"),
    [
        ("psm_ours", 8, 0),
        ("../manta_x", 8, 0),
        ("manta_absent", 8, 0),
        (f"{KEY}_in", 2**40, 0),
        (f"{KEY}_in", IMAGES.nbytes + 1, 0),
        (f"{KEY}_in", 8, 2**64 - 8),
    ],
)
async def test_security_s31_regions_that_are_refused(
    client: Client, key: str, size: int, offset: int
) -> None:
    with region("in", IMAGES.nbytes):
        with pytest.raises(InferenceServerException) as refused:
            await client.calls.register_system_shared_memory("bad", key, size, offset)
        for inside in ("/dev/shm", "plasma", str(os.getuid()) + " "):
            assert inside not in str(refused.value)
        await still_fine(client)


async def test_memory_that_shrinks_or_vanishes_under_the_server(client: Client) -> None:
    with region("in", IMAGES.nbytes) as given, region("out", SCORES):
        shared_memory.set_shared_memory_region(given, [IMAGES])
        await client.calls.register_system_shared_memory("in", f"{KEY}_in", IMAGES.nbytes)
        await client.calls.register_system_shared_memory("out", f"{KEY}_out", SCORES)
        for name in ("in", "out"):
            os.truncate(OBJECTS / f"{KEY}_{name}", 8)
        for tensor, outputs in (
            (client.shared_image(), None),
            (client.image(), [client.shared_scores()]),
        ):
            with pytest.raises(InferenceServerException, match="is not there any more"):
                await client.calls.infer("digits", [tensor], outputs=outputs)
        (OBJECTS / f"{KEY}_in").unlink()
        with pytest.raises(InferenceServerException):
            await client.calls.infer("digits", [client.shared_image()])
        await still_fine(client)
        (OBJECTS / f"{KEY}_in").touch()  # for the client, which removes it


async def still_fine(client: Client) -> None:
    assert await client.calls.is_server_live()
    answer = await client.calls.infer("digits", [client.image()])
    assert answer.as_numpy("probabilities").shape == (4, 10)
