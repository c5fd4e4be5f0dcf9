"""The gRPC server with the clients that people use, in this process and without Ray."""

import asyncio
import queue
import random
import socket
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.grpc.aio as triton
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from tritonclient.utils import InferenceServerException

from app.api.dataplane import DataPlane
from app.api.grpc_config import GrpcConfig, TlsConfig
from app.api.grpc_server import GrpcServer
from app.errors import ConfigurationError
from app.limits import Limits
from models.repository import ModelRepository
from models.service import LocalModelService
from models.version import ModelVersion
from tests.fakes.models import FakeModel
from tests.integration.certificates import Authority
from tests.paths import ROOT

pytestmark = pytest.mark.integration

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


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async for running in serving(GrpcConfig(port=0)):
        yield running


@pytest.fixture
async def client(served: Served) -> AsyncIterator[triton.InferenceServerClient]:
    async with triton.InferenceServerClient(served.address) as connected:
        yield connected


def tensor(array: np.ndarray, name: str = "image") -> tritonclient.grpc.InferInput:
    made = tritonclient.grpc.InferInput(name, list(array.shape), "FP32")
    made.set_data_from_numpy(array)
    return made


def hanging_input() -> tritonclient.grpc.InferInput:
    return tensor(np.ones((1, 3), np.float32), "x")


async def still_fine(client: triton.InferenceServerClient) -> None:
    assert await client.is_server_live()
    answer = await client.infer("digits", [tensor(IMAGE)])
    assert answer.as_numpy("probabilities").shape == (1, 10)


async def test_every_call_of_the_protocol(client: triton.InferenceServerClient) -> None:
    assert await client.is_server_live()
    assert await client.is_server_ready()
    assert await client.is_model_ready("digits")
    assert await client.is_model_ready("digits", "1")
    server = await client.get_server_metadata()
    assert server.name == "manta"
    metadata = await client.get_model_metadata("digits")
    assert [(i.name, i.datatype, list(i.shape)) for i in metadata.inputs] == [
        ("image", "FP32", [-1, 1, 8, 8])
    ]
    config = (await client.get_model_config("digits")).config
    assert config.max_batch_size > 0
    assert list(config.input[0].dims) == [1, 8, 8]
    assert config.HasField("dynamic_batching")
    await client.infer("digits", [tensor(IMAGE)])
    statistics = await client.get_inference_statistics("digits", "1")
    assert statistics.model_stats[0].inference_count == 1
    with pytest.raises(InferenceServerException, match="UNIMPLEMENTED"):
        await client.get_system_shared_memory_status()
    with pytest.raises(InferenceServerException, match="UNIMPLEMENTED"):
        await client.load_model("digits")


async def test_inference_in_every_way_a_client_asks(
    client: triton.InferenceServerClient,
) -> None:
    batch = np.concatenate([IMAGE] * 5)
    plain = await client.infer("digits", [tensor(batch)], model_version="1", request_id="r")
    assert plain.get_response().id == "r"
    scores = plain.as_numpy("probabilities")
    assert scores.shape == (5, 10)
    wanted = tritonclient.grpc.InferRequestedOutput("probabilities", class_count=3)
    best = await client.infer("digits", [tensor(batch)], outputs=[wanted])
    first = best.as_numpy("probabilities")[0][0].decode().split(":")
    assert int(first[1]) == scores[0].argmax()
    packed = await client.infer("digits", [tensor(batch)], compression_algorithm="gzip")
    np.testing.assert_array_equal(packed.as_numpy("probabilities"), scores)


async def test_the_blocking_client_with_its_stream(served: Served) -> None:
    def talk() -> list[str]:
        answers: queue.Queue[str] = queue.Queue()

        def heard(result: tritonclient.grpc.InferResult | None, error: object) -> None:
            answers.put(str(error) if result is None else result.get_response().id)

        with tritonclient.grpc.InferenceServerClient(served.address) as blocking:
            blocking.infer("digits", [tensor(IMAGE)])
            blocking.start_stream(heard)
            for name in ("digits", "nowhere", "digits"):
                blocking.async_stream_infer(name, [tensor(IMAGE)], request_id=name)
            found = [answers.get(timeout=10) for _ in range(3)]
            blocking.stop_stream()
        return found

    found = await asyncio.to_thread(talk)
    assert found.count("digits") == 2
    assert any("nowhere" in text and "no model" in text for text in found)


async def test_a_stream_that_ends_while_requests_wait_frees_them(
    served: Served, client: triton.InferenceServerClient
) -> None:
    async def requests() -> AsyncIterator[dict[str, object]]:
        for _ in range(3):
            yield {"model_name": "hanging", "inputs": [hanging_input()]}
        await asyncio.to_thread(served.hanging.model.started.wait, 5)

    answers = client.stream_infer(requests())
    waiting = asyncio.ensure_future(anext(answers))
    await asyncio.to_thread(served.hanging.model.started.wait, 5)
    answers.cancel()
    with pytest.raises((asyncio.CancelledError, StopAsyncIteration, InferenceServerException)):
        await waiting
    await settled(served)
    await still_fine(client)


async def settled(served: Served) -> None:
    """Until no request waits for the hanging model's run to end."""
    for _ in range(500):
        version = served.hanging.version
        stats = version.stats
        if not version.waiting and stats.cancelled + stats.expired == stats.submitted:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("a request was not freed")


BAD: list[tuple[str, str, np.ndarray, str, str]] = [
    ("nowhere", "", IMAGE, "NOT_FOUND", "nowhere"),
    ("digits", "99", IMAGE, "NOT_FOUND", "99"),
    ("digits", "01", IMAGE, "INVALID_ARGUMENT", "01"),
    ("../digits", "", IMAGE, "NOT_FOUND", "digits"),
    ("digits", "", IMAGE[0], "INVALID_ARGUMENT", "shape"),
]


@pytest.mark.parametrize(("model", "version", "array", "code", "named"), BAD)
async def test_fault_024_025_026_a_bad_request_is_told_what_is_wrong(
    client: triton.InferenceServerClient,
    model: str,
    version: str,
    array: np.ndarray,
    code: str,
    named: str,
) -> None:
    with pytest.raises(InferenceServerException, match=named) as raised:
        await client.infer(model, [tensor(array)], model_version=version)
    assert raised.value.status() == f"StatusCode.{code}"
    await still_fine(client)


async def test_fault_029_what_a_model_raises_is_not_shown(
    served: Served, client: triton.InferenceServerClient
) -> None:
    def broken(_: object) -> None:
        raise RuntimeError("/secret/path")

    served.hanging.gate.set()
    served.hanging.model._answer = broken  # type: ignore[assignment]  # for this test
    with pytest.raises(InferenceServerException) as raised:
        await client.infer("hanging", [hanging_input()])
    assert raised.value.status() == "StatusCode.INTERNAL"
    assert "secret" not in str(raised.value)
    await still_fine(client)


async def test_fault_032_033_a_deadline_ends_the_call(
    served: Served, client: triton.InferenceServerClient
) -> None:
    with pytest.raises(InferenceServerException) as raised:
        await client.infer("hanging", [hanging_input()], client_timeout=0.3)
    assert raised.value.status() == "StatusCode.DEADLINE_EXCEEDED"
    with pytest.raises(InferenceServerException, match="deadline") as raised:
        await client.infer("hanging", [hanging_input()], timeout=200_000)
    assert raised.value.status() == "StatusCode.DEADLINE_EXCEEDED"
    await settled(served)
    await still_fine(client)


async def test_fault_036_037_a_cancelled_call_is_freed(
    served: Served, client: triton.InferenceServerClient
) -> None:
    runs = asyncio.ensure_future(client.infer("hanging", [hanging_input()]))
    await asyncio.to_thread(served.hanging.model.started.wait, 5)
    waits = asyncio.ensure_future(client.infer("hanging", [hanging_input()]))
    for _ in range(500):
        if served.hanging.version.waiting == 1:
            break
        await asyncio.sleep(0.01)
    assert served.hanging.version.waiting == 1
    runs.cancel()
    waits.cancel()
    answers = await asyncio.gather(runs, waits, return_exceptions=True)
    assert all(isinstance(a, asyncio.CancelledError | InferenceServerException) for a in answers)
    await settled(served)
    served.hanging.gate.set()
    await client.infer("hanging", [hanging_input()])
    assert len(served.hanging.model.batches) == 2  # what waited was never run
    await still_fine(client)


@pytest.mark.parametrize("compression", [None, "gzip", "deflate"])
async def test_fault_045_046_a_message_over_the_limit_is_refused(
    client: triton.InferenceServerClient, compression: str | None
) -> None:
    much = np.zeros((1000, 1, 8, 8), np.float32)
    with pytest.raises(InferenceServerException) as raised:
        await client.infer("digits", [tensor(much)], compression_algorithm=compression)
    assert raised.value.status() == "StatusCode.RESOURCE_EXHAUSTED"
    await still_fine(client)


async def test_fault_047_random_bytes_do_no_harm(
    served: Served, client: triton.InferenceServerClient
) -> None:
    generator = random.Random(47)

    def throw(data: bytes) -> None:
        with socket.create_connection(("127.0.0.1", served.server.port), timeout=5) as thrower:
            try:
                thrower.sendall(data)
                thrower.settimeout(0.05)
                thrower.recv(1000)
            except OSError:
                return

    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000")
    for size in (0, 1, 30, 1000, 70_000):
        await asyncio.to_thread(throw, generator.randbytes(size))
        await asyncio.to_thread(throw, preface + generator.randbytes(size))
    await asyncio.to_thread(throw, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    async with grpc.aio.insecure_channel(served.address) as channel:
        for name in ("ModelInfer", "ModelMetadata"):
            call = channel.unary_unary(f"/inference.GRPCInferenceService/{name}")
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await call(b"\xff" + generator.randbytes(100))
            assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    await still_fine(client)


async def test_reflection_and_health(served: Served) -> None:
    async with grpc.aio.insecure_channel(served.address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for name in ("", "inference.GRPCInferenceService"):
            answer = await health.Check(health_pb2.HealthCheckRequest(service=name))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await health.Check(health_pb2.HealthCheckRequest(service="nothing"))
        assert raised.value.code() is grpc.StatusCode.NOT_FOUND
        first = await health.Watch(health_pb2.HealthCheckRequest()).read()
        assert first.status == health_pb2.HealthCheckResponse.SERVING

        async def questions() -> AsyncIterator[reflection_pb2.ServerReflectionRequest]:
            yield reflection_pb2.ServerReflectionRequest(list_services="")
            for symbol in ("inference.GRPCInferenceService", "grpc.health.v1.Health"):
                yield reflection_pb2.ServerReflectionRequest(file_containing_symbol=symbol)

        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        answers = [answer async for answer in stub.ServerReflectionInfo(questions())]
        assert {s.name for s in answers[0].list_services_response.service} == {
            "inference.GRPCInferenceService",
            "grpc.health.v1.Health",
            "grpc.reflection.v1alpha.ServerReflection",
        }
        assert b"ModelInferRequest" in answers[1].file_descriptor_response.file_descriptor_proto[0]
        assert answers[2].file_descriptor_response.file_descriptor_proto


async def test_health_tells_when_a_model_is_not_ready(served: Served) -> None:
    async def never() -> bool:
        return False

    served.hanging.ready = never  # type: ignore[method-assign]  # for this test
    async with grpc.aio.insecure_channel(served.address) as channel:
        answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING


async def test_tls_and_who_is_let_in(tmp_path: Path) -> None:
    ours, others = Authority(tmp_path, "ours"), Authority(tmp_path, "others")
    server, known, stranger = ours.issue("server"), ours.issue("known"), others.issue("stranger")
    for client_ca in (None, ours.cert):
        tls = TlsConfig(cert=server.cert, key=server.key, client_ca=client_ca)
        async for served in serving(GrpcConfig(port=0, tls=tls)):
            for pair in (None, stranger, known):
                may_enter = client_ca is None or pair is known
                connected = triton.InferenceServerClient(
                    served.address,
                    ssl=True,
                    root_certificates=str(ours.cert),
                    private_key=None if pair is None else str(pair.key),
                    certificate_chain=None if pair is None else str(pair.cert),
                )
                async with connected as client:
                    if may_enter:
                        await still_fine(client)
                    else:
                        with pytest.raises(InferenceServerException, match="UNAVAILABLE"):
                            await client.is_server_live()
            async with triton.InferenceServerClient(served.address) as plain:
                with pytest.raises(InferenceServerException, match="UNAVAILABLE"):
                    await plain.is_server_live()


async def test_a_port_that_is_taken_is_a_wrong_configuration() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        server = GrpcServer(GrpcConfig(port=port), DataPlane({}), timeout_s=1.0)
        with pytest.raises(ConfigurationError, match=f"127.0.0.1:{port}"):
            await server.start()
        await server.stop()


async def test_a_wrong_file_of_tls_is_named(tmp_path: Path) -> None:
    good = Authority(tmp_path, "ours").issue("server")
    absent = TlsConfig(cert=tmp_path / "absent.pem", key=good.key)
    no_pem = tmp_path / "text.pem"
    no_pem.write_text("hello")
    for tls, named in ((absent, "absent.pem"), (TlsConfig(cert=no_pem, key=good.key), "text.pem")):
        server = GrpcServer(GrpcConfig(port=0, tls=tls), DataPlane({}), timeout_s=1.0)
        with pytest.raises(ConfigurationError, match=named):
            await server.start()
        await server.stop()
