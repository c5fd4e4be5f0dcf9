"""Models that are loaded when they are asked for."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from app.errors import ModelNotReady
from app.types import InferenceRequest
from models.repository.repository import ModelRepository
from models.serving.cache import OnDemandModel, inline_services
from models.serving.service import LocalModelService
from tests.unit.models.onnx_files import numbered

NAMES = ("a", "b", "c")


@pytest.fixture
def models(tmp_path: Path) -> dict[str, LocalModelService | OnDemandModel]:
    """Three models that are loaded on demand, two at a time."""
    for name in NAMES:
        numbered(tmp_path / name / "1" / "model.onnx", 1)
        (tmp_path / name / "model.yaml").write_text("on_demand: true")
    return inline_services(ModelRepository([tmp_path]), NAMES, 2)


def ask(name: str) -> InferenceRequest:
    return InferenceRequest(name, {"x": np.ones((1, 3), np.float32)})


def held(models: dict[str, LocalModelService | OnDemandModel]) -> list[str]:
    return [name for name, model in models.items() if model.status()["state"] == "ready"]


async def test_the_first_request_loads(
    models: dict[str, LocalModelService | OnDemandModel],
) -> None:
    await models["a"].load()
    assert (held(models), await models["a"].ready()) == ([], True)
    assert await models["a"].statistics() == ()
    assert models["a"].status()["state"] == "on demand"
    answers = await asyncio.gather(*(models["a"].infer(ask("a")) for _ in range(5)))
    assert {answer.version for answer in answers} == {"1"}
    assert held(models) == ["a"]
    assert (await models["a"].statistics())[0].inferences == 5
    await models["a"].close()
    assert held(models) == []


async def test_the_least_recently_used_one_makes_room(
    models: dict[str, LocalModelService | OnDemandModel],
) -> None:
    for name in ("a", "b", "a", "c"):
        await models[name].infer(ask(name))
    assert held(models) == ["a", "c"]
    await models["b"].metadata()
    assert held(models) == ["b", "c"]
    for model in models.values():
        await model.close()


async def test_one_with_requests_in_flight_is_never_unloaded(
    models: dict[str, LocalModelService | OnDemandModel],
) -> None:
    for name in ("a", "b"):
        await models[name].infer(ask(name))
    busy = models["a"]
    assert isinstance(busy, OnDemandModel)
    busy.in_flight += 1
    await models["c"].infer(ask("c"))
    assert held(models) == ["a", "c"]
    await asyncio.gather(*(models[name].infer(ask(name)) for name in NAMES for _ in range(4)))
    for model in models.values():
        await model.close()


async def test_many_models_in_turn_are_all_answered(
    models: dict[str, LocalModelService | OnDemandModel],
) -> None:
    async def client(offset: int) -> None:
        for turn in range(12):
            name = NAMES[(turn + offset) % 3]
            assert (await models[name].infer(ask(name))).model == name

    await asyncio.gather(*(client(offset) for offset in range(3)))
    for model in models.values():
        await model.close()


async def test_one_that_fails_to_load_is_not_tried_at_every_request(tmp_path: Path) -> None:
    numbered(tmp_path / "a" / "1" / "model.onnx", 1)
    (tmp_path / "a" / "model.yaml").write_text("on_demand: true")
    repository = ModelRepository([tmp_path])
    path = tmp_path / "a" / "1" / "model.onnx"
    good = path.read_bytes()
    path.write_bytes(b"broken")
    model = inline_services(repository, ["a"], 2)["a"]
    with pytest.raises(ModelNotReady, match="'a' is failed"):
        await model.infer(ask("a"))
    assert await model.ready() is False
    path.write_bytes(good)
    with pytest.raises(ModelNotReady, match="'a' is failed"):
        await model.infer(ask("a"))
    await model.reload()
    assert (await model.infer(ask("a"))).version == "1"
    await model.close()


async def test_one_that_fails_to_load_takes_nobodys_place(
    tmp_path: Path, models: dict[str, LocalModelService | OnDemandModel]
) -> None:
    (tmp_path / "c" / "1" / "model.onnx").write_bytes(b"broken")
    for name in ("a", "b"):
        await models[name].infer(ask(name))
    for _ in range(2):
        with pytest.raises(ModelNotReady, match="'c' is failed"):
            await models["c"].infer(ask("c"))
        with pytest.raises(ModelNotReady, match="could not be loaded"):
            await models["c"].reload()
    assert held(models) == ["a", "b"]
    numbered(tmp_path / "c" / "1" / "model.onnx", 1)
    await models["c"].reload()
    assert held(models) == ["b", "c"]
    for model in models.values():
        await model.close()


async def test_a_load_that_fails_in_part_is_held(
    tmp_path: Path, models: dict[str, LocalModelService | OnDemandModel]
) -> None:
    (tmp_path / "c" / "2").mkdir()
    (tmp_path / "c" / "2" / "model.onnx").write_bytes(b"broken")
    (tmp_path / "c" / "model.yaml").write_text("on_demand: true\nversion_policy: all\n")
    for name in ("a", "b"):
        await models[name].infer(ask(name))
    with pytest.raises(ModelNotReady, match="could not be loaded"):
        await models["c"].reload()
    assert held(models) == ["b", "c"]
    for model in models.values():
        await model.close()
