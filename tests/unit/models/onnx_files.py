"""Small ONNX files, made for one test each."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from app.types import Array

Shape = Sequence[int | str | None]


def identity(
    path: Path,
    shape: Shape = ("batch", 3),
    element: int = TensorProto.FLOAT,
    output_shape: Shape | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """A model that answers its input `x` as `y`."""
    x = helper.make_tensor_value_info("x", element, shape)
    y = helper.make_tensor_value_info("y", element, output_shape or shape)
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "identity", [x], [y])
    return _save(graph, path, metadata or {})


def with_external_data(path: Path, location: str) -> Path:
    """A model that adds a tensor of three floats, kept at `location`, to its input."""
    tensor = numpy_helper.from_array(np.array([1, 2, 3], np.float32), "w")
    onnx.external_data_helper.set_external_data(tensor, location)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ("batch", 3))
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ("batch", 3))
    add = helper.make_node("Add", ["x", "w"], ["y"])
    return _save(helper.make_graph([add], "add", [x], [y], [tensor]), path, {})


def with_hidden_external_data(path: Path, location: str) -> Path:
    """As above, the tensor being an attribute of a node inside a branch of an `If`."""
    tensor = numpy_helper.from_array(np.array([1, 2, 3], np.float32), "w")
    onnx.external_data_helper.set_external_data(tensor, location)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, (3,))
    constant = helper.make_node("Constant", [], ["out"], value=tensor)
    branch = helper.make_graph([constant], "branch", [], [out])
    x = helper.make_tensor_value_info("x", TensorProto.BOOL, ())
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, (3,))
    node = helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch)
    return _save(helper.make_graph([node], "choice", [x], [y]), path, {})


def numbered(
    path: Path,
    number: int,
    inputs: Sequence[str] = ("x",),
    shape: Shape = ("batch", 3),
    opset: int = 17,
) -> Path:
    """A model that answers `y` = `number` times the first of its inputs, and `version` = `number`.

    All are FP32 in `shape`, `version` as well.
    """
    values = {
        name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name in (*inputs, "y", "version")
    }
    factor = numpy_helper.from_array(np.array([number], np.float32), "factor")
    zero = numpy_helper.from_array(np.array([0], np.float32), "zero")
    nodes = [
        helper.make_node("Mul", [inputs[0], "factor"], ["y"]),
        helper.make_node("Mul", [inputs[-1], "zero"], ["zeros"]),
        helper.make_node("Add", ["zeros", "factor"], ["version"]),
    ]
    outputs = [values["y"], values["version"]]
    sources = [values[name] for name in inputs]
    graph = helper.make_graph(nodes, "numbered", sources, outputs, [factor, zero])
    return _save(graph, path, {}, opset)


def dense(path: Path, weights: Array) -> Path:
    """A model that answers `y` = `x` times `weights`, a matrix; both are FP32."""
    rows, columns = weights.shape
    tensor = numpy_helper.from_array(weights.astype(np.float32), "w")
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ("batch", rows))
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ("batch", columns))
    multiply = helper.make_node("MatMul", ["x", "w"], ["y"])
    return _save(helper.make_graph([multiply], "dense", [x], [y], [tensor]), path, {"a": "b"})


def lookup(path: Path, size: int = 8) -> Path:
    """A model that answers 10 times its input `x`, (batch, 1) INT64, and fails outside `size`."""
    table = numpy_helper.from_array(np.arange(size, dtype=np.int64) * 10, "table")
    x = helper.make_tensor_value_info("x", TensorProto.INT64, ("batch", 1))
    y = helper.make_tensor_value_info("y", TensorProto.INT64, ("batch", 1))
    gather = helper.make_node("Gather", ["table", "x"], ["y"])
    return _save(helper.make_graph([gather], "lookup", [x], [y], [table]), path, {})


def counting(path: Path) -> Path:
    """A model that counts to its input `x`, (1,) INT64, one by one, and answers that as `y`."""
    number = {
        name: helper.make_tensor_value_info(name, TensorProto.INT64, ())
        for name in ("turn", "before", "after")
    }
    flags = {
        name: helper.make_tensor_value_info(name, TensorProto.BOOL, ()) for name in ("go", "on")
    }
    one = numpy_helper.from_array(np.int64(1), "one")
    body = helper.make_graph(
        [
            helper.make_node("Add", ["before", "one"], ["after"]),
            helper.make_node("Identity", ["go"], ["on"]),
        ],
        "body",
        [number["turn"], flags["go"], number["before"]],
        [flags["on"], number["after"]],
        [one],
    )
    x = helper.make_tensor_value_info("x", TensorProto.INT64, (1,))
    y = helper.make_tensor_value_info("y", TensorProto.INT64, ())
    zero = numpy_helper.from_array(np.int64(0), "zero")
    none = numpy_helper.from_array(np.array([], np.int64), "none")
    nodes = [
        helper.make_node("Reshape", ["x", "none"], ["count"]),
        helper.make_node("Loop", ["count", "", "zero"], ["y"], body=body),
    ]
    return _save(helper.make_graph(nodes, "counting", [x], [y], [zero, none]), path, {})


def reshaped(path: Path) -> Path:
    """A model that answers `y`, its input `x` in the shape `s`: the rank of `y` is not known."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, (6,))
    s = helper.make_tensor_value_info("s", TensorProto.INT64, ("rank",))
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    reshape = helper.make_node("Reshape", ["x", "s"], ["y"])
    return _save(helper.make_graph([reshape], "reshaped", [x, s], [y]), path, {})


def claims_shape(path: Path) -> Path:
    """A model that answers `x`, (batch, 3) FP32, as `y`, of which it says that it is (batch, 5)."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ("batch", 3))
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ("batch", 5))
    # What the shape is made of keeps shape inference from refusing the file.
    nodes = [
        helper.make_node("Shape", ["x"], ["sizes"]),
        helper.make_node("Mul", ["sizes", "ones"], ["same"]),
        helper.make_node("Reshape", ["x", "same"], ["y"]),
    ]
    ones = numpy_helper.from_array(np.array([1, 1], np.int64), "ones")
    return _save(helper.make_graph(nodes, "claims", [x], [y], [ones]), path, {})


def lower_case(path: Path, locale: str) -> Path:
    """A model that answers the texts of `x`, (n,), in lower case, by the rules of `locale`."""
    x = helper.make_tensor_value_info("x", TensorProto.STRING, ("n",))
    y = helper.make_tensor_value_info("y", TensorProto.STRING, ("n",))
    node = helper.make_node(
        "StringNormalizer", ["x"], ["y"], case_change_action="LOWER", locale=locale
    )
    return _save(helper.make_graph([node], "lower", [x], [y]), path, {})


def never_runs(path: Path) -> Path:
    """A model that loads, and fails at every run."""
    seven = numpy_helper.from_array(np.array([7], np.int64), "seven")
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ("batch", 3))
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ("n",))
    reshape = helper.make_node("Reshape", ["x", "seven"], ["y"])
    return _save(helper.make_graph([reshape], "never", [x], [y], [seven]), path, {})


def positive(path: Path) -> Path:
    """A model that answers the rows of `x`, (batch, 3) FP32, whose first number is above zero.

    How many these are has no name in the file, as an exporter may leave it.
    """
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ("batch", 3))
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, (None, 3))
    zero = numpy_helper.from_array(np.array(0, np.float32), "zero")
    first = numpy_helper.from_array(np.array(0, np.int64), "first")
    nodes = [
        helper.make_node("Gather", ["x", "first"], ["numbers"], axis=1),
        helper.make_node("Greater", ["numbers", "zero"], ["kept"]),
        helper.make_node("Compress", ["x", "kept"], ["y"], axis=0),
    ]
    return _save(helper.make_graph(nodes, "positive", [x], [y], [zero, first]), path, {})


def suppressed(path: Path) -> Path:
    """A model that answers which of `boxes` are chosen by their `scores`: rows of three numbers."""
    boxes = helper.make_tensor_value_info("boxes", TensorProto.FLOAT, ("batch", 6, 4))
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ("batch", 1, 6))
    y = helper.make_tensor_value_info("y", TensorProto.INT64, (None, 3))
    most = numpy_helper.from_array(np.array([6], np.int64), "most")
    node = helper.make_node("NonMaxSuppression", ["boxes", "scores", "most"], ["y"])
    return _save(helper.make_graph([node], "nms", [boxes, scores], [y], [most]), path, {})


def classifier(path: Path, classes: Sequence[int | str]) -> Path:
    """Logistic regression over two features, as scikit-learn's exports end: label and ZipMap."""
    kind = "ints" if isinstance(classes[0], int) else "strings"
    element = TensorProto.INT64 if kind == "ints" else TensorProto.STRING
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, (None, 2))
    label = helper.make_tensor_value_info("output_label", element, (None,))
    value = helper.make_tensor_type_proto(TensorProto.FLOAT, [])
    maps = helper.make_sequence_type_proto(helper.make_map_type_proto(element, value))
    told = helper.make_value_info("output_probability", maps)
    linear = helper.make_node(
        "LinearClassifier",
        ["x"],
        ["output_label", "p"],
        domain="ai.onnx.ml",
        coefficients=[1.0, 0.0, 0.0, 1.0, -1.0, -1.0],
        intercepts=[0.0, 0.1, 0.2],
        post_transform="SOFTMAX",
    )
    linear.attribute.append(helper.make_attribute(f"classlabels_{kind}", list(classes)))
    named = "classlabels_int64s" if kind == "ints" else "classlabels_strings"
    zipped = helper.make_node("ZipMap", ["p"], ["output_probability"], domain="ai.onnx.ml")
    zipped.attribute.append(helper.make_attribute(named, list(classes)))
    graph = helper.make_graph([linear, zipped], "classifier", [x], [label, told])
    return _save(graph, path, {})


def _save(graph: onnx.GraphProto, path: Path, metadata: Mapping[str, str], opset: int = 17) -> Path:
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, ir_version=8, opset_imports=opsets)
    helper.set_model_props(model, dict(metadata))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString())
    return path
