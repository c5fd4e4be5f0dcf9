"""What every ModelHandle must do, wherever its model runs; here, those that do without Ray."""

import asyncio
import pickle
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from app.errors import (
    DeadlineExceeded,
    InvalidInput,
    ModelNotFound,
    ModelNotReady,
    RequestError,
    ServingError,
)
from app.interfaces import ModelHandle
from app.types import Arrays, InferenceRequest
from models.repository.repository import ModelRepository
from models.serving.service import LocalModelService
from tests.fakes.models import FakeHandle
from tests.unit.models.onnx_files import identity

ROWS = np.arange(6, dtype=np.float32).reshape(2, 3)


def same(inputs: Arrays) -> Arrays:
    return {"y": inputs["x"]}


@pytest.fixture(params=["local", "fake"])
async def handle(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ModelHandle]:
    """Version 1 of a model `fake` that answers `x`, FP32 (batch, 3), as `y`."""
    if request.param == "fake":
        yield FakeHandle(same)
        return
    identity(tmp_path / "fake" / "1" / "model.onnx")
    service = LocalModelService(ModelRepository([tmp_path]), "fake")
    await service.load()
    yield service
    await service.close()


@pytest.fixture(params=["local", "fake"])
async def loading(request: pytest.FixtureRequest, tmp_path: Path) -> ModelHandle:
    if request.param == "fake":
        return FakeHandle(state="loading")
    identity(tmp_path / "fake" / "1" / "model.onnx")
    return LocalModelService(ModelRepository([tmp_path]), "fake")


def ask(inputs: Arrays | None = None, **fields: object) -> InferenceRequest:
    request = InferenceRequest("fake", {"x": ROWS} if inputs is None else inputs)
    for name, value in fields.items():
        object.__setattr__(request, name, value)
    return request


async def test_an_answer_belongs_to_its_request(handle: ModelHandle) -> None:
    answer = await handle.infer(ask(id="a7"))
    assert (answer.model, answer.version, answer.id) == ("fake", "1", "a7")
    assert answer.outputs["y"].tolist() == ROWS.tolist()
    assert (await handle.infer(ask())).id is None


async def test_only_the_requested_outputs_are_answered(handle: ModelHandle) -> None:
    assert list((await handle.infer(ask(outputs=("y",)))).outputs) == ["y"]


async def test_the_metadata_fits_the_requests(handle: ModelHandle) -> None:
    assert await handle.ready() is True
    metadata = await handle.metadata()
    assert metadata == await handle.metadata("1")
    assert [(spec.name, spec.datatype, spec.shape) for spec in metadata.inputs] == [
        ("x", "FP32", (-1, 3))
    ]


async def test_fault_025_unknown_versions(handle: ModelHandle) -> None:
    with pytest.raises(ModelNotFound):
        await handle.metadata("2")
    with pytest.raises(ModelNotFound):
        await handle.infer(ask(version="2"))
    assert (await handle.infer(ask(version="1"))).version == "1"


@pytest.mark.parametrize(
    "inputs", [{}, {"z": ROWS}, {"x": ROWS[0]}, {"x": ROWS.astype(np.int8)}, {"x": ROWS[:0]}]
)
async def test_bad_requests_are_the_callers_fault(handle: ModelHandle, inputs: Arrays) -> None:
    with pytest.raises(InvalidInput) as raised:
        await handle.infer(ask(inputs))
    assert isinstance(raised.value, RequestError)
    assert type(pickle.loads(pickle.dumps(raised.value))) is InvalidInput


async def test_unknown_outputs_are_the_callers_fault(handle: ModelHandle) -> None:
    with pytest.raises(InvalidInput, match="q"):
        await handle.infer(ask(outputs=("q",)))


async def test_a_handle_that_is_not_ready_says_so_everywhere(loading: ModelHandle) -> None:
    assert await loading.ready() is False
    for call in (loading.infer(ask()), loading.metadata(), loading.metadata("1")):
        with pytest.raises(ModelNotReady) as raised:
            await call
        assert isinstance(raised.value, ServingError)


async def test_fault_033_a_deadline_that_has_passed(handle: ModelHandle) -> None:
    past = asyncio.get_running_loop().time() - 1
    with pytest.raises(DeadlineExceeded):
        await handle.infer(ask(deadline=past))


async def test_many_callers_get_their_own_answers(handle: ModelHandle) -> None:
    async def one(tag: int) -> None:
        rows = np.full((1 + tag % 3, 3), tag, np.float32)
        answer = await handle.infer(ask({"x": rows}))
        assert answer.outputs["y"].tolist() == rows.tolist()

    await asyncio.gather(*(one(tag) for tag in range(30)))


async def test_a_cancelled_caller_leaves_the_others_alone(handle: ModelHandle) -> None:
    calls = [asyncio.ensure_future(handle.infer(ask(id=str(n)))) for n in range(5)]
    await asyncio.sleep(0)
    calls[2].cancel()
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert [getattr(answer, "id", None) for answer in answers[:2]] == ["0", "1"]
    assert [getattr(answer, "id", None) for answer in answers[3:]] == ["3", "4"]
