"""Shapes that a model may want where its file leaves sizes open: what a first run tries."""

import math
from collections.abc import Iterator, Mapping

from app.types import ModelMetadata, TensorSpec

Shapes = Mapping[str, tuple[int, ...]]

SIZES = (32, 64, 224, 320, 640, 256, 2, 4, 8, 16, 80, 128, 400, 512, 1600, 16000)
"""Of everything that is open at once: the strides and usual pictures of detectors, then the windows
and whole seconds of sound."""

CHANNELS = (3, 1)
"""Of a picture whose channels the file leaves open, too."""

MAX_ELEMENTS = 4_000_000
"""Of an input that is made up: 16 MB of FP32."""


def leaves_sizes_open(metadata: ModelMetadata, given: Shapes) -> bool:
    """Whether an input that has no shape in `given` leaves more open than how many rows it has."""
    return any(_open(spec) for spec in metadata.inputs if spec.name not in given)


def trial_shapes(metadata: ModelMetadata) -> Iterator[Shapes]:
    """One row, with the same size for everything else that is open, in all inputs."""
    has_open_channels = any(_has_open_channels(spec) for spec in metadata.inputs)
    for size in SIZES:
        for channels in CHANNELS if has_open_channels else CHANNELS[:1]:
            shapes = {spec.name: _shape(spec, size, channels) for spec in metadata.inputs}
            if all(math.prod(shape) <= MAX_ELEMENTS for shape in shapes.values()):
                yield shapes


def _shape(spec: TensorSpec, size: int, channels: int) -> tuple[int, ...]:
    shape = [1 if known < 0 else known for known in spec.shape]
    for place in _open(spec):
        shape[place] = size
    if _has_open_channels(spec):
        shape[1] = channels
    return tuple(shape)


def _open(spec: TensorSpec) -> list[int]:
    """Which dimensions have any size, but for the first of several, which is that of the rows."""
    first = 1 if len(spec.shape) > 1 else 0
    return [place for place in range(first, len(spec.shape)) if spec.shape[place] < 0]


def _has_open_channels(spec: TensorSpec) -> bool:
    """Whether it is (rows, channels, height, width) with nothing fixed; a fixed last dimension is
    that of the channels itself."""
    return len(spec.shape) == 4 and spec.shape[1] < 0 and spec.shape[3] < 0
