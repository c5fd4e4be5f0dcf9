"""The gRPC server beside its calls: reflection, health, TLS and its port; without Ray."""

import socket
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
import tritonclient.grpc.aio as triton
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from tritonclient.utils import InferenceServerException

from app.api.dataplane import DataPlane
from app.api.grpc.config import GrpcConfig, TlsConfig
from app.api.grpc.server import GrpcServer
from app.errors import ConfigurationError
from tests.integration.certificates import Authority
from tests.integration.grpc_served import Served, serving, still_fine

pytestmark = pytest.mark.integration


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async for running in serving(GrpcConfig(port=0)):
        yield running


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
