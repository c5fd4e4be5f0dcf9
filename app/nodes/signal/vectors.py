"""Nodes between readings of sensors and classifiers: vectors in, class scores out."""

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from pydantic import Field

from app.errors import InvalidInput
from app.interfaces import NodeContext
from app.nodes.flow.function import register_function
from app.registry import NODES, ComponentConfig
from app.types import Array, ClassScore, Message, Tensors

ENVIRONMENT_FIELDS = ("co2_ppm", "temperature", "humidity", "pressure", "voc")


class VectorConfig(ComponentConfig):
    """`fields` are the keys of the reading, in the order of the model's input."""

    fields: tuple[str, ...] = Field(default=ENVIRONMENT_FIELDS, min_length=1)


def vector_to_tensor(config: VectorConfig, reading: object) -> Tensors:
    """One row, float32 (1, number of fields), for the only input of a model.

    Raises InvalidInput, naming the field, for one that is missing, no number, or not finite.
    """
    if not isinstance(reading, Mapping):
        raise InvalidInput(f"a reading must be a JSON object, not {type(reading).__name__}")
    row = [_number(reading, name) for name in config.fields]
    return Tensors({"": np.asarray([row], dtype=np.float32)})


def _number(reading: Mapping[object, object], name: str) -> float:
    if name not in reading:
        raise InvalidInput(f"field {name!r} is missing")
    value = reading[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidInput(f"field {name!r} must be a number, not {type(value).__name__}")
    # 1e39 is finite here and infinite as a float32.
    if not math.isfinite(value) or abs(value) > float(np.finfo(np.float32).max):
        raise InvalidInput(f"field {name!r} must be a finite number")
    return float(value)


class SoftmaxTopkConfig(ComponentConfig):
    """`labels` name the classes; where absent they are those of `model`, else "0", "1", ...

    `output` names the tensor to read; where absent it is the only one of floating point.
    """

    k: int = Field(default=5, ge=1)
    labels: tuple[str, ...] | None = None
    model: str | None = None
    output: str | None = None


class SoftmaxTopk:
    """The `k` most probable classes of one classified row, best first: a list of ClassScore.

    A row that is already a distribution (nothing negative, sum 1 within 0.001) is taken as it is;
    anything else is taken for logits and gets a softmax. Equal scores keep the order of classes.
    Raises InvalidInput for anything but one row.
    """

    def __init__(self, config: SoftmaxTopkConfig, context: NodeContext) -> None:
        self._config = config
        self._context = context
        self._labels = config.labels

    async def open(self) -> None:
        """Nothing to open: the model's labels are asked for when the first message comes."""

    async def process(self, message: Message) -> Message | None:
        name, scores = _scores(self._context.value(message), self._config.output)
        if self._labels is None:
            self._labels = await self._labels_of_model(name)
        best = np.argsort(-scores, kind="stable")[: self._config.k]
        result = [ClassScore(self._label(int(index)), float(scores[index])) for index in best]
        return message.with_result(self._context.id, result)

    async def close(self) -> None:
        """Nothing to close."""

    async def _labels_of_model(self, output: str) -> tuple[str, ...]:
        if self._config.model is None:
            return ()
        labels = (await self._context.model(self._config.model).metadata()).labels
        if output in labels:
            return labels[output]
        return next(iter(labels.values())) if len(labels) == 1 else ()

    def _label(self, index: int) -> str:
        labels = self._labels or ()
        return labels[index] if index < len(labels) else str(index)


def _scores(value: object, output: str | None) -> tuple[str, npt.NDArray[np.float64]]:
    if not isinstance(value, Tensors):
        raise InvalidInput(f"needs the tensors of a classifier, not {type(value).__name__}")
    name = _output_name(value.arrays, output)
    row = np.asarray(value.arrays[name], dtype=np.float64)
    row = row[0] if row.ndim == 2 and row.shape[0] == 1 else row
    if row.ndim != 1 or row.size == 0:
        raise InvalidInput(f"output {name!r} must be one row, not of shape {row.shape}")
    if not np.isfinite(row).all():
        raise InvalidInput(f"output {name!r} is not finite")
    if (row >= 0).all() and abs(float(row.sum()) - 1.0) <= 1e-3:
        return name, row
    powers = np.exp(row - row.max())
    return name, powers / powers.sum()


def _output_name(arrays: Mapping[str, Array], output: str | None) -> str:
    there = ", ".join(sorted(arrays)) or "none"
    if output is not None:
        if output not in arrays:
            raise InvalidInput(f"there is no output {output!r}; there are: {there}")
        return output
    floating = [name for name, array in arrays.items() if array.dtype.kind == "f"]
    if len(floating) != 1:
        raise InvalidInput(f"`output` must say which of these holds the scores: {there}")
    return floating[0]


register_function("env.vector_to_tensor", VectorConfig, vector_to_tensor, blocking=False)
NODES.register("env.softmax_topk", SoftmaxTopkConfig, SoftmaxTopk)
