"""The ONNX files that every server is measured with, in a repository of our own form.

Their weights are random: what a model answers does not matter here, only that every server answers
the same, and what the arithmetic costs.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from benchmarks.peers.session import open_session

ZOO = Path(__file__).resolve().parents[1] / "models" / "zoo"
OPSET = 17
IR_VERSION = 8

# Expansion, channels, repeats, first stride of each stage: table 2 of Sandler et al., "MobileNetV2:
# Inverted Residuals and Linear Bottlenecks", 2018.
_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


@dataclass(frozen=True)
class BenchmarkModel:
    """A model of the repository, one request to it, and what a correct server answers.

    `sample` has the batch dimension, of size 1; `expected` is the output that bare ONNX Runtime
    computes from it.
    """

    name: str
    file: Path
    input: str
    output: str
    sample: NDArray[np.generic]
    expected: NDArray[np.generic]


def build_repository(directory: Path) -> dict[str, BenchmarkModel]:
    """Write every model below `directory` and say how each is called; the same bytes each time."""
    _save(directory, "mlp", _mlp())
    for name in ("cnn", "cnn-uint8", "cnn-small"):
        _save(directory, name, _mobilenet(name))
    target = directory / "digits"
    shutil.copytree(ZOO / "digits", target)
    names = sorted(entry.name for entry in directory.iterdir())
    return {name: _described(name, directory / name / "1" / "model.onnx") for name in names}


def large_model(directory: Path, name: str, megabytes: int) -> Path:
    """A model of one matrix with this many megabytes (10^6 bytes) of weights."""
    side = int((megabytes * 1e6 / 4) ** 0.5)
    graph = _Graph(seed=3)
    graph.node("MatMul", ["x", graph.weights("w", (side, side), side)], "y")
    return _save(directory, name, graph.model(("x", TensorProto.FLOAT, ["N", side]), ["N", side]))


def _save(directory: Path, name: str, model: onnx.ModelProto) -> Path:
    file = directory / name / "1" / "model.onnx"
    file.parent.mkdir(parents=True)
    onnx.checker.check_model(model)
    onnx.save(model, file)
    return file


def _described(name: str, file: Path) -> BenchmarkModel:
    session: ort.InferenceSession = open_session(file)
    wanted, answered = session.get_inputs()[0], session.get_outputs()[0]
    shape = [size if isinstance(size, int) else 1 for size in wanted.shape]
    random = np.random.default_rng(1)
    sample: NDArray[np.generic] = (
        random.integers(0, 256, shape, np.uint8)
        if wanted.type == "tensor(uint8)"
        else random.random(shape, np.float32).round(4)
    )
    (expected,) = session.run([answered.name], {wanted.name: sample})
    return BenchmarkModel(name, file, wanted.name, answered.name, sample, expected)


class _Graph:
    """Collects nodes and seeded weights."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []

    def weights(self, name: str, shape: tuple[int, ...], fan_in: int) -> str:
        """He initialisation, so that values neither vanish nor overflow through the layers."""
        values = self._random.standard_normal(shape, np.float32) * np.float32((2 / fan_in) ** 0.5)
        return self.constant(name, values)

    def constant(self, name: str, values: NDArray[np.generic]) -> str:
        self._weights.append(numpy_helper.from_array(values, name))
        return name

    def node(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self._nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def convolution(
        self, x: str, name: str, channels: tuple[int, int], kernel: int, stride: int, group: int = 1
    ) -> str:
        inputs, outputs = channels
        shape = (outputs, inputs // group, kernel, kernel)
        weights = self.weights(f"{name}.w", shape, inputs // group * kernel * kernel)
        bias = self.constant(f"{name}.b", np.zeros(outputs, np.float32))
        pads = [kernel // 2] * 4
        strides = [stride, stride]
        return self.node(
            "Conv", [x, weights, bias], name, pads=pads, strides=strides, group=group,
            kernel_shape=[kernel, kernel],
        )  # fmt: skip

    def relu6(self, x: str) -> str:
        return self.node("Clip", [x, "zero", "six"], f"{x}.relu")

    def model(self, x: tuple[str, int, list[str | int]], y: list[str | int]) -> onnx.ModelProto:
        graph = helper.make_graph(
            self._nodes,
            "benchmark",
            [helper.make_tensor_value_info(*x)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, y)],
            self._weights,
        )
        opsets = [helper.make_opsetid("", OPSET)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)


def _mlp() -> onnx.ModelProto:
    """16 -> 32 -> 4: a model of microseconds, so that what is measured is the server."""
    graph = _Graph(seed=1)
    graph.node("MatMul", ["x", graph.weights("w1", (16, 32), 16)], "h")
    graph.node("Relu", ["h"], "r")
    graph.node("MatMul", ["r", graph.weights("w2", (32, 4), 32)], "l")
    graph.node("Softmax", ["l"], "y", axis=1)
    return graph.model(("x", TensorProto.FLOAT, ["N", 16]), ["N", 4])


def _mobilenet(variant: str) -> onnx.ModelProto:
    """MobileNetV2 at width 1, 300 million multiply-adds for a picture of 224x224.

    `cnn` takes normalised floats, NCHW. `cnn-uint8` takes pixels, NHWC, and normalises them itself.
    `cnn-small` is the same for 32x32 pixels that it enlarges itself: the same arithmetic behind a
    request of a few kilobytes.
    """
    graph = _Graph(seed=2)
    graph.constant("zero", np.array(0, np.float32))
    graph.constant("six", np.array(6, np.float32))
    if variant == "cnn":
        x: tuple[str, int, list[str | int]] = ("x", TensorProto.FLOAT, ["N", 3, 224, 224])
        layer = "x"
    else:
        side = 32 if variant == "cnn-small" else 224
        x = ("x", TensorProto.UINT8, ["N", side, side, 3])
        layer = _normalised(graph, enlarged_by=224 // side)
    layer = graph.relu6(graph.convolution(layer, "stem", (3, 32), 3, 2))
    channels = 32
    for stage, (expansion, width, repeats, first_stride) in enumerate(_STAGES):
        for index in range(repeats):
            stride = first_stride if index == 0 else 1
            name = f"block{stage}.{index}"
            layer = _block(graph, layer, name, (channels, width), expansion, stride)
            channels = width
    layer = graph.relu6(graph.convolution(layer, "head", (320, 1280), 1, 1))
    graph.node("GlobalAveragePool", [layer], "pooled")
    graph.node("Flatten", ["pooled"], "features")
    graph.node("MatMul", ["features", graph.weights("classes", (1280, 1000), 1280)], "logits")
    graph.node("Softmax", ["logits"], "y", axis=1)
    return graph.model(x, ["N", 1000])


def _normalised(graph: _Graph, enlarged_by: int) -> str:
    graph.node("Cast", ["x"], "pixels", to=TensorProto.FLOAT)
    graph.node("Div", ["pixels", graph.constant("half", np.array(127.5, np.float32))], "scaled")
    graph.node("Sub", ["scaled", graph.constant("one", np.array(1, np.float32))], "normalised")
    graph.node("Transpose", ["normalised"], "nchw", perm=[0, 3, 1, 2])
    if enlarged_by == 1:
        return "nchw"
    scales = graph.constant("scales", np.array([1, 1, enlarged_by, enlarged_by], np.float32))
    return graph.node("Resize", ["nchw", "", scales], "enlarged", mode="nearest")


def _block(
    graph: _Graph, x: str, name: str, channels: tuple[int, int], expansion: int, stride: int
) -> str:
    """An inverted residual: widen, filter each channel, narrow; added to `x` where shapes agree."""
    inputs, outputs = channels
    hidden = inputs * expansion
    layer = x
    if expansion > 1:
        layer = graph.relu6(graph.convolution(layer, f"{name}.widen", (inputs, hidden), 1, 1))
    layer = graph.convolution(layer, f"{name}.depth", (hidden, hidden), 3, stride, group=hidden)
    layer = graph.convolution(graph.relu6(layer), f"{name}.narrow", (hidden, outputs), 1, 1)
    if stride == 1 and inputs == outputs:
        layer = graph.node("Add", [x, layer], f"{name}.sum")
    return layer
