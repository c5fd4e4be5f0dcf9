"""The `onnx` package's node tests as data: a model of one operator, inputs, expected outputs."""

import warnings
from functools import cache
from pathlib import Path

import numpy as np
from onnx import TensorProto, numpy_helper
from onnxruntime import InferenceSession
from onnxruntime.capi.onnxruntime_pybind11_state import Fail
from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented as Unimplemented

from app.types import Array

with warnings.catch_warnings():
    warnings.simplefilter("ignore", RuntimeWarning)  # its own reference computations overflow
    from onnx.backend.test.case.test_case import TestCase
    from onnx.backend.test.loader import load_model_tests

    ALL = {case.name.removeprefix("test_"): case for case in load_model_tests(kind="node")}


def operator(case: TestCase) -> str:
    """The operator a case is about; nothing for a model of several."""
    if case.model is None or len(case.model.graph.node) != 1:
        return ""
    return str(case.model.graph.node[0].op_type)


def write(case: TestCase, repository: Path, name: str) -> None:
    """The case's model as a repository has it: one file, and no `model.yaml`."""
    assert case.model is not None
    (repository / name / "1").mkdir(parents=True)
    (repository / name / "1" / "model.onnx").write_bytes(case.model.SerializeToString())


@cache
def refusal(name: str) -> str:
    """Why the installed ONNX Runtime itself cannot read a case newer than it is, or nothing."""
    case = ALL[name]
    assert case.model is not None
    try:
        InferenceSession(case.model.SerializeToString(), providers=["CPUExecutionProvider"])
    except (Fail, Unimplemented) as error:
        return str(error)
    return ""


def array_of(value: object) -> Array:
    """A tensor of a data set, text as `bytes`."""
    if isinstance(value, TensorProto):
        value = numpy_helper.to_array(value)
    array = np.asarray(value)
    if array.dtype.kind not in "OSU":
        return array
    encoded = np.empty(array.shape, np.object_)
    encoded.ravel()[:] = [
        item if isinstance(item, bytes) else str(item).encode() for item in array.ravel()
    ]
    return encoded


def agree(answer: Array, wanted: Array, rtol: float, atol: float) -> None:
    """Raises AssertionError if they differ in type or shape, or by more than is tolerated."""
    assert (answer.dtype, answer.shape) == (wanted.dtype, wanted.shape)
    if wanted.dtype.kind == "O":
        assert answer.tolist() == wanted.tolist()
        return
    left, right = answer.astype(np.float64), wanted.astype(np.float64)
    np.testing.assert_allclose(left, right, rtol=rtol, atol=atol)
