"""A loaded model that takes one request at a time and runs them in batches."""

import asyncio
import gc
import threading
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import DeadlineExceeded, InferenceFailed, InvalidInput, ModelNotReady, QueueFull
from app.types import Array, Arrays, InferenceRequest, InferenceResponse, ModelMetadata, TensorSpec
from models.serving.version import ModelVersion
from tests.fakes.models import METADATA, FakeModel, doubled

FIXED = replace(
    METADATA,
    inputs=(TensorSpec("x", "FP32", (1, 3)),),
    outputs=(TensorSpec("y", "FP32", (1, 3)),),
    max_batch_size=0,
)
TWO_INPUTS = replace(
    METADATA,
    inputs=(TensorSpec("x", "FP32", (-1, -1)), TensorSpec("names", "BYTES", (-1, 1))),
    outputs=(TensorSpec("y", "FP32", (-1, -1)), TensorSpec("names", "BYTES", (-1, 1))),
)


@asynccontextmanager
async def served(model: FakeModel, queue_size: int = 100) -> AsyncIterator[ModelVersion]:
    model.load()
    version = ModelVersion("1", model, queue_size=queue_size)
    try:
        yield version
    finally:
        await version.close()
        assert not model.loaded


def request(
    inputs: Array | Arrays, *outputs: str, deadline: float | None = None
) -> InferenceRequest:
    arrays = {"x": inputs} if isinstance(inputs, np.ndarray) else inputs
    return InferenceRequest("fake", arrays, id="7", outputs=outputs, deadline=deadline)


def rows(*values: float) -> Array:
    """One row of three equal numbers for each value."""
    return np.repeat(np.array(values, np.float32)[:, None], 3, axis=1)


def answered(response: InferenceResponse) -> list[float]:
    return [float(value) for value in response.outputs["y"][:, 0]]


def teach(version: ModelVersion) -> None:
    """Let it know that a run costs 10 ms whatever its size, so that it fills its batches."""
    for size in (1, 2, 4, 8) * 3:
        version._batcher.curve(None).record(size, 0.01)


async def filled(version: ModelVersion, *values: float) -> list[InferenceResponse]:
    """The answers to requests of one row each that arrive together."""
    return await asyncio.gather(*(version.infer(request(rows(value))) for value in values))


async def test_a_request_and_its_answer() -> None:
    async with served(FakeModel()) as version:
        response = await version.infer(request(rows(1, 2)))
    assert (response.model, response.version, response.id) == ("fake", "1", "7")
    assert answered(response) == [2, 4]


async def test_requests_that_arrive_together_run_together() -> None:
    model = FakeModel()
    async with served(model) as version:
        teach(version)
        responses = await filled(version, 1, 2, 3, 4)
        assert [answered(response) for response in responses] == [[2], [4], [6], [8]]
        assert [batch["x"][:, 0].tolist() for batch in model.batches] == [[1, 2, 3, 4]]
        assert version.stats.succeeded == 4
        statistics = version.statistics()
    assert (statistics.inferences, statistics.executions) == (4, 1)
    assert statistics.compute.count == statistics.success.count == 4
    assert statistics.compute.nanoseconds <= statistics.success.nanoseconds


async def test_models_with_a_fixed_batch_are_never_stacked() -> None:
    model = FakeModel(metadata=FIXED)
    async with served(model) as version:
        responses = await filled(version, 1, 2, 3)
        assert [answered(response) for response in responses] == [[2], [4], [6]]
    assert [batch["x"].shape for batch in model.batches] == [(1, 3)] * 3


async def test_a_batch_is_never_larger_than_the_model_takes() -> None:
    model = FakeModel()
    async with served(model) as version:
        teach(version)
        await asyncio.gather(*(version.infer(request(rows(1, 2, 3))) for _ in range(5)))
    assert [len(batch["x"]) for batch in model.batches] == [6, 6, 3]


def echo(inputs: Arrays) -> Arrays:
    return {"y": inputs["x"], "names": inputs["names"]}


requests = st.lists(
    st.tuples(st.integers(1, 8), st.integers(1, 2), st.integers(0, 2)), min_size=1, max_size=12
)


@given(requests)
def test_every_caller_gets_its_own_rows(shapes: list[tuple[int, int, int]]) -> None:
    async def one(version: ModelVersion, tag: int, count: int, width: int, pause: int) -> None:
        await asyncio.sleep(pause / 1000)
        x = np.full((count, width), tag, np.float32) + np.arange(count, dtype=np.float32)[:, None]
        names = np.array([[f"{tag}-{n}".encode()] for n in range(count)], dtype=np.object_)
        response = await version.infer(request({"x": x, "names": names}))
        assert response.outputs["y"].tolist() == x.tolist()
        assert response.outputs["names"].tolist() == names.tolist()

    async def main() -> None:
        async with served(FakeModel(echo, metadata=TWO_INPUTS)) as version:
            await asyncio.gather(
                *(one(version, tag * 100, *shape) for tag, shape in enumerate(shapes))
            )

    asyncio.run(main())


@pytest.mark.parametrize(
    ("inputs", "reason"),
    [
        ({}, "input 'x' is missing"),
        ({"z": rows(1)}, "input 'x' is missing"),
        ({"x": rows(1), "z": rows(1)}, "input 'z' is not known; the model takes: x"),
        ({"x": rows(1)[0]}, r"input 'x' has shape \[3\]; expected \[-1, 3\]"),
        ({"x": rows(1).astype(np.int32)}, "input 'x' has datatype INT32; expected FP32"),
        ({"x": rows()}, "the batch has 0 rows; this model takes 1 to 8"),
        ({"x": rows(*range(9))}, "the batch has 9 rows; this model takes 1 to 8"),
    ],
)
async def test_fault_007_to_023_requests_that_do_not_fit_reach_no_model(
    inputs: Arrays, reason: str
) -> None:
    model = FakeModel()
    async with served(model) as version:
        with pytest.raises(InvalidInput, match=reason):
            await version.infer(request(inputs))
    assert model.batches == []


async def test_inputs_of_different_lengths_are_refused() -> None:
    names = np.array([[b"a"]], dtype=np.object_)
    async with served(FakeModel(echo, metadata=TWO_INPUTS)) as version:
        with pytest.raises(InvalidInput, match="input 'names' has 1 rows but 'x' has 2"):
            await version.infer(request({"x": rows(1, 2), "names": names}))


async def test_fault_010_only_the_requested_outputs_are_answered_in_that_order() -> None:
    names = np.array([[b"a"]], dtype=np.object_)
    async with served(FakeModel(echo, metadata=TWO_INPUTS)) as version:
        inputs = {"x": rows(1), "names": names}
        response = await version.infer(request(inputs, "names", "y"))
        assert list(response.outputs) == ["names", "y"]
        assert list((await version.infer(request(inputs, "y"))).outputs) == ["y"]
        with pytest.raises(
            InvalidInput, match="output 'q' is not known; the model gives: y, names"
        ):
            await version.infer(request(inputs, "q"))
        with pytest.raises(InvalidInput, match="the same output is requested twice"):
            await version.infer(request(inputs, "y", "y"))


def poisoned(inputs: Arrays) -> Arrays:
    if 13 in inputs["x"]:
        raise ValueError("bad luck")
    return doubled(inputs)


async def test_fault_034_one_bad_request_of_a_batch_fails_alone() -> None:
    model = FakeModel(poisoned)
    async with served(model) as version:
        teach(version)
        answers = await asyncio.gather(
            *(version.infer(request(rows(value))) for value in range(10, 18)),
            return_exceptions=True,
        )
    assert len(model.batches[0]["x"]) == 8
    assert isinstance(answers.pop(3), ValueError)
    assert [answered(each) for each in answers if isinstance(each, InferenceResponse)] == [
        [2.0 * value] for value in (10, 11, 12, 14, 15, 16, 17)
    ]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda _: {}, "model 'fake' gave no output 'y'"),
        (lambda _: {"y": rows(1)}, r"output 'y' of model 'fake' has shape \[1, 3\] for a batch"),
        (lambda _: {"y": np.array(1, np.float32)}, r"has shape \[\] for a batch of 2"),
        (lambda i: {"y": i["x"].astype(np.float64)}, "'fake' is float64, not FP32"),
    ],
)
async def test_fault_031_an_answer_that_does_not_fit_fails(
    answer: Callable[[Arrays], Arrays], reason: str
) -> None:
    async with served(FakeModel(answer)) as version:
        with pytest.raises(InferenceFailed, match=reason):
            await version.infer(request(rows(1, 2)))


@pytest.mark.parametrize(
    ("claimed", "shape", "found"),
    [((1, 5), (1, 3), (1, -1)), ((2, 3), (1, 3), (-1, 3)), ((3,), (1, 3), ())],
)
async def test_fault_153_what_came_out_is_answered_and_the_metadata_corrected_once(
    claimed: tuple[int, ...],
    shape: tuple[int, ...],
    found: tuple[int, ...],
    caplog: pytest.LogCaptureFixture,
) -> None:
    metadata = replace(FIXED, outputs=(TensorSpec("y", "FP32", claimed),))
    async with served(FakeModel(metadata=metadata)) as version:
        for _ in range(3):
            assert (await version.infer(request(rows(1)))).outputs["y"].shape == shape
        assert version.metadata.outputs == (TensorSpec("y", "FP32", found),)
    assert caplog.text.count("its metadata says") == 1


async def test_fault_153_a_stacked_answer_is_split_by_its_rows_whatever_else_is_wrong() -> None:
    metadata = replace(METADATA, outputs=(TensorSpec("y", "FP32", (-1, 7, 7)),))
    async with served(FakeModel(metadata=metadata)) as version:
        teach(version)
        responses = await filled(version, 1, 2, 3)
        assert [answered(response) for response in responses] == [[2], [4], [6]]
        assert version.metadata.outputs[0].shape == ()


async def test_fault_058_a_failed_run_holds_nothing_that_the_model_had() -> None:
    held: list[weakref.ref[Memory]] = []

    def exhausted(inputs: Arrays) -> Arrays:
        much = Memory(inputs)
        held.append(weakref.ref(much))
        raise MemoryError

    async with served(FakeModel(exhausted)) as version:
        gc.disable()
        try:
            with pytest.raises(MemoryError) as raised:
                await version.infer(request(rows(1)))
            assert held[0]() is None
        finally:
            gc.enable()
    assert raised.traceback[-1].name == "exhausted", "where it was stays known"


class Memory(dict[str, Array]):
    """What a weak reference may point at."""


async def test_fault_030_the_first_request_that_worked_is_the_probe() -> None:
    is_gone = False

    def answer(inputs: Arrays) -> Arrays:
        if is_gone or inputs["x"][0, 0] < 0:
            raise OSError("it cannot be run")
        return doubled(inputs)

    async def fails(version: ModelVersion, value: float, times: int) -> None:
        for _ in range(times):
            with pytest.raises(OSError, match="it cannot be run"):
                await version.infer(request(rows(value)))

    async with served(FakeModel(answer)) as version:
        await fails(version, -1, times=4)
        assert version.fault == ""
        first = rows(1, 2)
        await version.infer(request(first))
        first[:] = -1
        await fails(version, -1, times=4)
        assert version.fault == "", "the probe is a copy, and still works"
        is_gone = True
        await fails(version, 1, times=2)
        assert version.fault == "every run fails, the probe too: OSError"


async def test_short_runs_stay_on_the_event_loop() -> None:
    model = FakeModel()
    async with served(model) as version:
        version._batcher.curve(None).record(1, 1e-6)
        version._processor_seconds.of(None).record(1, 1e-6)
        await version.infer(request(rows(1)))
    assert model.threads == [threading.current_thread().name]


async def test_fault_032_a_model_that_may_hang_leaves_the_event_loop_however_short_its_runs() -> (
    None
):
    model = FakeModel(steady=False)
    async with served(model) as version:
        version._batcher.curve(None).record(1, 1e-6)
        version._processor_seconds.of(None).record(1, 1e-6)
        await version.infer(request(rows(1)))
    assert model.threads != [threading.current_thread().name]


async def test_a_run_that_waits_leaves_the_event_loop_though_it_needs_no_processor() -> None:
    model = FakeModel()
    async with served(model) as version:
        version._batcher.curve(None).record(1, 0.05)
        version._processor_seconds.of(None).record(1, 1e-6)
        await version.infer(request(rows(1)))
    assert model.threads != [threading.current_thread().name]


async def test_long_runs_and_unknown_ones_leave_the_event_loop_free() -> None:
    gate = threading.Event()
    model = FakeModel(gate=gate)
    async with served(model) as version:
        running = asyncio.ensure_future(version.infer(request(rows(1))))
        await asyncio.to_thread(model.started.wait, 5.0)
        assert not running.done()
        gate.set()
        await running
        teach(version)
        await version.infer(request(rows(1)))
    assert len(model.threads) == 2
    assert all(name.startswith("model-fake") for name in model.threads)


async def test_all_instances_run_at_once_and_the_spare_ones_too() -> None:
    together = threading.Barrier(3)

    def answer(inputs: Arrays) -> Arrays:
        together.wait(5.0)
        return doubled(inputs)

    async with served(FakeModel(answer, metadata=FIXED, instances=2, spare_instances=1)) as version:
        answers = await asyncio.gather(*(version.infer(request(rows(i))) for i in range(3)))
    assert [answered(answer) for answer in answers] == [[0], [2], [4]]


async def test_fault_032_a_model_that_hangs_is_not_waited_for() -> None:
    gate = threading.Event()
    async with served(FakeModel(gate=gate)) as version:
        soon = asyncio.get_running_loop().time() + 0.02
        with pytest.raises(DeadlineExceeded, match="the deadline passed"):
            await version.infer(request(rows(1), deadline=soon))
        gate.set()
        assert answered(await version.infer(request(rows(2)))) == [4]


async def test_fault_033_a_deadline_that_has_passed_reaches_no_model() -> None:
    model = FakeModel()
    async with served(model) as version:
        past = asyncio.get_running_loop().time() - 1
        with pytest.raises(DeadlineExceeded):
            await version.infer(request(rows(1), deadline=past))
    assert model.batches == []


async def test_fault_035_a_full_queue_sheds() -> None:
    gate = threading.Event()
    model = FakeModel(gate=gate)
    async with served(model, queue_size=2) as version:
        first = asyncio.ensure_future(version.infer(request(rows(0))))
        await asyncio.to_thread(model.started.wait, 5.0)
        waiting = [asyncio.ensure_future(version.infer(request(rows(n)))) for n in (1, 2)]
        await asyncio.sleep(0)
        assert version.waiting == 2
        with pytest.raises(QueueFull):
            await version.infer(request(rows(3)))
        assert version.stats.shed == 1
        gate.set()
        assert [answered(r) for r in await asyncio.gather(first, *waiting)] == [[0], [2], [4]]


async def test_closing_finishes_what_runs_and_fails_what_waits() -> None:
    gate = threading.Event()
    model = FakeModel(gate=gate)
    model.load()
    version = ModelVersion("1", model, queue_size=9)
    running = asyncio.ensure_future(version.infer(request(rows(1))))
    await asyncio.to_thread(model.started.wait, 5.0)
    waiting = asyncio.ensure_future(version.infer(request(rows(2))))
    await asyncio.sleep(0)
    closing = asyncio.ensure_future(version.close())
    with pytest.raises(ModelNotReady):
        await waiting
    assert model.loaded
    gate.set()
    assert answered(await running) == [2]
    await closing
    assert not model.loaded


def test_shapes_that_differ_never_share_a_batch() -> None:
    model = FakeModel(echo, metadata=TWO_INPUTS)

    async def main() -> None:
        async with served(model) as version:
            names = np.array([[b"a"]], dtype=np.object_)
            await asyncio.gather(
                *(
                    version.infer(request({"x": np.ones((1, width), np.float32), "names": names}))
                    for width in (1, 2, 1, 2, 3, 1)
                )
            )

    asyncio.run(main())
    assert sorted({batch["x"].shape[1] for batch in model.batches}) == [1, 2, 3]


def test_metadata_is_the_models_own() -> None:
    async def main() -> ModelMetadata:
        async with served(FakeModel()) as version:
            return version.metadata

    assert asyncio.run(main()) is METADATA
