"""The WebSocket: pipelines and models behind it, what is dropped, and how it is closed."""

from collections.abc import Mapping, Sequence
from struct import pack

import numpy as np
import orjson
import pytest
from starlette.types import ASGIApp

import app.api.http.websocket as stream_module
from app.api.dataplane import DataPlane
from app.api.http.gateway import build_gateway_app
from app.config.limits import Limits
from app.types import JsonValue
from tests.fakes.models import FakeHandle
from tests.fakes.nodes import ManualClock
from tests.fakes.pipelines import PipelineBench
from tests.fakes.websocket import FakeSocket
from tests.unit.app.imaging.test_header import FILES

PIPELINES = """
pipelines:
  - {id: echo, nodes: [{id: a, type: scripted}]}
  - {id: size, nodes: [{id: image, type: image.decode}, {id: a, type: scripted, params: SIZE}],
     edges: [{from: image, to: a}]}
""".replace("SIZE", "{result: seen}")
STREAM = "/api/v1/stream?pipeline="
MODEL = "/api/v1/stream?model=fake"
TENSOR: dict[str, object] = {"name": "x", "datatype": "FP32", "shape": [1, 3]}
GOOD = orjson.dumps({"id": "7", "inputs": [TENSOR | {"data": [1, 2, 3]}]}).decode()


async def statuses() -> Sequence[Mapping[str, JsonValue]]:
    return []


async def gateway(limits: Limits | None = None, state: str = "ready") -> ASGIApp:
    host = PipelineBench(clock=ManualClock()).host(PIPELINES)
    await host.open()
    dataplane = DataPlane({"fake": FakeHandle(state=state)})
    own = limits or Limits()
    return build_gateway_app(
        dataplane, host, statuses, 5.0, own, ["http://panel.local"], ["manta.local"]
    )


async def test_stream_answers_frames_and_documents() -> None:
    app = await gateway()
    async with FakeSocket(app, f"{STREAM}echo") as socket:
        socket.send('{"a": 1}')
        answer = await socket.answer()
        assert (answer["pipeline"], answer["result"], answer["dropped"]) == ("echo", [{"a": 1}], 0)
    async with FakeSocket(app, f"{STREAM}size") as socket:
        socket.send(FILES["jpeg"])
        assert (await socket.answer())["result"] == "seen"
        socket.send(b"no picture")
        assert (await socket.answer())["status"] == 400
        socket.send("{")
        assert (await socket.answer())["status"] == 400
        socket.send(FILES["jpeg"])
        assert (await socket.answer())["result"] == "seen"


@pytest.mark.parametrize("path", [MODEL, f"{MODEL}&version=1"])
async def test_a_model_takes_the_protocols_requests_as_text(path: str) -> None:
    async with FakeSocket(await gateway(), path) as socket:
        socket.send(GOOD)
        answer = await socket.answer()
        assert (answer["id"], answer["dropped"]) == ("7", 0)
        assert answer["outputs"][0]["data"] == [2, 4, 6]


@pytest.mark.parametrize("binary_out", [True, False])
async def test_a_model_takes_raw_tensors(binary_out: bool) -> None:
    raw = np.array([1, 2, 3], "<f4").tobytes()
    tensor = TENSOR | {"parameters": {"binary_data_size": 12}}
    options = {"binary_data_output": binary_out}
    json = orjson.dumps({"inputs": [tensor], "parameters": options})
    async with FakeSocket(await gateway(), MODEL) as socket:
        socket.send(pack("<I", len(json)) + json + raw)
        if not binary_out:
            assert (await socket.answer())["outputs"][0]["data"] == [2, 4, 6]
            return
        answer = await socket.binary()
        length = int.from_bytes(answer[:4], "little")
        told = orjson.loads(answer[4 : 4 + length])
        assert told["outputs"][0]["parameters"] == {"binary_data_size": 12}
        assert told["dropped"] == 0
        assert np.frombuffer(answer[4 + length :], "<f4").tolist() == [2, 4, 6]


@pytest.mark.parametrize(
    "message",
    [
        "{",
        "[]",
        '{"inputs": []}',
        orjson.dumps({"inputs": [TENSOR]}).decode(),
        pack("<I", 2) + b"{}",
        pack("<I", 2) + b"{}more",
    ],
)
async def test_an_error_is_one_answer_of_the_stream(message: str | bytes) -> None:
    async with FakeSocket(await gateway(), MODEL) as socket:
        socket.send(message)
        answer = await socket.answer()
        assert (answer["status"], answer["dropped"]) == (400, 0)
        socket.send(GOOD)
        assert (await socket.answer())["outputs"][0]["data"] == [2, 4, 6]


async def test_stream_keeps_the_newest_and_counts_the_dropped() -> None:
    async with FakeSocket(await gateway(), f"{STREAM}echo") as socket:
        for number in range(10):
            socket.send(str(number))
        answers = [await socket.answer()]
        while answers[-1]["result"] != [9]:
            answers.append(await socket.answer())
        assert len(answers) + sum(answer["dropped"] for answer in answers) == 10
        assert len(answers) < 10


@pytest.mark.parametrize(
    ("query", "message", "code"),
    [
        ("pipeline=echo", "1" * 11, 1009),
        ("pipeline=echo", "\u00e9" * 6, 1009),
        ("model=fake", b"1" * 11, 1009),
        ("model=fake", b"\xff\xd8\xff", 1003),
        ("model=fake", pack("<I", 3) + b"{}", 1003),
        ("model=fake", pack("<I", 0) + b"{}", 1003),
        ("pipeline=absent", None, 1008),
        ("model=absent", None, 1008),
        ("model=fake&version=9", None, 1008),
        ("model=fake&version=x", None, 1008),
        ("model=fake&pipeline=echo", None, 1008),
        ("", None, 1008),
    ],
)
async def test_fault_125_close_codes(query: str, message: str | bytes | None, code: int) -> None:
    app = await gateway(Limits(message_bytes=10))
    async with FakeSocket(app, f"/api/v1/stream?{query}") as socket:
        if message is not None:
            socket.send(message)
        assert await socket.close_code() == code


async def test_a_model_that_is_not_ready_asks_to_come_back() -> None:
    async with FakeSocket(await gateway(state="loading"), MODEL) as socket:
        assert await socket.close_code() == 1013


async def test_a_fault_of_our_own_is_told_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(stream_module, "_send", broken)
    async with FakeSocket(await gateway(), f"{STREAM}echo") as socket:
        socket.send("1")
        assert await socket.close_code() == 1011


async def test_fault_125_sockets_are_capped_and_come_free_again() -> None:
    app = await gateway(Limits(sockets=1))
    for _ in range(2):
        async with FakeSocket(app, f"{STREAM}echo") as first:
            async with FakeSocket(app, f"{STREAM}echo") as second:
                assert await second.close_code() == 1013
            first.send("1")
            assert (await first.answer())["result"] == [1]


@pytest.mark.parametrize(
    ("origin", "accepted"),
    [
        ("http://manta.local:8000", True),
        ("http://MANTA.local:8000", True),
        ("http://panel.local", True),
        ("http://panel.local:81", False),
        ("http://manta.local", False),
        ("https://evil.example", False),
        ("http://[", False),
        ("null", False),
        ("", False),
    ],
)
async def test_fault_125_pages_of_a_foreign_origin_are_refused(origin: str, accepted: bool) -> None:
    app = await gateway()
    async with FakeSocket(app, f"{STREAM}echo", origin=origin, host="manta.local:8000") as socket:
        assert socket.accepted is accepted


async def test_fault_125_a_slow_reader_loses_messages_and_then_the_socket(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app = await gateway()
    async with FakeSocket(app, f"{STREAM}echo") as socket:
        socket.reads.clear()
        for number in range(8):
            socket.send(str(number))
            await socket.taken()
        socket.reads.set()
        answers = [await socket.answer()]
        while answers[-1]["result"] != [7]:
            answers.append(await socket.answer())
        assert len(answers) + sum(answer["dropped"] for answer in answers) == 8
        assert len(answers) < 4
    monkeypatch.setattr(stream_module, "SLOW_READER_S", 0.0)
    async with FakeSocket(app, f"{STREAM}echo") as socket:
        socket.reads.clear()
        socket.send("8")
        assert await socket.close_code() == 1008
