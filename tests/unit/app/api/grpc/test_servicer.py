import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from pathlib import Path

import grpc
import numpy as np
import pytest
from google.protobuf.message import Message

from app.api.codec.shared_memory import SharedMemory, SharedMemoryConfig
from app.api.dataplane import DataPlane
from app.api.grpc.proto import inference_pb2 as pb
from app.api.grpc.servicer import STREAM_WINDOW, GrpcServicer
from app.errors import (
    DeadlineExceeded,
    InferenceFailed,
    MantaError,
    ModelNotFound,
    ModelNotReady,
    QueueFull,
)
from app.types import (
    Arrays,
    InferenceRequest,
    InferenceResponse,
    JsonValue,
    ModelMetadata,
    ModelState,
)
from tests.fakes.grpc import Aborted, FakeContext, sent
from tests.fakes.models import FakeHandle


class FakeControl:
    """A ModelControl of one repository model, "spare", that keeps what it was told."""

    def __init__(self) -> None:
        self.loaded: dict[str, Mapping[str, JsonValue] | None] = {}

    async def index(self) -> tuple[ModelState, ...]:
        state = "READY" if "spare" in self.loaded else "UNAVAILABLE"
        return (ModelState("fake", "1", "READY"), ModelState("spare", "2", state, "why"))

    async def load(self, name: str, config: Mapping[str, JsonValue] | None = None) -> None:
        if name != "spare":
            raise ModelNotFound(f"there is no model {name!r}")
        self.loaded[name] = config

    async def unload(self, name: str) -> None:
        if self.loaded.pop(name, "absent") == "absent":
            raise ModelNotFound(f"there is no model {name!r}")


class SlowHandle(FakeHandle):
    """Answers a request once the event of its id is set, and counts those that wait."""

    def __init__(self) -> None:
        super().__init__()
        self.may_answer: dict[str, asyncio.Event] = {}
        self.cancelled: list[str] = []

    async def infer(self, request: InferenceRequest) -> InferenceResponse:
        assert request.id is not None
        event = self.may_answer.setdefault(request.id, asyncio.Event())
        try:
            await event.wait()
        except asyncio.CancelledError:
            self.cancelled.append(request.id)
            raise
        return await super().infer(request)


def request(model: str = "fake", request_id: str = "", rows: int = 1) -> pb.ModelInferRequest:
    message = pb.ModelInferRequest(model_name=model, id=request_id)
    message.inputs.add(name="x", datatype="FP32", shape=[rows, 3])
    message.raw_input_contents.append(np.ones((rows, 3), np.float32).tobytes())
    return message


def servicer(handle: FakeHandle, control: FakeControl | None = None) -> GrpcServicer:
    return GrpcServicer(DataPlane({"fake": handle}, control), timeout_s=30.0)


async def infer(
    handle: FakeHandle, message: pb.ModelInferRequest, remaining: float | None = None
) -> pb.ModelInferResponse:
    context = FakeContext(remaining)
    answer = await servicer(handle).infer(message.SerializeToString(), context)
    return pb.ModelInferResponse.FromString(answer)


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(10_000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never happens")


async def test_a_request_is_answered_raw() -> None:
    answer = await infer(FakeHandle(), request(request_id="7", rows=2))
    assert (answer.model_name, answer.model_version, answer.id) == ("fake", "1", "7")
    assert tuple(answer.outputs[0].shape) == (2, 3)
    assert np.frombuffer(answer.raw_output_contents[0], np.float32).tolist() == [2.0] * 6


@pytest.mark.parametrize(("remaining", "seconds"), [(None, 30.0), (2.0, 2.0), (100.0, 30.0)])
async def test_the_callers_deadline_is_the_requests(
    remaining: float | None, seconds: float
) -> None:
    handle = FakeHandle()
    before = time.monotonic()
    await infer(handle, request(), remaining)
    deadline = handle.requests[0].deadline
    assert deadline is not None
    assert before + seconds <= deadline <= time.monotonic() + seconds


async def test_the_best_classes_are_told_where_they_are_wanted() -> None:
    def scores(_: Arrays) -> Arrays:
        return {"y": np.array([[0.25, 0.5, 0.125]], np.float32)}

    message = request()
    message.outputs.add(name="y").parameters["classification"].int64_param = 2
    answer = await infer(FakeHandle(scores), message)
    assert answer.outputs[0].datatype == "BYTES"
    assert tuple(answer.outputs[0].shape) == (1, 2)
    assert b"0.500000:1" in answer.raw_output_contents[0]


ERRORS: list[tuple[MantaError | Exception, str, str]] = [
    (QueueFull("later"), "UNAVAILABLE", "later"),
    (DeadlineExceeded("late"), "DEADLINE_EXCEEDED", "late"),
    (InferenceFailed("model 'fake' failed"), "INTERNAL", "model 'fake' failed"),
    (RuntimeError("/secret/path"), "INTERNAL", "internal error"),
]


@pytest.mark.parametrize(("error", "code", "text"), ERRORS)
async def test_an_error_has_its_code_and_text(error: Exception, code: str, text: str) -> None:
    with pytest.raises(Aborted) as raised:
        await infer(FakeHandle(error), request())
    assert (raised.value.code.name, raised.value.details) == (code, text)


async def test_a_bad_request_is_told_what_is_wrong() -> None:
    with pytest.raises(Aborted, match="nowhere") as raised:
        await infer(FakeHandle(), request("nowhere"))
    assert raised.value.code is grpc.StatusCode.NOT_FOUND
    with pytest.raises(Aborted, match="ModelInferRequest") as raised:
        await servicer(FakeHandle()).infer(b"\xff\xff", FakeContext())
    assert raised.value.code is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_cancelled_call_cancels_what_it_waits_for() -> None:
    handle = SlowHandle()
    call = asyncio.ensure_future(infer(handle, request(request_id="a")))
    await until(lambda: "a" in handle.may_answer)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert handle.cancelled == ["a"]


async def test_a_stream_runs_its_requests_at_once_and_answers_in_their_order() -> None:
    handle = SlowHandle()
    messages = [request(request_id=name).SerializeToString() for name in "abc"]
    answers = servicer(handle).stream(sent(*messages), FakeContext())
    first = asyncio.ensure_future(anext(answers))
    await until(lambda: len(handle.may_answer) == 3)
    for name in ("c", "b"):
        handle.may_answer[name].set()
    await until(lambda: len(handle.requests) == 2)
    assert not first.done()
    handle.may_answer["a"].set()
    told = [await first, *[answer async for answer in answers]]
    order = [pb.ModelStreamInferResponse.FromString(each).infer_response.id for each in told]
    assert order == ["a", "b", "c"]
    assert [asked.id for asked in handle.requests] == ["c", "b", "a"]


async def test_a_cancelled_stream_cancels_every_request_of_it() -> None:
    """Also when its caller has sent all of them, and one is answered but not sent."""
    handle = SlowHandle()
    messages = [request(request_id=name).SerializeToString() for name in "abc"]
    answers = servicer(handle).stream(sent(*messages), FakeContext())
    first = asyncio.ensure_future(anext(answers))
    await until(lambda: len(handle.may_answer) == 3)
    handle.may_answer["b"].set()
    await until(lambda: len(handle.requests) == 1)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    await until(lambda: sorted(handle.cancelled) == ["a", "c"])


async def test_an_error_in_a_stream_is_one_answer_of_it() -> None:
    unknown, good = request("nowhere", "1"), request("fake", "3")
    messages = (unknown.SerializeToString(), b"\xff", good.SerializeToString())
    stream = servicer(FakeHandle()).stream(sent(*messages), FakeContext())
    answers = [pb.ModelStreamInferResponse.FromString(answer) async for answer in stream]
    assert [answer.infer_response.id for answer in answers] == ["1", "", "3"]
    told = [answer.error_message for answer in answers]
    assert "nowhere" in told[0]
    assert "ModelInferRequest" in told[1]
    assert told[2] == ""
    final = ["triton_final_response" in answer.infer_response.parameters for answer in answers]
    assert final == [False, False, True]


async def test_a_stream_is_not_read_faster_than_it_is_answered() -> None:
    handle = SlowHandle()
    read: list[int] = []

    async def endless() -> AsyncIterator[bytes]:
        while True:
            read.append(len(read))
            yield request(request_id=str(len(read))).SerializeToString()

    answers = servicer(handle).stream(endless(), FakeContext())
    waiting = asyncio.ensure_future(anext(answers))
    await until(lambda: len(handle.may_answer) == STREAM_WINDOW)
    for _ in range(100):
        await asyncio.sleep(0)
    assert len(read) == STREAM_WINDOW + 1  # the last one is read and waits for its turn
    handle.may_answer["1"].set()
    await waiting
    assert isinstance(answers, AsyncGenerator)
    await answers.aclose()
    await until(lambda: len(handle.cancelled) == STREAM_WINDOW - 1)


class Away(FakeHandle):
    """Ready when it is asked, and unloaded a moment later."""

    async def metadata(self, version: str | None = None) -> ModelMetadata:
        raise ModelNotReady("model 'fake' is unloaded")


@pytest.mark.parametrize(
    ("handle", "name", "version", "ready"),
    [
        (FakeHandle(), "fake", "", True),
        (FakeHandle(), "fake", "1", True),
        (FakeHandle(), "fake", "2", False),
        (FakeHandle(), "absent", "", False),
        (FakeHandle(), "absent", "1", False),
        (FakeHandle(state="unloaded"), "fake", "", False),
        (FakeHandle(state="unloaded"), "fake", "1", False),
        (Away(), "fake", "1", False),
    ],
)
async def test_what_is_not_there_is_not_ready(
    handle: FakeHandle, name: str, version: str, ready: bool
) -> None:
    asked = pb.ModelReadyRequest(name=name, version=version)
    answer = await call(servicer(handle), "ModelReady", asked)
    assert pb.ModelReadyResponse.FromString(answer).ready is ready


async def test_a_version_that_can_be_none_is_refused() -> None:
    asked = pb.ModelReadyRequest(name="fake", version="x")
    with pytest.raises(Aborted, match="version") as raised:
        await call(servicer(FakeHandle()), "ModelReady", asked)
    assert raised.value.code is grpc.StatusCode.INVALID_ARGUMENT


async def test_the_repository_is_told_and_changed() -> None:
    control = FakeControl()
    serve = servicer(FakeHandle(), control)
    load = pb.RepositoryModelLoadRequest(model_name="spare")
    load.parameters["config"].string_param = '{"max_batch_size": 4}'
    await call(serve, "RepositoryModelLoad", load)
    assert control.loaded == {"spare": {"max_batch_size": 4}}
    answer = await call(serve, "RepositoryIndex", pb.RepositoryIndexRequest(ready=True))
    index = pb.RepositoryIndexResponse.FromString(answer)
    assert [(m.name, m.version, m.state) for m in index.models] == [
        ("fake", "1", "READY"),
        ("spare", "2", "READY"),
    ]
    await call(serve, "RepositoryModelUnload", pb.RepositoryModelUnloadRequest(model_name="spare"))
    answer = await call(serve, "RepositoryIndex", pb.RepositoryIndexRequest())
    states = {m.name: m.state for m in pb.RepositoryIndexResponse.FromString(answer).models}
    assert states == {"fake": "READY", "spare": "UNAVAILABLE"}


@pytest.mark.parametrize(
    ("name", "text", "named"),
    [("config", "[]", "JSON object"), ("config", "{", "JSON"), ("file:1/model.onnx", "", "file")],
)
async def test_a_bad_override_is_refused(name: str, text: str, named: str) -> None:
    load = pb.RepositoryModelLoadRequest(model_name="spare")
    load.parameters[name].string_param = text
    with pytest.raises(Aborted, match=named) as raised:
        await call(servicer(FakeHandle(), FakeControl()), "RepositoryModelLoad", load)
    assert raised.value.code is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    "name",
    [
        "RepositoryModelLoad",
        "RepositoryModelUnload",
        "RepositoryIndex",
        "SystemSharedMemoryStatus",
        "CudaSharedMemoryStatus",
        "CudaSharedMemoryRegister",
        "CudaSharedMemoryUnregister",
    ],
)
async def test_what_is_not_served_says_so(name: str) -> None:
    with pytest.raises(Aborted) as raised:
        await call(servicer(FakeHandle()), name, pb.RepositoryIndexRequest())
    assert raised.value.code is grpc.StatusCode.UNIMPLEMENTED


async def test_beside_system_shared_memory_there_is_none_of_cuda(tmp_path: Path) -> None:
    memory = SharedMemory(SharedMemoryConfig(), tmp_path / "registry", tmp_path)
    serve = GrpcServicer(DataPlane({}, memory=memory), timeout_s=30.0)
    for name, field in (("", b""), ("r", b"\x0a\x01r")):
        asked = pb.SystemSharedMemoryStatusRequest(name=name)
        assert asked.SerializeToString() == field  # as it is in CUDA's messages
        assert await call(serve, "CudaSharedMemoryUnregister", asked) == b""
    assert await call(serve, "CudaSharedMemoryStatus", pb.SystemSharedMemoryStatusRequest()) == b""
    with pytest.raises(Aborted, match="'r'") as raised:
        await call(serve, "CudaSharedMemoryStatus", asked)
    assert raised.value.code is grpc.StatusCode.NOT_FOUND
    with pytest.raises(Aborted, match="CUDA") as raised:
        await call(serve, "CudaSharedMemoryRegister", asked)
    assert raised.value.code is grpc.StatusCode.UNIMPLEMENTED


async def test_log_settings_are_told_changed_and_checked() -> None:
    serve = servicer(FakeHandle())
    wish = pb.LogSettingsRequest()
    wish.settings["log_info"].bool_param = True
    told = pb.LogSettingsResponse.FromString(await call(serve, "LogSettings", wish)).settings
    assert told["log_info"].bool_param is True
    assert told["log_verbose_level"].WhichOneof("parameter_choice") == "uint32_param"
    wish.settings["log_file"].string_param = "/etc/passwd"
    with pytest.raises(Aborted, match="log_file") as raised:
        await call(serve, "LogSettings", wish)
    assert raised.value.code is grpc.StatusCode.INVALID_ARGUMENT


async def test_trace_settings_are_told_changed_and_cleared() -> None:
    serve, wish = servicer(FakeHandle()), pb.TraceSettingRequest()

    async def told() -> dict[str, list[str]]:
        answer = pb.TraceSettingResponse.FromString(await call(serve, "TraceSetting", wish))
        return {name: list(setting.value) for name, setting in answer.settings.items()}

    wish.settings["trace_level"].value.append("TIMESTAMPS")
    wish.settings["trace_rate"].value.append("5")
    assert {"trace_level": ["TIMESTAMPS"], "trace_rate": ["5"]}.items() <= (await told()).items()
    for name in ("trace_level", "trace_rate"):
        wish.settings[name].value[:] = []
    assert {"trace_level": ["OFF"], "trace_rate": ["1000"]}.items() <= (await told()).items()
    wish.settings["trace_file"].value[:] = ["/etc/passwd"]
    with pytest.raises(Aborted, match="trace_file"):
        await told()


async def call(serve: GrpcServicer, name: str, message: Message) -> bytes:
    """One unary call, found as the server finds it."""

    class Details:
        method = f"/inference.GRPCInferenceService/{name}"

    method = serve.handler().service(Details())
    answer: bytes = await method.unary_unary(message.SerializeToString(), FakeContext())
    return answer
