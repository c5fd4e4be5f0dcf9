"""Changing what is served while it is asked. The ONNX files are real."""

import asyncio
import os
import shutil
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import numpy as np
import pytest

from app.api.descriptions import encode_config
from app.errors import InvalidInput, ModelNotFound, ModelNotReady
from app.registry import RUNTIMES
from app.types import InferenceRequest, InferenceResponse, JsonValue
from models.repository.model_yaml import ModelConfig
from models.repository.repository import ModelRepository
from models.repository.version_files import VersionFiles
from models.serving.service import LocalModelService
from tests.fakes.models import FakeModel
from tests.unit.models.onnx_files import numbered, with_external_data


@pytest.fixture
def model(tmp_path: Path) -> Path:
    numbered(tmp_path / "m" / "1" / "model.onnx", 1)
    return tmp_path / "m"


@pytest.fixture
async def service(model: Path) -> AsyncIterator[LocalModelService]:
    service = LocalModelService(ModelRepository([model.parent]), "m")
    await service.load()
    yield service
    await service.close()


async def ask(
    service: LocalModelService, version: str | None = None, value: float = 5.0
) -> InferenceResponse:
    rows = {"x": np.full((1, 3), value, np.float32)}
    return await service.infer(InferenceRequest("m", rows, version=version))


def answered_by(response: InferenceResponse, value: float = 5.0) -> int:
    """The version that made all of an answer; fails where two versions had a part in it."""
    version = int(response.version)
    assert (response.outputs["version"] == version).all()
    assert (response.outputs["y"] == version * value).all()
    return version


def states(service: LocalModelService) -> dict[str, tuple[str, str]]:
    return {state.version: (state.state, state.reason) for state in service.states()}


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - there is nothing else to wait for
        await asyncio.sleep(0)


async def grown(answers: list[int], by: int) -> None:
    wanted = len(answers) + by
    await until(lambda: len(answers) >= wanted)


def policy(text: str, model: Path) -> None:
    (model / "model.yaml").write_text(f"version_policy: {text}\n")


async def test_fault_073_twenty_swaps_under_constant_requests(
    model: Path, service: LocalModelService
) -> None:
    numbered(model / "2" / "model.onnx", 2)
    seen: list[int] = []
    done = asyncio.Event()

    async def client(number: int) -> None:
        asked = 0
        while not done.is_set():
            value = float(number * 1000 + asked % 100 + 1)
            seen.append(answered_by(await ask(service, value=value), value))
            asked += 1

    clients = [asyncio.ensure_future(client(number)) for number in range(8)]
    for swap in range(20):
        await service.reload({"version_policy": {"specific": [2 - swap % 2]}})
        await grown(seen, 20)
    done.set()
    await asyncio.gather(*clients)
    assert set(seen) == {1, 2}
    assert len(seen) >= 400


async def test_a_new_version_is_found_by_reload_only(
    model: Path, service: LocalModelService
) -> None:
    numbered(model / "2" / "model.onnx", 2)
    await service.load()
    assert answered_by(await ask(service)) == 1
    await service.reload()
    assert answered_by(await ask(service)) == 2
    assert states(service) == {
        "1": ("UNAVAILABLE", "not in the version policy"),
        "2": ("READY", ""),
    }


async def test_fault_084_rollback_to_the_version_before(
    model: Path, service: LocalModelService
) -> None:
    numbered(model / "2" / "model.onnx", 2)
    await service.reload()
    await service.reload({"version_policy": {"specific": [1]}})
    assert answered_by(await ask(service)) == 1
    with pytest.raises(ModelNotFound, match="served is '1'"):
        await ask(service, "2")


async def test_several_versions_at_once(model: Path, service: LocalModelService) -> None:
    for number in (2, 10):
        numbered(model / str(number) / "model.onnx", number)
    policy("all", model)
    await service.reload()
    assert [answered_by(await ask(service, version)) for version in ("1", "2", "10", None)] == [
        *(1, 2, 10, 10)
    ]
    assert (await service.metadata()).versions == ("1", "2", "10")
    assert (await service.metadata("2")).versions == ("1", "2", "10")
    counted = {each.version: each.inferences for each in await service.statistics()}
    assert counted == {"1": 1, "2": 1, "10": 2}
    assert [each.inferences for each in await service.statistics("10")] == [2]
    policy("{latest: 2}", model)
    await service.reload()
    assert (await service.metadata()).versions == ("2", "10")
    assert (await service.statistics("10"))[0].inferences == 2, "what is kept is not loaded again"


@pytest.mark.parametrize("damage", [b"no model at all", b""])
async def test_fault_074_and_075_a_bad_version_leaves_the_old_one_serving(
    model: Path, service: LocalModelService, damage: bytes
) -> None:
    numbered(model / "2" / "model.onnx", 2)
    (model / "2" / "model.onnx").write_bytes(damage)
    with pytest.raises(ModelNotReady, match=r"could not be loaded: model\.onnx: is not an ONNX"):
        await service.reload()
    assert answered_by(await ask(service)) == 1
    assert await service.ready()
    assert states(service)["1"] == ("READY", "")
    state, reason = states(service)["2"]
    assert state == "UNAVAILABLE"
    assert reason.startswith("model.onnx: is not an ONNX file")
    assert service.status()["reason"] == service.reason == reason
    numbered(model / "2" / "model.onnx", 2)
    await service.reload()
    assert (answered_by(await ask(service)), service.reason) == (2, "")


async def test_fault_074_a_half_copied_file_of_a_served_version(
    model: Path, service: LocalModelService
) -> None:
    path = model / "1" / "model.onnx"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ModelNotReady, match=r"could not be loaded"):
        await service.reload()
    assert answered_by(await ask(service)) == 1


async def test_fault_076_a_version_that_is_deleted_while_it_serves(
    model: Path, service: LocalModelService
) -> None:
    numbered(model / "2" / "model.onnx", 2)
    policy("all", model)
    await service.reload()
    asked = asyncio.ensure_future(ask(service, "1"))
    await asyncio.sleep(0)
    shutil.rmtree(model / "1")
    await service.reload()
    assert answered_by(await asked) == 1
    with pytest.raises(ModelNotFound):
        await ask(service, "1")


async def test_fault_076_a_model_that_is_gone_is_served_until_it_is_unloaded(
    model: Path, service: LocalModelService
) -> None:
    shutil.rmtree(model)
    with pytest.raises(ModelNotFound, match="there is no model 'm'"):
        await service.reload()
    assert answered_by(await ask(service)) == 1
    await service.close()
    assert states(service) == {"": ("UNAVAILABLE", "unloaded")}


async def test_fault_085_at_start_the_good_versions_serve(model: Path) -> None:
    (model / "2").mkdir()
    (model / "2" / "model.onnx").write_bytes(b"broken")
    policy("all", model)
    service = LocalModelService(ModelRepository([model.parent]), "m")
    await service.load()
    assert answered_by(await ask(service)) == 1
    assert states(service)["2"][0] == "UNAVAILABLE"
    await service.close()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ({"versions": {"9": "file:///etc/passwd"}}, "config.versions: cannot be changed"),
        ({"labels": {"y": "names.txt"}}, r"config\.labels\.y: must be a list"),
        ({"queue_size": 0}, r"config\.queue_size: .*greater than or equal to 1"),
        ({"queue": 3}, r"config\.queue: is not a known field; .*did you mean queue_size"),
        ({"version_policy": {"newest": 1}}, r"config\.version_policy: must be \{latest: N\}"),
        (
            {"input": [{"name": "x", "dims": [4]}]},
            r"config\.input\.0\.dims: is \[4\]; .* \[-1, 3\]",
        ),
    ],
)
async def test_a_bad_override_changes_nothing(
    service: LocalModelService, override: dict[str, JsonValue], message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        await service.reload(override)
    assert answered_by(await ask(service)) == 1
    assert service.reason == ""


async def test_the_configuration_that_is_told_can_be_sent_back(
    service: LocalModelService,
) -> None:
    told = encode_config(await service.metadata())
    await service.reload({**told, "max_batch_size": 4})
    assert answered_by(await ask(service)) == 1
    assert encode_config(await service.metadata()) == {**told, "max_batch_size": 4}


async def test_a_configuration_of_another_model_is_not_loaded(service: LocalModelService) -> None:
    told = encode_config(await service.metadata())
    await service.close()
    with pytest.raises(
        ModelNotReady, match=r"config\.backend: is 'tensorrt'; the model's is 'onnx"
    ):
        await service.reload({**told, "backend": "tensorrt"})
    await service.reload(told)
    assert answered_by(await ask(service)) == 1


async def test_a_policy_that_names_what_is_not_there(service: LocalModelService) -> None:
    with pytest.raises(ModelNotReady, match=r"version_policy: there is no version 7; there are: 1"):
        await service.reload({"version_policy": {"specific": {"versions": [7]}}})
    assert answered_by(await ask(service)) == 1


async def test_what_waits_is_answered_by_the_version_that_took_it(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old version hangs in a run while the new one takes over; nothing of it is lost."""
    gate = threading.Event()
    fakes = [FakeModel(), FakeModel()]
    opened = iter(fakes)

    def factory(_config: ModelConfig, _files: VersionFiles) -> FakeModel:
        return next(opened)

    monkeypatch.setattr(RUNTIMES, "_registrations", {})
    RUNTIMES.register("onnx", ModelConfig, factory)
    service = LocalModelService(ModelRepository([model.parent]), "m")
    await service.load()
    fakes[0]._gate = gate
    first = [asyncio.ensure_future(ask(service)) for _ in range(12)]
    warmed_up = len(fakes[0].batches)
    await until(lambda: len(fakes[0].batches) == warmed_up + 1)
    serving = service._served
    swap = asyncio.ensure_future(service.load({"queue_size": 7}))
    await until(lambda: service._served is not serving)
    later = await ask(service)
    assert len(fakes[1].batches) == 2, "the warm-up and this one"
    assert not swap.done()
    gate.set()
    await swap
    for answer in [*await asyncio.gather(*first), later]:
        assert (answer.outputs["y"] == 10).all()
    assert (fakes[0].loaded, fakes[1].loaded) == (False, True)
    await service.close()


async def test_fault_077_many_loads_and_unloads_at_once(
    model: Path, service: LocalModelService
) -> None:
    async def change(number: int) -> None:
        for turn in range(5):
            await (service.close() if (number + turn) % 2 else service.load())

    async def client() -> None:
        while not done.is_set():
            try:
                answered_by(await ask(service))
            except ModelNotReady:
                await asyncio.sleep(0)

    done = asyncio.Event()
    clients = [asyncio.ensure_future(client()) for _ in range(4)]
    await asyncio.gather(*(change(number) for number in range(6)))
    done.set()
    await asyncio.gather(*clients)
    await service.load()
    assert answered_by(await ask(service)) == 1


@pytest.mark.parametrize(
    ("inputs", "shape", "named"),
    [
        (("z",), ("batch", 3), "input 'x' is not what it is in the version that is served"),
        (("x", "z"), ("batch", 3), "input 'z' is not one of the version that is served"),
        (("x",), ("batch", 4), "input 'x' is not what it is"),
        (("x",), (1, 3), "input 'x' is not what it is"),
    ],
)
async def test_fault_074_a_version_that_takes_other_requests_does_not_take_over(
    model: Path,
    service: LocalModelService,
    inputs: tuple[str, ...],
    shape: tuple[int | str, ...],
    named: str,
) -> None:
    numbered(model / "2" / "model.onnx", 2, inputs, shape)
    with pytest.raises(ModelNotReady, match=named):
        await service.reload()
    assert answered_by(await ask(service)) == 1
    await service.close()
    await service.reload()
    assert (await service.metadata()).versions == ("2",), "after an unload it may"


async def test_a_version_that_takes_more_takes_over(
    model: Path, service: LocalModelService
) -> None:
    numbered(model / "2" / "model.onnx", 2, ("x",), ("batch", "columns"))
    await service.reload()
    assert answered_by(await ask(service)) == 2


async def test_fault_075_no_part_of_a_file_is_ever_served(
    model: Path, service: LocalModelService
) -> None:
    """Whatever a copy has written when the load comes, before its last byte it is refused."""
    whole = numbered(model / "2" / "model.onnx", 2).read_bytes()
    for size in range(0, len(whole), 7):
        (model / "2" / "model.onnx").write_bytes(whole[:size])
        with pytest.raises(ModelNotReady):
            await service.reload()
        assert answered_by(await ask(service)) == 1
    (model / "2" / "model.onnx").write_bytes(whole)
    await service.reload()
    assert answered_by(await ask(service)) == 2


async def test_fault_154_a_load_sees_that_weights_or_labels_have_changed(tmp_path: Path) -> None:
    path = with_external_data(tmp_path / "w" / "1" / "model.onnx", "w.bin")
    weights, labels = path.with_name("w.bin"), tmp_path / "w" / "classes.txt"
    (tmp_path / "w" / "model.yaml").write_text("labels: {y: classes.txt}\n")
    labels.write_text("a\nb\nc\n")
    np.array([1, 2, 3], np.float32).tofile(weights)
    service = LocalModelService(ModelRepository([tmp_path]), "w")
    await service.load()
    before = weights.stat()
    np.array([7, 8, 9], np.float32).tofile(weights)
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))
    await service.reload()
    rows = {"x": np.zeros((1, 3), np.float32)}
    assert (await service.infer(InferenceRequest("w", rows))).outputs["y"].tolist() == [[7, 8, 9]]
    assert (await service.metadata()).labels == {"y": ("a", "b", "c")}
    labels.write_text("a\nb\nlast\n")
    await service.reload()
    assert (await service.metadata()).labels == {"y": ("a", "b", "last")}
    await service.close()
