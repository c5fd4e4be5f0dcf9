"""What stands beside plain inference, over the whole product: streams, shared memory, traces and
pictures, through HAProxy on the first door and straight to the gateway on the second."""

import asyncio
import base64
import json
import os
import re
import signal
import warnings
from collections.abc import Iterator
from struct import pack
from typing import Any

import httpx
import numpy as np
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.integration.product import Product, project_files
from tests.paths import ROOT

triton = pytest.importorskip("tritonclient.http", reason="tritonclient[http] is not installed")
shared_memory = pytest.importorskip("tritonclient.utils.shared_memory")

pytestmark = pytest.mark.integration

SIGN = (ROOT / "config" / "samples" / "sign.jpg").read_bytes()
IMAGE = np.random.default_rng(3).random((1, 1, 8, 8), dtype=np.float32)
PAGE = np.random.default_rng(3).random((1, 3, 320, 320), dtype=np.float32)
READING = {"co2_ppm": 1750, "temperature": 24.0, "humidity": 55, "pressure": 1012, "voc": 300}
KEY = f"manta_test_{os.getpid()}"


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    folder = tmp_path_factory.mktemp("product")
    serve, pipelines = project_files(haproxy=True)
    memory = {"prefix": "manta_", "registry": str(folder / "regions")}
    for application in serve["applications"]:
        if application["name"] in ("gateway", "text-detect"):
            application["args"]["shared_memory"] = memory
    pipelines["gateway"] = {"limits": {"sockets": 3}}
    running = Product(folder, serve, pipelines)
    try:
        running.start()
        yield running
    finally:
        running.stop(signal.SIGTERM)


@pytest.fixture(params=["url", "direct_url"])
def door(product: Product, request: pytest.FixtureRequest) -> str:
    url: str = getattr(product, request.param)
    return url


def stream_url(door: str, query: str) -> str:
    return f"{door.replace('http', 'ws', 1)}/api/v1/stream?{query}"


def request_of(image: Any, name: str, raw: bool = False) -> str | bytes:
    tensor: dict[str, Any] = {"name": name, "datatype": "FP32", "shape": list(image.shape)}
    if not raw:
        return json.dumps({"id": "s1", "inputs": [tensor | {"data": image.ravel().tolist()}]})
    tensor["parameters"] = {"binary_data_size": image.nbytes}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    return pack("<I", len(head)) + head + bytes(image.tobytes())


async def close_code(door: str, query: str, *messages: str | bytes, **options: Any) -> int | None:
    try:
        async with connect(stream_url(door, query), max_size=None, **options) as socket:
            for message in messages:
                await socket.send(message)
            await asyncio.wait_for(socket.recv(), 20)
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd else None
    return 0


async def test_pictures_and_readings_stream_to_pipelines(door: str) -> None:
    async with connect(stream_url(door, "pipeline=read-text")) as socket:
        await socket.send(SIGN)
        answer = json.loads(await asyncio.wait_for(socket.recv(), 20))
        assert answer["pipeline"] == "read-text"
        assert any(line["text"] for line in answer["result"])
    async with connect(stream_url(door, "pipeline=env-quality")) as socket:
        await socket.send("{")
        assert json.loads(await asyncio.wait_for(socket.recv(), 20))["status"] == 400
        await socket.send(json.dumps(READING))
        best = json.loads(await asyncio.wait_for(socket.recv(), 20))["result"][0]
        assert best["label"] == "stuffy"


async def test_tensors_stream_to_models(door: str) -> None:
    async with connect(stream_url(door, "model=digits&version=1")) as socket:
        await socket.send(request_of(IMAGE, "image"))
        answer = json.loads(await asyncio.wait_for(socket.recv(), 20))
        assert (answer["id"], answer["outputs"][0]["shape"]) == ("s1", [1, 10])
        await socket.send('{"inputs": []}')
        assert json.loads(await asyncio.wait_for(socket.recv(), 20))["status"] == 400
        await socket.send(request_of(IMAGE, "image", raw=True))
        raw = await asyncio.wait_for(socket.recv(), 20)
        assert isinstance(raw, bytes)
        length = int.from_bytes(raw[:4], "little")
        scores = np.frombuffer(raw[4 + length :], "<f4")
        np.testing.assert_allclose(scores, answer["outputs"][0]["data"], rtol=1e-5)


async def test_a_model_in_its_own_process_streams(door: str) -> None:
    async with connect(stream_url(door, "model=text-detect"), max_size=None) as socket:
        await socket.send(request_of(PAGE, "x", raw=True))
        raw = await asyncio.wait_for(socket.recv(), 30)
        assert isinstance(raw, bytes)
        told = json.loads(raw[4 : 4 + int.from_bytes(raw[:4], "little")])
        assert told["outputs"][0]["shape"] == [1, 1, 320, 320]


async def test_the_newest_frame_wins_and_the_dropped_are_counted(door: str) -> None:
    async with connect(stream_url(door, "pipeline=read-text")) as socket:
        for _ in range(10):
            await socket.send(SIGN)
        answered = dropped = 0
        while answered + dropped < 10:
            dropped += json.loads(await asyncio.wait_for(socket.recv(), 30))["dropped"]
            answered += 1
        assert dropped > 0


async def test_fault_125_how_sockets_are_closed(door: str) -> None:
    echo = "pipeline=env-quality"
    assert await close_code(door, echo, b"x" * 10_000_000) == 1009
    assert await close_code(door, "model=digits", b"\xff\xd8\xff") == 1003
    assert await close_code(door, "pipeline=absent") == 1008
    host = door.removeprefix("http://")
    assert await close_code(door, echo, json.dumps(READING), origin=f"http://{host}") == 0
    with pytest.raises(InvalidStatus) as refused:
        await close_code(door, echo, origin="https://evil.example")
    assert refused.value.response.status_code == 403
    async with connect(stream_url(door, echo)) as socket:
        await socket.send(b"\xff\xfe", text=True)
        with pytest.raises(ConnectionClosed) as closed:
            await asyncio.wait_for(socket.recv(), 20)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1007
    sockets = [await connect(stream_url(door, echo)) for _ in range(3)]
    assert await close_code(door, echo) == 1013
    for each in sockets:
        await each.close()
    async with httpx.AsyncClient() as client:
        assert (await client.get(f"{door}/v2/health/live")).status_code == 200


async def test_fault_125_a_slow_reader_is_closed(door: str, product: Product) -> None:
    """Large answers to a client that reads nothing: its place among the sockets comes free."""
    message = request_of(PAGE, "x", raw=True)
    sockets = [
        await connect(stream_url(door, "model=text-detect"), max_size=None, max_queue=1)
        for _ in range(3)
    ]
    for socket in sockets:
        socket.transport.pause_reading()

    async def send(socket: Any) -> None:
        for _ in range(200):
            await socket.send(message)
            await asyncio.sleep(0.1)

    sending = [asyncio.ensure_future(send(socket)) for socket in sockets[:1]]
    freed = False
    for _ in range(60):
        await asyncio.sleep(1)
        code = await close_code(door, "pipeline=env-quality", json.dumps(READING))
        if code == 0:
            freed = True
            break
    for each in sending:
        each.cancel()
    await asyncio.gather(*sending, return_exceptions=True)
    for socket in sockets:
        socket.transport.abort()
    assert freed


@pytest.mark.parametrize(("model", "tensor", "image"), [("digits", "image", IMAGE)])
def test_tensors_in_shared_memory(product: Product, model: str, tensor: str, image: Any) -> None:
    check_shared_memory(product, model, tensor, image)


def test_shared_memory_reaches_a_model_in_its_own_process(product: Product) -> None:
    metadata = httpx.get(f"{product.url}/v2/models/text-detect").json()
    check_shared_memory(product, "text-detect", metadata["inputs"][0]["name"], PAGE)


def check_shared_memory(product: Product, model: str, tensor: str, image: Any) -> None:
    with triton.InferenceServerClient(product.url.removeprefix("http://")) as client:
        plain = triton.InferInput(tensor, list(image.shape), "FP32")
        plain.set_data_from_numpy(image)
        result = client.infer(model, [plain])
        [output] = result.get_response()["outputs"]
        expected = result.as_numpy(output["name"])
        size = expected.nbytes
        given = shared_memory.create_shared_memory_region("in", f"{KEY}_in", image.nbytes)
        answered = shared_memory.create_shared_memory_region("out", f"{KEY}_out", size)
        try:
            shared_memory.set_shared_memory_region(given, [image])
            client.unregister_system_shared_memory()
            client.register_system_shared_memory("in", f"{KEY}_in", image.nbytes)
            client.register_system_shared_memory("out", f"{KEY}_out", size)
            placed = triton.InferInput(tensor, list(image.shape), "FP32")
            placed.set_shared_memory("in", image.nbytes)
            wanted = triton.InferRequestedOutput(output["name"])
            wanted.set_shared_memory("out", size)
            client.infer(model, [placed], outputs=[wanted])
            found = shared_memory.get_contents_as_numpy(answered, np.float32, expected.shape).copy()
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
            assert len(client.get_system_shared_memory_status()) == 2
            client.unregister_system_shared_memory()
        finally:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                for handle in (given, answered):
                    shared_memory.destroy_shared_memory_region(handle)


def traces(product: Product) -> list[dict[str, Any]]:
    found = re.findall(r"trace (\{.*\})", product.log.read_text())
    return [json.loads(line) for line in found]


@pytest.mark.parametrize("model", ["digits", "text-detect"])
def test_traces_of_a_model_wherever_it_lives(product: Product, model: str) -> None:
    metadata = httpx.get(f"{product.url}/v2/models/{model}").json()
    image = IMAGE if model == "digits" else PAGE
    with triton.InferenceServerClient(product.url.removeprefix("http://")) as client:
        plain = triton.InferInput(metadata["inputs"][0]["name"], list(image.shape), "FP32")
        plain.set_data_from_numpy(image)
        assert client.get_trace_settings(model)["trace_level"] == ["OFF"]
        on = {"trace_level": ["TIMESTAMPS"], "trace_rate": "1"}
        assert client.update_trace_settings(settings=on)["trace_level"] == ["TIMESTAMPS"]
        assert client.get_trace_settings(model)["trace_rate"] == "1"
        client.infer(model, [plain], request_id=f"one-{model}")
        off = client.update_trace_settings(model, {"trace_level": ["OFF"]})
        assert off["trace_level"] == ["OFF"]
        client.infer(model, [plain], request_id=f"two-{model}")
        client.update_trace_settings(model, {"trace_level": None})
        client.infer(model, [plain], request_id=f"three-{model}")
        client.update_trace_settings(settings={"trace_level": None, "trace_rate": None})
        client.infer(model, [plain], request_id=f"four-{model}")
    product.wait_until(
        lambda: any(t["request_id"] == f"three-{model}" for t in traces(product)), 10
    )
    told = [t for t in traces(product) if t["model_name"] == model]
    assert [t["request_id"] for t in told] == [f"one-{model}", f"three-{model}"]
    names = [stamp["name"] for stamp in told[0]["timestamps"]]
    assert names[0] == "REQUEST_START"
    assert names[-1] == "REQUEST_END"
    assert {"QUEUE_START", "COMPUTE_START", "COMPUTE_END"} <= set(names)


def test_traces_over_grpc(product: Product) -> None:
    grpc = pytest.importorskip("tritonclient.grpc", reason="tritonclient[grpc] is not installed")
    with grpc.InferenceServerClient(product.grpc_address) as client:
        on = {"trace_level": ["TIMESTAMPS"], "trace_count": "5"}
        for model in ("digits", "text-detect"):
            told = client.update_trace_settings(model, on).settings
            assert list(told["trace_count"].value) == ["5"]
            assert list(client.get_trace_settings().settings["trace_level"].value) == ["OFF"]
            cleared = client.update_trace_settings(model, dict.fromkeys(on)).settings
            assert list(cleared["trace_level"].value) == ["OFF"]


def test_pictures_in_every_form_to_every_route(product: Product) -> None:
    jpeg = {"content-type": "image/jpeg"}
    b64 = {"b64": base64.b64encode(SIGN).decode()}
    file = {"file": ("sign.jpg", SIGN, "image/jpeg")}

    def words(lines: list[dict[str, Any]]) -> list[str]:
        return [line["text"] for line in lines]

    with httpx.Client(base_url=product.url, timeout=60) as client:
        pipeline = client.post("/v1/pipelines/read-text", content=SIGN, headers=jpeg).json()
        expected = words(pipeline["result"])
        assert expected
        for end in (":predict", "/predict"):
            path = f"/v1/models/text-detect{end}"
            for answer in (
                client.post(path, content=SIGN, headers=jpeg),
                client.post(path, files=file),
                client.post(path, json={"instances": [b64]}),
                client.post(path, json={"instances": [{"image": b64}]}),
            ):
                assert [words(lines) for lines in answer.json()["predictions"]] == [expected]
        query = "?model=text-detect"
        for answer in (
            client.post(f"/api/v1/infer{query}", content=SIGN, headers=jpeg),
            client.post(f"/api/v1/infer{query}", files=file),
            client.post("/api/v1/infer", json={"model": "text-detect", "image": b64}),
        ):
            assert words(answer.json()["result"]) == expected
        files = [("a", ("a.jpg", SIGN)), ("b", ("b.jpg", b"junk"))]
        good, bad = client.post(f"/api/v1/batch{query}", files=files).json()["results"]
        assert (words(good["result"]), bad["status"]) == (expected, 400)
        requests = [{"model": "text-detect", "image": b64}, {"model": "absent", "image": b64}]
        good, bad = client.post("/api/v1/batch", json={"requests": requests}).json()["results"]
        assert (words(good["result"]), bad["status"]) == (expected, 404)
