"""The `onnx` package's own node tests, for the operators that Manta promises to serve.

Each case is a model of one operator with inputs and expected outputs; the model is loaded from a
file as any other, and run by the runtime.
"""

import warnings
from pathlib import Path

import numpy as np
import pytest

from app.types import Array
from models.config import ModelConfig
from models.runtimes.onnx import OnnxModel

with warnings.catch_warnings():
    warnings.simplefilter("ignore", RuntimeWarning)  # its own reference computations overflow
    from onnx.backend.test.case.test_case import TestCase
    from onnx.backend.test.loader import load_model_tests

    ALL = load_model_tests(kind="node")

OPERATORS = frozenset(
    {
        *("Add", "Sub", "Mul", "Div", "MatMul", "Relu", "Sigmoid", "Tanh", "Softmax"),
        *("MaxPool", "AveragePool", "BatchNormalization", "LayerNormalization"),
        *("Reshape", "Transpose", "Squeeze", "Conv"),
    }
)


def operator(case: TestCase) -> str:
    """The operator a case is about; nothing for a model of several."""
    if case.model is None or len(case.model.graph.node) != 1:
        return ""
    return case.model.graph.node[0].op_type


CASES = [case for case in ALL if operator(case) in OPERATORS]


def test_every_operator_has_cases() -> None:
    assert {operator(case) for case in CASES} == OPERATORS


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.removeprefix("test_"))
def test_the_runtime_answers_as_expected(case: TestCase, tmp_path: Path) -> None:
    assert case.model is not None
    model = loaded(case.model.SerializeToString(), tmp_path)
    names = [spec.name for spec in model.metadata.inputs]
    for inputs, expected in case.data_sets or ():
        answers = model.predict(dict(zip(names, map(np.asarray, inputs), strict=True)))
        for answer, wanted in zip(answers.values(), expected, strict=True):
            agree(answer, np.asarray(wanted), case)


def loaded(content: bytes, directory: Path) -> OnnxModel:
    (directory / "model.onnx").write_bytes(content)
    model = OnnxModel(
        ModelConfig(name="case", directory=directory, versions={"1": "model.onnx"}), "1"
    )
    model.load()
    return model


def agree(answer: Array, wanted: Array, case: TestCase) -> None:
    assert answer.dtype == wanted.dtype
    assert answer.shape == wanted.shape
    left, right = answer.astype(np.float64), wanted.astype(np.float64)
    np.testing.assert_allclose(left, right, rtol=case.rtol, atol=case.atol)
