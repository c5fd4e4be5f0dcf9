"""The vocabulary of Manta: what flows through models and pipelines.

Everything here is frozen and may be shared between tasks, threads and, pickled, processes.
Arrays are shared, never copied: whoever receives one must not write to it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[np.generic]
Arrays: TypeAlias = Mapping[str, Array]
JsonValue: TypeAlias = "str | int | float | bool | list[JsonValue] | Mapping[str, JsonValue] | None"


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output of a model.

    `datatype` is an Open Inference Protocol name (`FP32`, `UINT8`, `BYTES`, ...).
    `shape` includes the batch dimension where the model has one; -1 stands for any size.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ModelMetadata:
    """What a caller may know of a model.

    `max_batch_size` 0 means that requests are never stacked: the first dimension of the inputs is
    then no batch dimension, or is fixed. Otherwise the first dimension of every input and output
    is the batch, at most that long in one run. `provider` is what runs it, in the runtime's words.
    """

    name: str
    versions: tuple[str, ...]
    platform: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    max_batch_size: int = 0
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    provider: str = ""


@dataclass(frozen=True, slots=True)
class Duration:
    """How often something happened, and how long it took in all, in nanoseconds."""

    count: int = 0
    nanoseconds: int = 0


@dataclass(frozen=True, slots=True)
class ModelStatistics:
    """What was counted of one version since it was loaded.

    `inferences` counts rows, `executions` runs of the model. `last_inference` is in Unix
    milliseconds, 0 before the first. `batches` holds the runs by their number of rows. Counters
    of the reasons why a request got no answer are in `dropped`.
    """

    name: str
    version: str
    last_inference: int = 0
    inferences: int = 0
    executions: int = 0
    success: Duration = Duration()
    fail: Duration = Duration()
    queue: Duration = Duration()
    compute: Duration = Duration()
    batches: Mapping[int, Duration] = field(default_factory=dict)
    dropped: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelState:
    """One line of the repository index; `state` is READY, UNAVAILABLE, LOADING or UNLOADING."""

    name: str
    version: str
    state: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class InferenceRequest:
    """One call of one model.

    `version` None means the newest ready one. `outputs` empty means all of them.
    `deadline` is in seconds of this process's monotonic clock; None means no limit.
    """

    model: str
    inputs: Arrays
    version: str | None = None
    id: str | None = None
    outputs: tuple[str, ...] = ()
    parameters: Mapping[str, JsonValue] = field(default_factory=dict)
    deadline: float | None = None


@dataclass(frozen=True, slots=True)
class InferenceResponse:
    """The answer to one InferenceRequest, in the order of the model's outputs."""

    model: str
    version: str
    outputs: Arrays
    id: str | None = None


@dataclass(frozen=True, slots=True)
class ImageTransform:
    """How a model's input picture came from the original one.

    `x_model = x_original * scale_x + pad_x`, likewise for y; sizes are (height, width) in pixels.
    """

    original_size: tuple[int, int]
    model_size: tuple[int, int]
    scale_x: float = 1.0
    scale_y: float = 1.0
    pad_x: float = 0.0
    pad_y: float = 0.0


@dataclass(frozen=True, slots=True)
class Tensors:
    """What flows into and out of the `infer` node: arrays by tensor name.

    `transform` rides along from the node that made the input to the node that decodes the output.
    """

    arrays: Arrays
    transform: ImageTransform | None = None


@dataclass(frozen=True, slots=True)
class Detections:
    """Objects found in one picture, in its original pixels, best first.

    `boxes` is float32 (n, 4) as x1, y1, x2, y2; `scores` float32 (n,); `classes` int32 (n,).
    `track_ids` is int64 (n,) once a tracker has seen them. `labels` names class 0, 1, ...
    """

    boxes: Array
    scores: Array
    classes: Array
    track_ids: Array | None = None
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TextLine:
    """One line of text: `polygon` is its four corners (x, y) in original pixels, clockwise."""

    polygon: tuple[tuple[float, float], ...]
    text: str
    confidence: float


@dataclass(frozen=True, slots=True)
class ClassScore:
    """One class of a classifier's answer; `score` is a probability."""

    label: str
    score: float


@dataclass(frozen=True, slots=True)
class Action:
    """Something an agent wants done; `dispatcher` names an entry of `actions:` in the config.

    `id` is the same whenever the same message leads the same agent to the same action, so that a
    receiver can drop duplicates.
    """

    id: str
    agent: str
    dispatcher: str
    payload: Mapping[str, JsonValue]
    target: str | None = None


@dataclass(frozen=True, slots=True)
class NodeFailure:
    """Which node could not handle the message, and why."""

    node: str
    error: Exception


@dataclass(frozen=True, slots=True)
class Message:
    """One reading or frame on its way through a pipeline.

    `content` is what the source delivered: encoded bytes, an array, or parsed JSON.
    `captured_at` is Unix seconds; `deadline` is in seconds of this process's monotonic clock.
    `results` holds each node's result by node id. `source` is the device or topic it came from.
    """

    id: str
    source: str
    content: object
    captured_at: float
    pipeline: str = ""
    deadline: float | None = None
    metadata: Mapping[str, JsonValue] = field(default_factory=dict)
    results: Mapping[str, object] = field(default_factory=dict)
    error: NodeFailure | None = None

    def with_result(self, node: str, value: object) -> "Message":
        return replace(self, results={**self.results, node: value})

    def with_error(self, node: str, error: Exception) -> "Message":
        return replace(self, error=NodeFailure(node, error))
