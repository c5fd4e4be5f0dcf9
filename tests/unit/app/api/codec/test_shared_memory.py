"""Regions, and tensors in them. A directory stands for the system's shared memory objects."""

import os
from pathlib import Path

import httpx
import numpy as np
import orjson
import pytest

from app.api.codec.shared_memory import Placement, SharedMemory, SharedMemoryConfig
from app.api.dataplane import DataPlane
from app.api.grpc.codec import decode_request, encode_response
from app.api.grpc.proto import inference_pb2 as pb
from app.api.http.rest import build_model_app
from app.config.limits import Limits
from app.errors import ConfigurationError, InvalidInput, NotSupported, RegionNotFound, TooLarge
from tests.fakes.http import client_of, refuses
from tests.fakes.models import FakeHandle

INFER = "/v2/models/fake/infer"
X = np.array([1, 2, 3], "<f4").tobytes()
HUGE = 2**63


class Objects:
    """What stands for /dev/shm, and the registry beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "objects"
        self.folder.mkdir()
        self.registry = folder / "registry"

    def put(self, key: str, data: bytes) -> Path:
        path = self.folder / key
        path.write_bytes(data)
        return path

    def memory(self, **config: int) -> SharedMemory:
        return SharedMemory(SharedMemoryConfig(**config), self.registry, self.folder)


@pytest.fixture
def objects(tmp_path: Path) -> Objects:
    return Objects(tmp_path)


@pytest.fixture
def memory(objects: Objects) -> SharedMemory:
    return objects.memory()


def place(offset: int = 0, size: int = 12, region: str = "r") -> Placement:
    return Placement(region, offset, size, "inputs[0]")


def test_what_is_registered_is_read_and_written(objects: Objects, memory: SharedMemory) -> None:
    path = objects.put("manta_a", bytes(8) + X)
    memory.register("r", "/manta_a", 4, 16)
    assert memory.read(place(4)) == X
    assert memory.write(place(0, 4), b"abcd") == 4
    assert path.read_bytes() == bytes(4) + b"abcd" + X
    [region] = memory.regions("r")
    assert (region.key, region.offset, region.byte_size) == ("/manta_a", 4, 16)


def test_every_process_of_a_machine_knows_the_same_regions(objects: Objects) -> None:
    objects.put("manta_a", X)
    one, other = objects.memory(), objects.memory()
    one.register("r", "manta_a", 0, 12)
    assert other.read(place()) == X
    other.unregister("r")
    assert one.regions() == []


def test_regions_are_forgotten_one_by_one_or_all_at_once(
    objects: Objects, memory: SharedMemory
) -> None:
    objects.put("manta_a", X)
    for name in ("a", "b", "c"):
        memory.register(name, "manta_a", 0, 12)
    memory.unregister("b")
    memory.unregister("absent")
    memory.unregister("../manta_a")
    assert [region.name for region in memory.regions()] == ["a", "c"]
    with pytest.raises(RegionNotFound, match="'b'"):
        memory.regions("b")
    memory.unregister()
    assert memory.regions() == []


@pytest.mark.parametrize(
    "key",
    [
        *("other", "manta_", "/manta_", "//manta_a", "manta_a/../x", "manta_/x", "../manta_a", ""),
        *("manta_a\0", "manta_\n", "manta_é", "MANTA_a", "manta_" + "x" * 300),
    ],
)
def test_only_names_with_the_prefix_are_looked_for(
    objects: Objects, memory: SharedMemory, key: str
) -> None:
    objects.put("other", X)
    objects.put("manta_a", X)
    with pytest.raises(InvalidInput, match=r"^key: must be the name .* begins with 'manta_'$"):
        memory.register("r", key, 0, 12)


def test_links_and_what_is_no_plain_object_are_refused(
    objects: Objects, memory: SharedMemory
) -> None:
    secret = objects.put("plasma_secret", X)
    (objects.folder / "manta_symbolic").symlink_to(secret)
    (objects.folder / "manta_hard").hardlink_to(secret)
    (objects.folder / "manta_directory").mkdir()
    os.mkfifo(objects.folder / "manta_pipe")
    objects.put("manta_locked", X).chmod(0o000 if os.geteuid() else 0o600)
    names = ["absent", "symbolic", "hard", "directory", "pipe", *(["locked"] * bool(os.geteuid()))]
    told = set()
    for name in names:
        with pytest.raises(InvalidInput) as caught:
            memory.register("r", f"manta_{name}", 0, 12)
        told.add(str(caught.value))
    assert len(told) == 1, "an error must not tell why another's object cannot be used"
    assert memory.regions() == []


def test_objects_of_other_users_are_refused(
    objects: Objects, memory: SharedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects.put("manta_a", X)
    monkeypatch.setattr(os, "geteuid", lambda: 4242)
    with pytest.raises(InvalidInput, match="of the user that the server runs as"):
        memory.register("r", "manta_a", 0, 12)


@pytest.mark.parametrize(
    ("offset", "size", "error"),
    [
        (0, 13, InvalidInput),
        (1, 12, InvalidInput),
        (HUGE, 12, InvalidInput),
        (2**64 - 12, 12, InvalidInput),
        (0, 0, TooLarge),
        (0, HUGE, TooLarge),
        (0, 1025, TooLarge),
    ],
)
def test_a_region_must_lie_within_its_object(
    objects: Objects, offset: int, size: int, error: type[Exception]
) -> None:
    objects.put("manta_a", X)
    with pytest.raises(error, match=r"^byte_size: "):
        objects.memory(max_bytes=1024).register("r", "manta_a", offset, size)


@pytest.mark.parametrize(("offset", "size"), [(0, 9), (8, 1), (HUGE, 1), (2**64 - 1, 2), (0, HUGE)])
def test_a_tensor_must_lie_within_its_region(
    objects: Objects, memory: SharedMemory, offset: int, size: int
) -> None:
    objects.put("manta_a", X)
    memory.register("r", "manta_a", 0, 8)
    with pytest.raises(InvalidInput, match="the region has 8 bytes"):
        memory.read(place(offset, size))
    with pytest.raises(InvalidInput, match="the region has 8 bytes"):
        memory.write(place(offset, size), b"")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", ".hidden", "x" * 129, "a\nb", "é"])
def test_names_that_are_refused(objects: Objects, memory: SharedMemory, name: str) -> None:
    objects.put("manta_a", X)
    with pytest.raises(InvalidInput, match=r"^name: "):
        memory.register(name, "manta_a", 0, 12)
    with pytest.raises(InvalidInput, match="there is no region"):
        memory.read(place(region=name))


def test_an_object_that_shrinks_vanishes_or_is_exchanged(
    objects: Objects, memory: SharedMemory
) -> None:
    path = objects.put("manta_a", X)
    memory.register("r", "manta_a", 0, 12)
    gone = "the memory of this region is not there any more"
    os.truncate(path, 11)
    with pytest.raises(InvalidInput, match=gone):
        memory.read(place())
    with pytest.raises(InvalidInput, match=gone):
        memory.write(place(), X)
    os.truncate(path, 12)
    other = objects.put("manta_b", X)
    other.replace(path)
    with pytest.raises(InvalidInput, match=gone):
        memory.read(place())
    path.unlink()
    with pytest.raises(InvalidInput):
        memory.read(place())


def test_a_name_is_taken_once_and_free_again_when_its_memory_is_gone(
    objects: Objects, memory: SharedMemory
) -> None:
    path = objects.put("manta_a", X)
    memory.register("r", "manta_a", 0, 12)
    with pytest.raises(InvalidInput, match="'r' is registered already"):
        memory.register("r", "manta_a", 0, 12)
    path.unlink()
    objects.put("manta_b", X)
    memory.register("r", "manta_b", 0, 12)
    assert memory.read(place()) == X


def test_regions_are_counted_without_those_that_are_gone(objects: Objects) -> None:
    memory = objects.memory(max_regions=2)
    path = objects.put("manta_a", X)
    objects.put("manta_b", X)
    memory.register("1", "manta_a", 0, 12)
    memory.register("2", "manta_b", 0, 12)
    with pytest.raises(TooLarge, match=r"^2 shared memory regions"):
        memory.register("3", "manta_b", 0, 12)
    path.unlink()
    memory.register("3", "manta_b", 0, 12)
    assert [region.name for region in memory.regions()] == ["2", "3"]


def test_a_registry_that_others_can_write_to_is_refused(tmp_path: Path) -> None:
    registry = tmp_path / "registry"
    registry.mkdir()
    registry.chmod(0o777)
    with pytest.raises(ConfigurationError, match=r"^shared_memory.registry: "):
        SharedMemory(SharedMemoryConfig(), registry, tmp_path)


@pytest.mark.parametrize("prefix", ["", "a/b", "plasma", "plasma_x", "psm_1", "sem.", "pla", "../"])
def test_prefixes_that_are_refused(prefix: str) -> None:
    with pytest.raises(ValueError, match="prefix"):
        SharedMemoryConfig(prefix=prefix)


def client_for(memory: SharedMemory | None, limits: Limits | None = None) -> httpx.AsyncClient:
    dataplane = DataPlane({"fake": FakeHandle()}, memory=memory)
    return client_of(build_model_app(dataplane, 5.0, limits or Limits()))


def shared(size: int, offset: int = 0) -> dict[str, object]:
    return {
        "shared_memory_region": "r",
        "shared_memory_byte_size": size,
        "shared_memory_offset": offset,
    }


def request(inputs: object, outputs: object = None) -> dict[str, object]:
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 3], "parameters": inputs}
    body: dict[str, object] = {"inputs": [tensor]}
    if outputs is not None:
        body["outputs"] = [{"name": "y", "parameters": outputs}]
    return body


async def test_a_request_reads_its_input_and_writes_its_output(
    objects: Objects, memory: SharedMemory
) -> None:
    path = objects.put("manta_a", X + bytes(12))
    memory.register("r", "manta_a", 0, 24)
    response = await client_for(memory).post(INFER, json=request(shared(12), shared(12, 12)))
    [output] = response.json()["outputs"]
    assert "data" not in output
    assert output["parameters"] == shared(12, 12)
    assert np.frombuffer(path.read_bytes()[12:], "<f4").tolist() == [2, 4, 6]


async def test_tensors_that_do_not_fit_are_told(objects: Objects, memory: SharedMemory) -> None:
    objects.put("manta_a", X + bytes(12))
    memory.register("r", "manta_a", 0, 24)
    client = client_for(memory, Limits(decompressed_bytes=20))
    where = "inputs[0].parameters.shared_memory_"
    for body, status, words in (
        (request(shared(8)), 400, f"{where}region: has 8 bytes"),
        (request(shared(13)), 400, "has 13 bytes"),
        (request(shared(12, 20)), 400, f"{where}region: offset"),
        (request(shared(24)), 413, "over 20 bytes"),
        (request(shared(12, -1)), 400, f"{where}offset"),
        (request({"shared_memory_region": "r"}), 400, f"{where}byte_size"),
        (request({"shared_memory_region": 1}), 400, f"{where}region"),
        (request(shared(12), shared(11)), 400, "the output needs 12 bytes, not 11"),
        (request(shared(12), shared(12, 13)), 400, "outputs[0].parameters.shared_memory_region"),
    ):
        refuses(await client.post(INFER, json=body), status, words)
    assert (await client.post(INFER, json=request(shared(12)))).status_code == 200


async def test_switched_off_it_names_the_setting() -> None:
    client = client_for(None)
    memory = {"shared_memory_region": "r", "shared_memory_byte_size": 12}
    plain = {"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}
    output = {"inputs": [plain], "outputs": [{"name": "y", "parameters": memory}]}
    for body in (request(memory), output):
        refuses(await client.post(INFER, json=body), 501, "shared_memory, in the args")


def grpc_request(*tensors: tuple[str, bytes | None]) -> pb.ModelInferRequest:
    """Inputs with raw contents, or without them in region `r`."""
    message = pb.ModelInferRequest(model_name="fake")
    for name, raw in tensors:
        tensor = message.inputs.add(name=name, datatype="FP32", shape=[1, 3])
        if raw is None:
            tensor.parameters["shared_memory_region"].string_param = "r"
            tensor.parameters["shared_memory_byte_size"].int64_param = 12
        else:
            message.raw_input_contents.append(raw)
    return message


def test_over_grpc_raw_contents_are_those_of_the_other_inputs(
    objects: Objects, memory: SharedMemory
) -> None:
    objects.put("manta_a", X)
    memory.register("r", "manta_a", 0, 12)
    other = np.array([7, 8, 9], "<f4").tobytes()
    message = grpc_request(("a", None), ("b", other), ("c", None))
    inputs = decode_request(message, None, Limits(), memory).request.inputs
    assert [array.tolist()[0] for array in inputs.values()] == [[1, 2, 3], [7, 8, 9], [1, 2, 3]]
    message.raw_input_contents.append(other)
    with pytest.raises(InvalidInput, match="2 elements but there are 1 inputs"):
        decode_request(message, None, Limits(), memory)
    with pytest.raises(NotSupported, match="shared_memory"):
        decode_request(grpc_request(("a", None)), None, Limits())


async def test_over_grpc_an_output_in_shared_memory_has_empty_contents(
    objects: Objects, memory: SharedMemory
) -> None:
    path = objects.put("manta_a", X + bytes(12))
    memory.register("r", "manta_a", 0, 24)
    message = grpc_request(("x", None))
    output = message.outputs.add(name="y")
    output.parameters["shared_memory_region"].string_param = "r"
    output.parameters["shared_memory_byte_size"].int64_param = 12
    output.parameters["shared_memory_offset"].int64_param = 12
    call = decode_request(message, None, Limits(), memory)
    response = await FakeHandle().infer(call.request)
    answer = pb.ModelInferResponse.FromString(encode_response(response, call.places, memory))
    assert list(answer.raw_output_contents) == [b""]
    parameters = answer.outputs[0].parameters
    assert parameters["shared_memory_region"].string_param == "r"
    assert parameters["shared_memory_byte_size"].int64_param == 12
    assert np.frombuffer(path.read_bytes()[12:], "<f4").tolist() == [2, 4, 6]


def test_what_an_entry_of_the_registry_holds(objects: Objects, memory: SharedMemory) -> None:
    objects.put("manta_a", X)
    memory.register("r", "manta_a", 0, 12)
    [entry] = list(objects.registry.iterdir())
    assert orjson.loads(entry.read_bytes())["key"] == "manta_a"
    assert objects.registry.stat().st_mode & 0o077 == 0
