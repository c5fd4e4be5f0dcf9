"""Loading and unloading while the server runs; the ONNX files are real, the processes are not."""

import asyncio
import errno
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from app.api.dataplane import DataPlane
from app.errors import InvalidInput, ModelNotFound, ModelNotReady
from app.types import InferenceRequest
from models.repository.loaded_file import LoadedFile
from models.repository.repository import ModelRepository
from models.serving.cache import inline_services
from models.serving.control import ModelController
from tests.fakes.applications import FakeApplications
from tests.unit.models.onnx_files import never_runs, numbered

FREE, INLINE, DECLARED = "free", "inline", "declared"


class Bench:
    """A gateway that holds `inline`, with `declared` in an application of its own.

    With `beside`, another gateway of the same server.
    """

    def __init__(self, root: Path, beside: "Bench | None" = None) -> None:
        self.root = root / "repository"
        if not self.root.exists():
            for name in (FREE, INLINE, DECLARED):
                numbered(self.root / name / "1" / "model.onnx", 1)
            (self.root / "broken" / "1").mkdir(parents=True)
            (self.root / "broken" / "1" / "model.onnx").write_bytes(b"no model")
        self.file = root / "var" / "loaded.json"
        repository = ModelRepository([self.root])
        self.services = inline_services(repository, [INLINE], 5)
        self.applications: FakeApplications = (
            FakeApplications(repository, DECLARED) if beside is None else beside.applications
        )
        declared = {DECLARED: self.applications.services[DECLARED]}
        self.dataplane = DataPlane({**self.services, **declared})
        self.control = ModelController(
            repository,
            self.services,
            (DECLARED,),
            self.applications,
            self.dataplane,
            LoadedFile(self.file),
        )

    async def open(self) -> None:
        for service in (*self.services.values(), *self.applications.services.values()):
            await service.load()
        await self.control.restore()

    async def close(self) -> None:
        for service in (*self.services.values(), *self.applications.services.values()):
            await service.close()

    async def version(self, name: str) -> str:
        rows = {"x": np.ones((1, 3), np.float32)}
        return (await self.dataplane.infer(InferenceRequest(name, rows))).version

    async def states(self) -> dict[str, tuple[str, str]]:
        return {each.name: (each.state, each.reason) for each in await self.control.index()}


def record(root: Path, *names: str) -> LoadedFile:
    file = LoadedFile(root / "var" / "loaded.json")
    for name in names:
        file.put(name, {})
    return file


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path)
    await made.open()
    yield made
    await made.close()


async def test_the_index_knows_what_is_there_and_what_is_loaded(bench: Bench) -> None:
    assert await bench.states() == {
        FREE: ("UNAVAILABLE", "not loaded"),
        INLINE: ("READY", ""),
        DECLARED: ("READY", ""),
        "broken": ("UNAVAILABLE", "not loaded"),
    }
    bench.applications.away.add(DECLARED)
    (bench.root / "broken" / "model.yaml").write_text("max_batch: 3")
    states = await bench.states()
    assert states[DECLARED] == ("UNAVAILABLE", "away")
    assert states["broken"][1].startswith("model.yaml:1: max_batch: is not a known field")


async def test_a_model_without_a_process_is_given_one_and_loses_it_again(bench: Bench) -> None:
    with pytest.raises(ModelNotFound):
        await bench.version(FREE)
    await bench.control.load(FREE)
    assert await bench.version(FREE) == "1"
    assert (await bench.states())[FREE] == ("READY", "")
    await bench.control.unload(FREE)
    with pytest.raises(ModelNotFound):
        await bench.version(FREE)
    assert (await bench.states())[FREE] == ("UNAVAILABLE", "not loaded")
    assert bench.applications.told == [("deploy", FREE), ("delete", FREE)]
    await bench.control.unload(FREE)


async def test_an_application_that_is_being_deleted_is_asked_nothing(bench: Bench) -> None:
    await bench.control.load(FREE)
    unloading = asyncio.ensure_future(bench.control.unload(FREE))
    while bench.applications.told[-1] != ("delete", FREE):  # noqa: ASYNC110 - nothing else tells
        await asyncio.sleep(0)
    assert not unloading.done()
    assert (await bench.states())[FREE] == ("UNAVAILABLE", "not loaded")
    assert bench.control.deployed == ()
    await unloading


@pytest.mark.parametrize("name", [INLINE, DECLARED])
async def test_a_model_that_has_a_process_stays_in_it(bench: Bench, name: str) -> None:
    numbered(bench.root / name / "2" / "model.onnx", 2)
    await bench.control.load(name)
    assert await bench.version(name) == "2"
    await bench.control.load(name, {"version_policy": {"specific": [1]}})
    assert await bench.version(name) == "1"
    await bench.control.unload(name)
    assert await bench.dataplane.ready(), "what was unloaded on purpose is not missed"
    with pytest.raises(ModelNotFound):
        await bench.version(name)
    await bench.control.load(name)
    assert await bench.version(name) == "2"
    assert not bench.file.exists()


async def test_fault_074_a_model_that_does_not_load_is_given_no_process(bench: Bench) -> None:
    with pytest.raises(ModelNotReady, match=r"'broken' could not be loaded: model\.onnx: is not"):
        await bench.control.load("broken")
    assert bench.applications.told == []
    assert not bench.file.exists()


async def test_fault_074_a_model_that_fails_only_in_its_process_loses_it(bench: Bench) -> None:
    never_runs(bench.root / "never" / "1" / "model.onnx")
    with pytest.raises(ModelNotReady, match=r"'never' could not be loaded: "):
        await bench.control.load("never")
    assert bench.applications.told == [("deploy", "never"), ("delete", "never")]
    assert not bench.file.exists()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (b"", "is not an ONNX file"),
        (bytes(1000), "is not an ONNX file: it has no graph"),
        (b"\x08\x08", "is not an ONNX file: it has no graph"),
    ],
)
async def test_a_damaged_file_is_seen_before_a_process_is_started(
    bench: Bench, damage: bytes, reason: str
) -> None:
    (bench.root / "broken" / "1" / "model.onnx").write_bytes(damage)
    with pytest.raises(ModelNotReady, match=f"model.onnx: {reason}"):
        await bench.control.load("broken")
    assert bench.applications.told == []


@pytest.mark.parametrize("text", ["versions: {1: model.pkl}", "runtime: python"])
async def test_fault_082_what_has_no_runtime_is_not_even_given_a_process(
    bench: Bench, text: str
) -> None:
    (bench.root / "broken" / "model.pkl").touch()
    (bench.root / "broken" / "model.yaml").write_text(text)
    with pytest.raises(ModelNotReady, match="runtime"):
        await bench.control.load("broken")
    assert bench.applications.told == []


async def test_a_model_that_is_not_there(bench: Bench) -> None:
    for call in (bench.control.load("absent"), bench.control.unload("absent")):
        with pytest.raises(ModelNotFound, match="there is no model 'absent'"):
            await call


@pytest.mark.parametrize("name", [INLINE, DECLARED, FREE])
async def test_a_bad_override_is_the_callers_fault(bench: Bench, name: str) -> None:
    with pytest.raises(InvalidInput, match=r"config\.queue: is not a known field"):
        await bench.control.load(name, {"queue": 1})
    assert not bench.file.exists()


async def test_a_new_model_is_found_without_a_restart(bench: Bench) -> None:
    numbered(bench.root / "new" / "1" / "model.onnx", 1)
    await bench.control.load("new")
    assert await bench.version("new") == "1"


async def test_what_was_loaded_is_loaded_again_at_the_next_start(tmp_path: Path) -> None:
    first = Bench(tmp_path)
    await first.open()
    numbered(first.root / FREE / "2" / "model.onnx", 2)
    await first.control.load(FREE, {"version_policy": {"specific": [1]}})
    await first.close()
    second = Bench(tmp_path)
    await second.open()
    assert await second.version(FREE) == "1"
    await second.control.unload(FREE)
    await second.close()
    third = Bench(tmp_path)
    await third.open()
    assert third.applications.told == []
    await third.close()


async def test_what_cannot_be_loaded_again_is_not_forgotten(tmp_path: Path) -> None:
    record(tmp_path, "absent", FREE, INLINE)
    bench = Bench(tmp_path)
    await bench.open()
    assert await bench.version(FREE) == "1"
    await bench.control.unload(FREE)
    assert LoadedFile(bench.file).read() == {"absent": {}, INLINE: {}}
    await bench.control.unload("absent")
    assert LoadedFile(bench.file).read() == {INLINE: {}}
    await bench.close()


async def test_fault_077_loads_and_unloads_of_one_model_come_one_after_the_other(
    bench: Bench,
) -> None:
    async def change(number: int) -> None:
        for turn in range(4):
            load = (number + turn) % 2 == 0
            await (bench.control.load(FREE) if load else bench.control.unload(FREE))

    await asyncio.gather(*(change(number) for number in range(4)))
    await bench.control.load(FREE)
    assert await bench.version(FREE) == "1"


@pytest.mark.parametrize("text", ["", "[]", '{"models": 3}', '{"models": {"a": 3}}', "{"])
def test_fault_078_a_damaged_file_is_as_none(tmp_path: Path, text: str) -> None:
    file = LoadedFile(tmp_path / "loaded.json")
    (tmp_path / "loaded.json").write_text(text)
    assert file.read() == {}
    file.put("m", {"threads": 1})
    assert file.read() == {"m": {"threads": 1}}
    assert sorted(each.name for each in tmp_path.iterdir()) == [".loaded.json.lock", "loaded.json"]


async def test_a_gateway_knows_what_another_one_loads_and_unloads(bench: Bench) -> None:
    other = Bench(bench.root.parent, beside=bench)
    await other.control.follow()
    with pytest.raises(ModelNotFound):
        await other.version(FREE)
    await bench.control.load(FREE)
    await other.control.follow()
    assert await other.version(FREE) == "1"
    assert other.control.deployed == (FREE,)
    await other.control.unload(FREE)
    await bench.control.follow()
    with pytest.raises(ModelNotFound):
        await bench.version(FREE)
    assert bench.applications.told == [("deploy", FREE), ("delete", FREE)]


async def test_what_another_gateway_has_loaded_is_not_given_a_second_process(bench: Bench) -> None:
    other = Bench(bench.root.parent, beside=bench)
    await bench.control.load(FREE)
    await other.control.load(FREE, {"queue_size": 9})
    assert bench.applications.told == [("deploy", FREE), ("reload", FREE)]
    assert LoadedFile(bench.file).read() == {FREE: {"queue_size": 9}}


async def test_fault_078_a_gateway_that_comes_back_finds_its_models(bench: Bench) -> None:
    await bench.control.load(FREE)
    again = Bench(bench.root.parent, beside=bench)
    await again.control.follow()
    assert await again.version(FREE) == "1"
    await again.control.restore()
    assert bench.applications.told == [("deploy", FREE)]


async def test_fault_078_what_was_being_loaded_when_its_gateway_died_is_ended(
    bench: Bench,
) -> None:
    await bench.applications.deploy(FREE, {})
    again = Bench(bench.root.parent, beside=bench)
    await again.control.restore()
    assert bench.applications.told == [("deploy", FREE), ("delete", FREE)]
    assert await bench.version(DECLARED) == "1"


async def test_two_gateways_do_not_change_a_model_at_once(bench: Bench) -> None:
    other = Bench(bench.root.parent, beside=bench)

    async def change(gateway: Bench, load: bool) -> None:
        for turn in range(4):
            both = (gateway.control.load, gateway.control.unload)
            await both[(turn + load) % 2](FREE)

    await asyncio.gather(*(change(each, load) for each in (bench, other) for load in (True, False)))
    changes = [what for what, _ in bench.applications.told if what != "reload"]
    assert changes == ["deploy", "delete"] * (len(changes) // 2) + ["deploy"] * (len(changes) % 2)


async def test_gateways_hear_of_changes_of_what_is_declared(bench: Bench) -> None:
    numbered(bench.root / INLINE / "2" / "model.onnx", 2)
    await bench.control.hear_load(INLINE, {"version_policy": {"specific": [2]}})
    assert await bench.version(INLINE) == "2"
    for name in (INLINE, DECLARED):
        await bench.control.hear_unload(name)
        assert name not in bench.dataplane.names()
        await bench.control.hear_load(name, None)
        assert name in bench.dataplane.names()
    await bench.control.hear_load(FREE, None)
    assert FREE not in bench.dataplane.names()


async def test_a_caller_that_goes_away_leaves_nothing_half_done(bench: Bench) -> None:
    loading = asyncio.ensure_future(bench.control.load(FREE))
    while not bench.applications.told:  # noqa: ASYNC110 - there is nothing else to wait for
        await asyncio.sleep(0)
    loading.cancel()
    await bench.control.load(FREE)
    assert bench.applications.told == [("deploy", FREE), ("reload", FREE)]
    assert await bench.version(FREE) == "1"


async def test_fault_079_what_cannot_be_recorded_is_not_loaded(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("models.repository.loaded_file.os.fsync", full)
        with pytest.raises(ModelNotReady, match="cannot be recorded: No space left on device"):
            await bench.control.load(FREE)
    assert (bench.control.deployed, bench.applications.told[-1]) == ((), ("delete", FREE))
    assert not [each for each in bench.file.parent.iterdir() if "partial" in each.name]
    await bench.control.load(FREE)
    with monkeypatch.context() as patch:
        patch.setattr("models.repository.loaded_file.os.fsync", full)
        with pytest.raises(ModelNotReady, match="cannot be recorded"):
            await bench.control.unload(FREE)
    assert await bench.version(FREE) == "1"
    assert LoadedFile(bench.file).read() == {FREE: {}}
