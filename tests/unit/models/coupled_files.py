"""Small ONNX files whose rows depend on one another, and some whose rows do not."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from app.types import Array
from tests.unit.models.onnx_files import Shape, _save

Writer = Callable[[Path], Path]

_RANDOM = np.random.default_rng(3)


def _graph(
    path: Path,
    nodes: Sequence[NodeProto],
    shape: Shape,
    answer: Shape,
    constants: Mapping[str, Array] | None = None,
    *,
    element: int = TensorProto.FLOAT,
    answered: int = TensorProto.FLOAT,
) -> Path:
    x = helper.make_tensor_value_info("x", element, shape)
    y = helper.make_tensor_value_info("y", answered, answer)
    kept = [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()]
    return _save(helper.make_graph(nodes, "coupled", [x], [y], kept), path, {})


def _floats(*shape: int) -> Array:
    return _RANDOM.standard_normal(shape).astype(np.float32)


def running_sum(path: Path) -> Path:
    """`x` is [samples]; answers the sum so far."""
    nodes = [helper.make_node("CumSum", ["x", "axis"], ["y"])]
    return _graph(path, nodes, ("samples",), ("samples",), {"axis": np.array(0, np.int64)})


def centred(path: Path) -> Path:
    """Takes the mean over the first dimension off."""
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[0]),
        helper.make_node("Sub", ["x", "mean"], ["y"]),
    ]
    return _graph(path, nodes, ("batch", 3), ("batch", 3))


def sequence_first(path: Path) -> Path:
    """An LSTM in torch's default layout: [time, batch, 3]."""
    constants = {"w": _floats(1, 8, 3), "r": _floats(1, 8, 2)}
    nodes = [
        helper.make_node("LSTM", ["x", "w", "r"], ["all"], hidden_size=2),
        helper.make_node("Squeeze", ["all", "one"], ["y"]),
    ]
    constants["one"] = np.array([1], np.int64)
    return _graph(path, nodes, ("time", "batch", 3), ("time", "batch", 2), constants)


def tagger(path: Path) -> Path:
    """`x` is [tokens]: each is embedded and answered with its neighbours on both sides."""
    nodes = [
        helper.make_node("Gather", ["table", "x"], ["embedded"]),
        helper.make_node("Transpose", ["embedded"], ["across"], perm=[1, 0]),
        helper.make_node("Unsqueeze", ["across", "first"], ["one"]),
        helper.make_node("Conv", ["one", "kernel"], ["seen"], pads=[1, 1]),
        helper.make_node("Squeeze", ["seen", "first"], ["back"]),
        helper.make_node("Transpose", ["back"], ["y"], perm=[1, 0]),
    ]
    constants: dict[str, Array] = {
        "table": _floats(8, 4),
        "kernel": _floats(5, 4, 3),
        "first": np.array([0], np.int64),
    }
    return _graph(path, nodes, ("tokens",), ("tokens", 5), constants, element=TensorProto.INT64)


def dynamically_quantised(path: Path) -> Path:
    """A dense layer whose input is quantised with one scale for all rows."""
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["small", "scale", "zero"]),
        helper.make_node("MatMulInteger", ["small", "w", "zero"], ["whole"]),
        helper.make_node("Cast", ["whole"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["float", "scale"], ["y"]),
    ]
    weights = _RANDOM.integers(-9, 9, (3, 2)).astype(np.int8)
    return _graph(path, nodes, ("batch", 3), ("batch", 2), {"w": weights})


def loudest(path: Path) -> Path:
    """Rows are cut where they are a hundred times smaller than the largest of the batch."""
    nodes = [
        helper.make_node("Abs", ["x"], ["size"]),
        helper.make_node("ReduceMax", ["size"], ["most"], keepdims=0),
        helper.make_node("Mul", ["most", "part"], ["least"]),
        helper.make_node("Greater", ["size", "least"], ["heard"]),
        helper.make_node("Where", ["heard", "x", "nothing"], ["y"]),
    ]
    constants: dict[str, Array] = {
        "part": np.array(0.01, np.float32),
        "nothing": np.array(0, np.float32),
    }
    return _graph(path, nodes, ("batch", 1), ("batch", 1), constants)


def noisy(path: Path) -> Path:
    """Answers the same otherwise each time."""
    nodes = [
        helper.make_node("RandomNormalLike", ["x"], ["noise"]),
        helper.make_node("Add", ["x", "noise"], ["y"]),
    ]
    return _graph(path, nodes, ("batch", 3), ("batch", 3))


def dense(path: Path) -> Path:
    """Two wide layers and a softmax."""
    constants = {"w": _floats(64, 512), "v": _floats(512, 7)}
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["wide"]),
        helper.make_node("Relu", ["wide"], ["kept"]),
        helper.make_node("MatMul", ["kept", "v"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["y"], axis=1),
    ]
    return _graph(path, nodes, ("batch", 64), ("batch", 7), constants)


def pictures(path: Path) -> Path:
    """Convolutions over pictures of any size, then a mean over each."""
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["seen"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["seen"], ["kept"]),
        helper.make_node("GlobalAveragePool", ["kept"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["y"]),
    ]
    shape = ("batch", 3, "height", "width")
    return _graph(path, nodes, shape, ("batch", 16), {"k": _floats(16, 3, 3, 3)})


def batch_first(path: Path) -> Path:
    """An LSTM over [batch, time, 3]."""
    constants = {"w": _floats(1, 8, 3), "r": _floats(1, 8, 2)}
    nodes = [
        helper.make_node("Transpose", ["x"], ["turned"], perm=[1, 0, 2]),
        helper.make_node("LSTM", ["turned", "w", "r"], ["", "last"], hidden_size=2),
        helper.make_node("Squeeze", ["last", "zero"], ["y"]),
    ]
    constants["zero"] = np.array([0], np.int64)
    return _graph(path, nodes, ("batch", "time", 3), ("batch", 2), constants)


def embedded(path: Path) -> Path:
    """Whole numbers, looked up and added."""
    nodes = [
        helper.make_node("Gather", ["table", "x"], ["rows"]),
        helper.make_node("ReduceMean", ["rows"], ["y"], axes=[1], keepdims=0),
    ]
    shape = ("batch", "words")
    table = {"table": _floats(8, 4)}
    return _graph(path, nodes, shape, ("batch", 4), table, element=TensorProto.INT64)


COUPLED: tuple[Writer, ...] = (
    *(running_sum, centred, sequence_first, tagger),
    *(dynamically_quantised, loudest),
)
INDEPENDENT: tuple[Writer, ...] = (dense, pictures, batch_first, embedded)
