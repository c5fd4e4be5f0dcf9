"""Models that misbehave, over both doors: only who asked is told, and the server is well."""

import json
import math
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack

import grpc
import httpx
import numpy as np
import onnxruntime
import pytest

from app.api.grpc.proto import inference_pb2 as pb
from tests.faults.acts import INFER, Ask, grpc_message, http_request, over_grpc, over_http
from tests.faults.models import ACTING_QUEUE, HANGING_SECONDS
from tests.faults.server import InferencePlane
from tests.faults.wire import Answer, Connection, request

pytestmark = pytest.mark.integration

both_doors = pytest.mark.parametrize("ask", [over_http, over_grpc])


def counts(plane: InferencePlane, model: str) -> dict[str, int]:
    """What was counted of a model, and how many requests wait for it."""
    processes = httpx.get(f"{plane.base_url}/v1/status").json()["processes"]
    found: dict[str, int] = processes[0]["models"][model]
    return found


def runs(plane: InferencePlane, model: str) -> int:
    return counts(plane, model)["runs"] + counts(plane, model)["failed"]


def is_ready(plane: InferencePlane, model: str) -> bool:
    return httpx.get(f"{plane.base_url}/v2/models/{model}/ready").status_code == 200


def until(true: Callable[[], bool], seconds: float = 5.0) -> None:
    give_up = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < give_up, "it did not come to pass"
        time.sleep(0.01)


def at_once(ask: Ask, plane: InferencePlane, model: str, acts: list[str]) -> list[int]:
    with ThreadPoolExecutor(len(acts)) as threads:
        answers: list[Future[object]] = [threads.submit(ask, plane, model, act) for act in acts]
    return [answer.result().status for answer in answers]  # type: ignore[attr-defined]  # a Told


@both_doors
@pytest.mark.parametrize(
    ("act", "text"),
    [("raise", "model 'acting' failed to run this request"), ("misuse", "internal error")],
)
def test_fault_029_what_a_model_raises(
    plane: InferencePlane, ask: Ask, act: str, text: str
) -> None:
    for _ in range(4):
        told = ask(plane, "acting", act)
        assert told.status == 500
        assert told.text == text
        assert ask(plane, "acting", "work").value == 1
    assert is_ready(plane, "acting")
    plane.well()


@both_doors
@pytest.mark.parametrize("act", ["none", "dtype"])
def test_fault_031_an_answer_that_does_not_fit(plane: InferencePlane, ask: Ask, act: str) -> None:
    assert ask(plane, "acting", act).status == 500
    plane.well()


@both_doors
@pytest.mark.parametrize("model", ["claims", "acting"])
def test_fault_153_an_output_that_is_not_of_the_shape_in_the_file(
    plane: InferencePlane, ask: Ask, model: str
) -> None:
    if model == "acting":
        for act in ("shape", "rank", "shape"):
            assert (ask(plane, model, act).status, ask(plane, model, act).value) == (200, 0)
    else:
        x = np.arange(6, dtype=np.float32).reshape(2, 3)
        file = plane.log_file.parent / "models" / "claims" / "1" / "model.onnx"
        [wanted] = onnxruntime.InferenceSession(file).run(["y"], {"x": x})
        document = {"inputs": [{"name": "x", "shape": [2, 3], "datatype": "FP32"}]}
        document["inputs"][0]["data"] = x.ravel().tolist()
        body = json.dumps(document).encode()
        answer = plane.http(request("POST", "/v2/models/claims/infer", body))
        [output] = json.loads(answer.body)["outputs"]
        assert output["shape"] == list(wanted.shape) == [2, 3]
        assert output["data"] == wanted.ravel().tolist()
        told = httpx.get(f"{plane.base_url}/v2/models/claims").json()
        assert told["outputs"] == [{"name": "y", "datatype": "FP32", "shape": [-1, -1]}]
        with plane.channel() as channel:
            call = channel.unary_unary("/inference.GRPCInferenceService/ModelMetadata")
            message = pb.ModelMetadataRequest(name="claims").SerializeToString()
            over_rpc = pb.ModelMetadataResponse.FromString(call(message))
        assert list(over_rpc.outputs[0].shape) == [-1, -1]
        assert plane.log().count("model 'claims' says that its output 'y' has shape [-1, 5]") == 1
    assert is_ready(plane, model)
    plane.well()


@both_doors
@pytest.mark.parametrize(("act", "value"), [("nan", math.nan), ("inf", -math.inf)])
def test_fault_031_what_is_no_number(
    plane: InferencePlane, ask: Ask, act: str, value: float
) -> None:
    told = ask(plane, "acting", act)
    assert told.status == 200
    assert str(told.value) == str(value)
    plane.well()


@pytest.mark.parametrize("act", ["nan", "inf"])
def test_fault_031_what_is_no_number_is_null_in_json(plane: InferencePlane, act: str) -> None:
    document = {"inputs": [{"name": "act", "shape": [1], "datatype": "BYTES", "data": [act]}]}
    answer = plane.http(request("POST", "/v2/models/acting/infer", json.dumps(document).encode()))
    assert json.loads(answer.body)["outputs"][0]["data"] == [None]
    plane.well()


@both_doors
def test_fault_032_a_model_that_hangs(plane: InferencePlane, ask: Ask) -> None:
    """Answered at its deadline; past the hard limit the model is not ready, as long as it hangs."""
    started = time.monotonic()
    told = ask(plane, "hanging", f"sleep {HANGING_SECONDS + 1.5}", 300_000)
    assert told.status == 504
    assert 0.2 < time.monotonic() - started < 0.8
    plane.well()
    assert is_ready(plane, "hanging")
    until(lambda: not is_ready(plane, "hanging"))
    assert time.monotonic() - started >= HANGING_SECONDS
    told = ask(plane, "hanging", "work")
    assert told.status == 503
    assert "out of order" in told.text
    plane.well()
    until(lambda: is_ready(plane, "hanging"))
    assert ask(plane, "hanging", "work").value == 1
    plane.well()


@both_doors
def test_fault_033_a_deadline_that_is_past(plane: InferencePlane, ask: Ask) -> None:
    before = runs(plane, "acting")
    started = time.monotonic()
    assert ask(plane, "acting", "sleep 1", 1).status == 504
    assert time.monotonic() - started < 0.5
    assert runs(plane, "acting") == before
    plane.well()


@both_doors
def test_fault_035_a_full_queue(plane: InferencePlane, ask: Ask) -> None:
    """One runs, a queue full of them waits, and the others are told to come again."""
    before = counts(plane, "narrow")["shed"]
    answers = at_once(ask, plane, "narrow", ["sleep 0.5"] * (ACTING_QUEUE + 4))
    assert answers.count(200) == ACTING_QUEUE + 1
    assert answers.count(503) == 3
    assert counts(plane, "narrow")["shed"] == before + 3
    plane.well()


def test_fault_036_a_client_that_leaves_the_queue(plane: InferencePlane) -> None:
    before = counts(plane, "narrow")
    with Connection(plane.port) as runner, Connection(plane.port) as waiter:
        runner.socket.sendall(http_request("narrow", "sleep 0.6"))
        time.sleep(0.1)
        waiter.socket.sendall(http_request("narrow", "sleep 0.6"))
        until(lambda: counts(plane, "narrow")["waiting"] == 1)
        waiter.close()
        until(lambda: counts(plane, "narrow")["waiting"] == 0, 0.4)
        assert runner.read().status == 200
    after = counts(plane, "narrow")
    assert after["cancelled"] == before["cancelled"] + 1
    assert after["runs"] == before["runs"] + 1
    plane.well()


def test_fault_036_037_a_call_that_is_cancelled(plane: InferencePlane) -> None:
    """Both the one that runs and the one that waits; what waited is not run."""
    before = counts(plane, "narrow")
    message = grpc_message("narrow", "sleep 0.6")
    with plane.channel() as channel:
        runs_now = channel.unary_unary(INFER).future(message)
        time.sleep(0.1)
        waits = channel.unary_unary(INFER).future(message)
        until(lambda: counts(plane, "narrow")["waiting"] == 1)
        for call in (runs_now, waits):
            call.cancel()
            assert call.code() is grpc.StatusCode.CANCELLED
    until(lambda: counts(plane, "narrow")["waiting"] == 0, 0.4)
    until(lambda: counts(plane, "narrow")["cancelled"] == before["cancelled"] + 2)
    assert over_grpc(plane, "narrow", "work").value == 1
    assert counts(plane, "narrow")["runs"] == before["runs"] + 2
    plane.well()


def test_fault_034_one_poison_item_in_a_batch_of_8(plane: InferencePlane) -> None:
    """Seven right answers and one failure, however the batcher put them together."""
    values = [0, 1, 2, 9, 4, 5, 6, 7]
    wanted = [(500, None) if value == 9 else (200, 10 * value) for value in values]
    rounds = 0
    with ExitStack() as stack:
        connections = [stack.enter_context(Connection(plane.port)) for _ in values]
        while rounds < 25 or (largest_batch(plane, "lookup") == 1 and rounds < 500):
            for connection, value in zip(connections, values, strict=True):
                connection.socket.sendall(lookup_request(value))
            assert [looked_up(connection.read()) for connection in connections] == wanted
            rounds += 1
    assert largest_batch(plane, "lookup") > 1
    plane.well()


def lookup_request(value: int) -> bytes:
    tensor = {"name": "x", "shape": [1, 1], "datatype": "INT64", "data": [value]}
    return request("POST", "/v2/models/lookup/infer", json.dumps({"inputs": [tensor]}).encode())


def looked_up(answer: Answer) -> tuple[int, int | None]:
    told = json.loads(answer.body)
    return answer.status, told["outputs"][0]["data"][0] if answer.status == 200 else None


def largest_batch(plane: InferencePlane, model: str) -> int:
    [told] = httpx.get(f"{plane.base_url}/v2/models/{model}/stats").json()["model_stats"]
    return max(int(batch["batch_size"]) for batch in told["batch_stats"])
