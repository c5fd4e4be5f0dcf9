"""Every datatype in every kind of shape, and what is refused, over HTTP and gRPC."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from onnx import TensorProto
from tritonclient.utils import InferenceServerException, triton_to_np_dtype

from app.types import Array
from models.repository.repository import ModelRepository
from models.serving.service import LocalModelService
from tests.conformance.cases import ALL, refusal, write
from tests.conformance.doors import DOORS, Doors, open_doors
from tests.unit.models.onnx_files import Shape, identity, reshaped

pytestmark = pytest.mark.integration

ELEMENTS = {
    "BOOL": TensorProto.BOOL,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "FP16": TensorProto.FLOAT16,
    "BF16": TensorProto.BFLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BYTES": TensorProto.STRING,
}
SHAPES: Mapping[str, Shape] = {
    "single": (),
    "list": ("n",),
    "fixed": (6,),
    "table": (2, "columns"),
    "deep": ("n", 1, 1, "m", 1, "k"),
}
SENT = {
    "single": (),
    "list": (6,),
    "fixed": (6,),
    "table": (2, 3),
    "deep": (3, 1, 1, 2, 1, 1),
}
REFUSED = {
    "identity_sequence": "seq(tensor(float))",
    "identity_opt": "optional(seq(tensor(float)))",
    "castlike_FLOAT_to_FLOAT8E4M3FN": "tensor(float8e4m3fn)",
    "castlike_INT4_to_FLOAT": "tensor(int4)",
}
"""Cases of the `onnx` package with types for which the protocol has no name."""


def values(datatype: str) -> Array:
    """Six values, the extremes among them."""
    if datatype == "BOOL":
        return np.array([True, False, True, True, False, False])
    if datatype == "BYTES":
        return np.array([b"", b"a", "é".encode(), b"\n", b"x" * 300, b"last"], np.object_)
    dtype = client_type(datatype)
    if datatype in ("BF16", "FP16", "FP32", "FP64"):
        most = float(ml_dtypes.finfo(dtype).max)  # type: ignore[no-untyped-call]  # it has no types
        return np.array([0, -0.0, 1.5, -most, np.inf, np.nan], dtype)
    limits = np.iinfo(dtype)  # type: ignore[type-var]  # it is one of whole numbers
    return np.array([limits.min, limits.max, 0, 1, 2, 3], dtype)


def client_type(datatype: str) -> np.dtype[np.generic]:
    """The numpy type with which the clients send and give a datatype."""
    found: np.dtype[np.generic] = np.dtype(triton_to_np_dtype(datatype))
    return found


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    repository = tmp_path_factory.mktemp("repository")
    for datatype, element in ELEMENTS.items():
        for kind, shape in SHAPES.items():
            identity(repository / f"{datatype}-{kind}" / "1" / "model.onnx", shape, element)
    reshaped(repository / "reshaped" / "1" / "model.onnx")
    for name in REFUSED:
        write(ALL[name], repository, name)
    with open_doors(repository) as opened:
        yield opened


def same(answer: Array, sent: Array) -> None:
    assert (answer.dtype, answer.shape) == (sent.dtype, sent.shape)
    if sent.dtype.kind == "O":
        assert answer.tolist() == sent.tolist()
    else:
        assert answer.tobytes() == sent.tobytes()


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("datatype", ELEMENTS)
def test_values_come_back_as_they_went(doors: Doors, door: str, datatype: str, kind: str) -> None:
    if kind == "single":
        for value in values(datatype):
            sent = np.empty((), client_type(datatype))
            sent[()] = value
            same(doors.infer(door, f"{datatype}-{kind}", {"x": sent})["y"], sent)
        return
    sent = values(datatype).reshape(SENT[kind])
    same(doors.infer(door, f"{datatype}-{kind}", {"x": sent})["y"], sent)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("datatype", ELEMENTS)
def test_a_dimension_may_be_empty(doors: Doors, door: str, datatype: str) -> None:
    sent = np.empty((2, 0), client_type(datatype))
    same(doors.infer(door, f"{datatype}-table", {"x": sent})["y"], sent)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("shape", [(6,), (2, 3), (1, 2, 3, 1)])
def test_an_output_may_leave_its_rank_open(doors: Doors, door: str, shape: tuple[int, ...]) -> None:
    sent = np.arange(6, dtype=np.float32)
    answer = doors.infer(door, "reshaped", {"x": sent, "s": np.array(shape, np.int64)})["y"]
    same(answer, sent.reshape(shape))


@pytest.mark.parametrize("door", DOORS)
def test_a_batch_may_not_be_empty(doors: Doors, door: str) -> None:
    with pytest.raises(InferenceServerException, match="the batch has 0 rows"):
        doors.infer(door, "FP32-list", {"x": np.empty(0, np.float32)})


@pytest.mark.parametrize("name", REFUSED)
async def test_the_reason_names_the_type(name: str, tmp_path: Path) -> None:
    if reason := refusal(name):
        pytest.skip(f"the test is newer than this ONNX Runtime: {reason}")
    write(ALL[name], tmp_path, name)
    service = LocalModelService(ModelRepository([tmp_path]), name)
    await service.load()
    assert f"is a {REFUSED[name]}; only tensor(bool), " in service.reason
    await service.close()


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_protocol_has_no_name_for_is_not_served(doors: Doors, name: str) -> None:
    assert not doors.http.is_model_ready(name)
    assert not doors.grpc.is_model_ready(name)
    for door in DOORS:
        with pytest.raises(InferenceServerException, match="is failed"):
            doors.infer(door, name, {"x": np.empty(0, np.float32)})
    assert doors.http.is_model_ready("FP32-list"), "the others are served"
