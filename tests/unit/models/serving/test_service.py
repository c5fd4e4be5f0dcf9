"""A model of a repository, served from this process. The ONNX files are real."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from app.errors import InferenceFailed, ModelNotFound, ModelNotReady
from app.registry import RUNTIMES
from app.types import Arrays, InferenceRequest
from models.repository.model_yaml import ModelConfig
from models.repository.repository import ModelRepository
from models.repository.version_files import VersionFiles
from models.serving.service import LocalModelService
from tests.fakes.models import FakeModel
from tests.fakes.repository import tiny_repository
from tests.unit.models.onnx_files import positive, suppressed

PROBED = 5 + 6
"""Rows alone, one of them twice, and batches of them."""


@pytest.fixture
def repository(tmp_path: Path) -> ModelRepository:
    return tiny_repository(tmp_path)


@pytest.fixture
async def lookup(repository: ModelRepository) -> AsyncIterator[LocalModelService]:
    service = LocalModelService(repository, "lookup")
    await service.load()
    yield service
    await service.close()


def ask(value: int, version: str | None = None) -> InferenceRequest:
    return InferenceRequest("lookup", {"x": np.array([[value]], np.int64)}, version=version)


def reasons(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


async def test_a_model_is_loaded_warmed_up_and_ready(
    repository: ModelRepository, caplog: pytest.LogCaptureFixture
) -> None:
    service = LocalModelService(repository, "identity")
    assert (service.state, await service.ready()) == ("loading", False)
    with caplog.at_level(logging.INFO, "models.serving.service"):
        await service.load()
    assert (service.state, await service.ready(), service.reason) == ("ready", True, "")
    assert reasons(caplog) == ["model 'identity' version 2 is ready"]
    assert (await service.metadata()).versions == ("2",)
    await service.close()


async def test_fault_027_a_model_that_is_still_loading(repository: ModelRepository) -> None:
    service = LocalModelService(repository, "lookup")
    for call in (service.infer(ask(1)), service.metadata()):
        with pytest.raises(ModelNotReady, match="'lookup' is loading"):
            await call


async def test_fault_027_while_it_loads_and_once_it_has_loaded(
    repository: ModelRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = LocalModelService(repository, "lookup")
    begun, go_on = threading.Event(), threading.Event()
    original = ModelRepository.config

    def slow(self: ModelRepository, name: str) -> ModelConfig:
        begun.set()
        assert go_on.wait(10)
        return original(self, name)

    monkeypatch.setattr(ModelRepository, "config", slow)
    loading = asyncio.create_task(service.load())
    try:
        assert await asyncio.to_thread(begun.wait, 10)
        with pytest.raises(ModelNotReady, match="'lookup' is loading"):
            await service.infer(ask(1))
        assert not await service.ready()
    finally:
        go_on.set()
    await loading
    assert int((await service.infer(ask(1))).outputs["y"][0, 0]) == 10
    await service.close()


async def test_requests_that_arrive_together_share_runs(lookup: LocalModelService) -> None:
    answers = await asyncio.gather(*(lookup.infer(ask(value % 8)) for value in range(16)))
    assert [int(a.outputs["y"][0, 0]) for a in answers] == [v % 8 * 10 for v in range(16)]
    status = lookup.status()
    assert (status["succeeded"], status["rows"], status["waiting"]) == (16, 16, 0)
    assert isinstance(status["runs"], int)
    assert status["runs"] < 16


async def test_fault_034_one_poison_item_in_a_batch_of_8(
    lookup: LocalModelService, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(5):  # so that batches of eight are believed to be worth it
        await asyncio.gather(*(lookup.infer(ask(value)) for value in range(8)))
    answers = await asyncio.gather(
        *(lookup.infer(ask(value)) for value in (0, 1, 2, 9, 4, 5, 6, 7)), return_exceptions=True
    )
    [poison] = [answer for answer in answers if isinstance(answer, BaseException)]
    assert answers.index(poison) == 3
    assert isinstance(poison, InferenceFailed)
    assert str(poison) == "model 'lookup' failed to run this request"


async def test_fault_029_a_failing_model_is_logged_once_until_it_works_again(
    lookup: LocalModelService, caplog: pytest.LogCaptureFixture
) -> None:
    for value in (9, 9, 1, 9):
        with suppress(InferenceFailed):
            await lookup.infer(ask(value))
    assert reasons(caplog) == ["model 'lookup' failed to run a request"] * 2


@pytest.mark.parametrize("version", ["2", "0", "01", "", "../1"])
async def test_fault_025_versions_that_are_not_served(
    lookup: LocalModelService, version: str
) -> None:
    for call in (lookup.infer(ask(1, version)), lookup.metadata(version)):
        with pytest.raises(ModelNotFound, match=r"has no version .*; served is '1'"):
            await call
    assert (await lookup.infer(ask(1, "1"))).version == "1"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("damaged", "model.onnx: is not an ONNX file"),
        ("never-runs", "warm_up: the warm-up run failed"),
        ("absent", "there is no model 'absent'"),
    ],
)
async def test_fault_028_a_model_that_cannot_be_loaded_says_why_without_paths(
    repository: ModelRepository, tmp_path: Path, name: str, reason: str
) -> None:
    service = LocalModelService(repository, name)
    await service.load()
    assert (service.state, await service.ready()) == ("failed", False)
    assert service.reason.startswith(reason)
    assert str(tmp_path) not in service.reason
    assert service.status() == {"state": "failed", "reason": service.reason}
    with pytest.raises(ModelNotReady, match=f"model '{name}' is failed"):
        await service.infer(ask(1))
    await service.close()


class Exploding(FakeModel):
    def load(self) -> None:
        raise OSError("a device is on fire")


def serve(monkeypatch: pytest.MonkeyPatch, model: FakeModel) -> None:
    """The runtime `onnx` gives this model, whatever the file."""

    def factory(_config: ModelConfig, _files: VersionFiles) -> FakeModel:
        return model

    monkeypatch.setattr(RUNTIMES, "_registrations", {})
    RUNTIMES.register("onnx", ModelConfig, factory)


async def test_fault_028_a_bug_while_loading_is_a_failure_too(
    repository: ModelRepository, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    serve(monkeypatch, Exploding())
    service = LocalModelService(repository, "lookup")
    await service.load()
    assert (service.state, service.reason) == ("failed", "loading it raised OSError")
    assert "a device is on fire" in caplog.text


async def test_the_warm_up_runs_before_the_model_is_ready(
    repository: ModelRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = FakeModel()
    serve(monkeypatch, model)
    service = LocalModelService(repository, "identity")
    await service.load()
    assert model.batches[0]["x"].tolist() == [[1, 1, 1]]
    assert len(model.batches) == 1 + PROBED
    await service.close()


async def test_a_warm_up_that_answers_nonsense_is_noticed_at_the_first_request(
    repository: ModelRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(_inputs: Arrays) -> Arrays:
        return {}

    serve(monkeypatch, FakeModel(nothing))
    service = LocalModelService(repository, "identity")
    await service.load()
    rows = {"x": np.ones((1, 3), np.float32)}
    with pytest.raises(InferenceFailed, match="gave no output 'y'"):
        await service.infer(InferenceRequest("identity", rows))
    await service.close()


@pytest.mark.parametrize("make", [positive, suppressed])
async def test_a_model_with_as_many_rows_as_it_finds_is_not_stacked(
    make: Callable[[Path], Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make(tmp_path / "m" / "1" / "model.onnx")
    repository = ModelRepository([tmp_path])
    service = LocalModelService(repository, "m")
    await service.load()
    metadata = await service.metadata()
    assert metadata.max_batch_size == 0
    assert "requests to model 'm' are not stacked: output 'y' has shape" in caplog.text
    inputs: Arrays = {
        spec.name: np.zeros([2 if size < 0 else size for size in spec.shape], np.float32)
        for spec in metadata.inputs
    }
    answer = await service.infer(InferenceRequest("m", inputs))
    assert answer.outputs["y"].shape[0] != 2
    await service.reload()
    assert (await service.statistics())[0].inferences == 1, "what is kept is not loaded again"
    await service.close()


async def test_stacking_that_was_asked_for_and_cannot_be_is_refused(tmp_path: Path) -> None:
    positive(tmp_path / "m" / "1" / "model.onnx")
    (tmp_path / "m" / "model.yaml").write_text("max_batch_size: 4\n")
    service = LocalModelService(ModelRepository([tmp_path]), "m")
    await service.load()
    wrong = "output 'y' has shape [1, 3] for a batch of 2; `verify_batch: false` overrules this"
    assert service.state == "failed"
    assert service.reason == f"model.yaml:1: max_batch_size: must be 0: {wrong}"


async def test_after_close_nothing_is_served(
    repository: ModelRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = FakeModel()
    serve(monkeypatch, model)
    service = LocalModelService(repository, "identity")
    await service.load()
    await service.close()
    assert not model.loaded
    assert (service.state, await service.ready()) == ("unloaded", False)
    for call in (service.infer(ask(1)), service.metadata()):
        with pytest.raises(ModelNotReady, match="is unloaded"):
            await call
    await service.close()


async def test_closing_while_it_loads_gives_the_memory_back(
    repository: ModelRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = FakeModel()
    serve(monkeypatch, model)
    service = LocalModelService(repository, "identity")
    loading = asyncio.ensure_future(service.load())
    await asyncio.sleep(0)
    await service.close()
    await loading
    assert service.state == "unloaded"
    assert not model.loaded


async def test_fault_032_a_model_that_hangs_is_not_ready(
    repository: ModelRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()
    model = FakeModel()
    serve(monkeypatch, model)
    service = LocalModelService(repository, "identity")
    await service.load({"max_run_seconds": 0.05})
    model._gate = gate
    model.started.clear()
    request = InferenceRequest("identity", {"x": np.ones((1, 3), np.float32)})
    hanging = asyncio.ensure_future(service.infer(request))
    await asyncio.get_running_loop().run_in_executor(None, model.started.wait, 5)
    while not service.fault:  # noqa: ASYNC110 - time must pass
        await asyncio.sleep(0.01)
    assert await service.ready() is False
    assert service.fault == "a run has taken more than 0.05 s"
    assert (service.status()["state"], service.status()["reason"]) == ("failed", service.fault)
    assert [(s.state, s.reason) for s in service.states() if s.version == "2"] == [
        ("UNAVAILABLE", service.fault)
    ]
    with pytest.raises(ModelNotReady, match="is out of order: a run has taken"):
        await service.infer(request)
    gate.set()
    await hanging
    assert await service.ready()
    await service.close()


async def test_fault_030_a_session_that_is_gone_is_not_ready(
    repository: ModelRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive = True

    def answer(inputs: Arrays) -> Arrays:
        if not alive:
            raise OSError("the device is gone")
        return {"y": inputs["x"]}

    serve(monkeypatch, FakeModel(answer))
    service = LocalModelService(repository, "identity")
    await service.load()
    alive = False
    request = InferenceRequest("identity", {"x": np.ones((1, 3), np.float32)})
    for _ in range(3):
        assert await service.ready()
        with pytest.raises(InferenceFailed):
            await service.infer(request)
    assert await service.ready() is False
    with pytest.raises(ModelNotReady, match="every run fails, the probe too: OSError"):
        await service.infer(request)
    serve(monkeypatch, FakeModel())
    await service.reload()
    assert (await service.infer(request)).outputs["y"].tolist() == [[2, 2, 2]]
    await service.close()
