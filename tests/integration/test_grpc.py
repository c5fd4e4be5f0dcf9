"""The gRPC server with the clients that people use, in this process and without Ray."""

import asyncio
import queue
import random
import socket
from collections.abc import AsyncIterator

import grpc
import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.grpc.aio as triton
from tritonclient.utils import InferenceServerException

from app.api.grpc.config import GrpcConfig
from tests.integration.grpc_served import IMAGE, Served, serving, still_fine, tensor

pytestmark = pytest.mark.integration


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async for running in serving(GrpcConfig(port=0)):
        yield running


@pytest.fixture
async def client(served: Served) -> AsyncIterator[triton.InferenceServerClient]:
    async with triton.InferenceServerClient(served.address) as connected:
        yield connected


def hanging_input() -> tritonclient.grpc.InferInput:
    return tensor(np.ones((1, 3), np.float32), "x")


async def test_every_call_of_the_protocol(client: triton.InferenceServerClient) -> None:
    assert await client.is_server_live()
    assert await client.is_server_ready()
    assert await client.is_model_ready("digits")
    assert await client.is_model_ready("digits", "1")
    assert not await client.is_model_ready("digits", "2")
    assert not await client.is_model_ready("absent")
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
            if result is None:
                answers.put(str(error))
            else:
                answer = result.get_response()
                assert answer.parameters["triton_final_response"].bool_param
                answers.put(answer.id)

        with tritonclient.grpc.InferenceServerClient(served.address) as blocking:
            blocking.infer("digits", [tensor(IMAGE)])
            blocking.start_stream(heard)
            for name in ("digits", "nowhere", "digits"):
                blocking.async_stream_infer(name, [tensor(IMAGE)], request_id=name)
            found = [answers.get(timeout=10) for _ in range(3)]
            blocking.stop_stream()
        return found

    first, second, third = await asyncio.to_thread(talk)
    assert first == third == "digits"
    assert "nowhere" in second
    assert "no model" in second


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
    assert [type(answer) for answer in answers] == [asyncio.CancelledError] * 2
    await settled(served)
    stats = served.hanging.version.stats
    assert (stats.cancelled, stats.expired, stats.succeeded) == (2, 0, 0)
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
