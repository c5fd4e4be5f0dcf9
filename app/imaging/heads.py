"""What detectors' raw outputs mean: candidate boxes in the model's pixels, before suppression.

YOLOv5 (export with its detection layer): rows of centre x, centre y, width, height, objectness and
one probability per class; the score is objectness x probability.
YOLOv8 and later: the transpose, without objectness.
FastestDet: one candidate per cell of a grid; channels are objectness, x and y offset within the
grid (tanh), width and height (sigmoid, of the whole picture), class probabilities; the score is
objectness^0.6 x probability^0.4.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from app.errors import InferenceFailed
from app.imaging.values import Floats
from app.types import Array


class Candidates(NamedTuple):
    """Boxes over the threshold: (n, 4) as x1, y1, x2, y2 in the model's pixels, (n,), (n,)."""

    boxes: Floats
    scores: Floats
    classes: npt.NDArray[np.int32]

    def take(self, chosen: npt.NDArray[np.intp] | npt.NDArray[np.bool_]) -> "Candidates":
        """Those at the given indices, or where the mask is true."""
        return Candidates(self.boxes[chosen], self.scores[chosen], self.classes[chosen])


class Asked(NamedTuple):
    """What a decoder must know beside the output.

    model_size: height and width of the model's input.
    thresh: the least score.
    classes: how many classes there are; 0 where nobody has named them, and any number may be.
    """

    model_size: tuple[int, int]
    thresh: float
    classes: int


Decoder = Callable[[Array, Asked], Candidates]
"""Raises InferenceFailed where the output is not surely the decoder's: of another shape, with more
or fewer values for each candidate than there are classes, with another number of candidates than
its grids have cells, or with scores that are no probabilities. Masks, keypoints, angles and boxes
that were placed on no grid stand where classes would, and would be answered as objects."""

_STRIDES = ((8, 16, 32), (8, 16, 32, 64), (4, 8, 16, 32))
"""Of the grids over the model's input: usual ones, those for large pictures, for small objects."""

_ANCHORS = 3
"""Boxes in each cell of YOLOv5. YOLOX has one, and says where it is within its cell only."""

_ROUNDED = 1e-2
"""How far over 1 a probability may be: half precision rounds."""


def decode_yolov5(output: Array, asked: Asked) -> Candidates:
    """From (1, n, 5 + classes)."""
    if not _is_yolov5(output, asked):
        raise _not_of("yolov5", "(1, n, {5})", _ANCHORS, output, asked)
    rows = output[0]
    # No score exceeds its objectness, so this drops nearly all rows before the classes are read.
    rows = rows[rows[:, 4] > asked.thresh].astype(np.float32)
    probabilities = rows[:, 5:]
    classes = probabilities.argmax(axis=1).astype(np.int32)
    best = probabilities[np.arange(len(rows)), classes]
    _require_probabilities(output, rows[:, 4], best)
    return _over(asked.thresh, _corners(rows[:, :4]), rows[:, 4] * best, classes)


def decode_yolov8(output: Array, asked: Asked) -> Candidates:
    """From (1, 4 + classes, n)."""
    if not _is_yolov8(output, asked):
        raise _not_of("yolov8", "(1, {4}, n)", 1, output, asked)
    columns = output[0]
    columns = columns[:, columns[4:].max(axis=0) > asked.thresh].astype(np.float32)
    classes = columns[4:].argmax(axis=0).astype(np.int32)
    scores = columns[4:].max(axis=0)
    _require_probabilities(output, scores)
    return _over(asked.thresh, _corners(columns[:4].T), scores, classes)


def decode_fastestdet(output: Array, asked: Asked) -> Candidates:
    """From (1, 5 + classes, rows, columns)."""
    if not _is_fastestdet(output, asked):
        raise _not_of("fastestdet", "(1, {5}, rows, columns)", 0, output, asked)
    cells = output[0].astype(np.float32)
    grid_height, grid_width = cells.shape[1:]
    best = cells[5:].max(axis=0)
    _require_probabilities(output, cells[0], best)
    scores = (np.clip(cells[0], 0, 1) ** 0.6 * np.clip(best, 0, 1) ** 0.4).astype(np.float32)
    row, column = np.nonzero(scores > asked.thresh)
    chosen = cells[:, row, column]
    height, width = asked.model_size
    centre_x = (column + np.tanh(chosen[1])) / grid_width * width
    centre_y = (row + np.tanh(chosen[2])) / grid_height * height
    sides = _sigmoid(chosen[3:5]) * np.array([[width], [height]], np.float32)
    centred = np.stack([centre_x, centre_y, *sides], axis=1).astype(np.float32)
    classes = chosen[5:].argmax(axis=0).astype(np.int32)
    return _over(asked.thresh, _corners(centred), scores[row, column], classes)


def decoder_for(output: Array, asked: Asked) -> Decoder:
    """The one decoder that the output fits. Raises InferenceFailed when none or several do, or
    nobody has named the classes, without which a shape says too little."""
    fitting = [decode for fits, decode in _KNOWN if asked.classes and fits(output, asked)]
    if len(fitting) == 1:
        return fitting[0]
    known = (
        "yolov5 (1, n, 5 + classes), yolov8 (1, 4 + classes, n), fastestdet (1, 5 + classes, h, w)"
    )
    which = "no" if not fitting else "more than one"
    height, width = asked.model_size
    raise InferenceFailed(
        f"{which} detection decoder fits an output of shape {list(output.shape)} with"
        f" {asked.classes} labels for an input of {height} x {width}; known are {known}: name the"
        " model's classes in `labels`, or use the node of its own kind of head"
    )


def _is_yolov5(output: Array, asked: Asked) -> bool:
    return (
        output.ndim == 3
        and output.shape[0] == 1
        and _has_classes(output.shape[2] - 5, asked)
        and output.shape[1] in {_ANCHORS * cells for cells in _cells(asked)}
    )


def _is_yolov8(output: Array, asked: Asked) -> bool:
    return (
        output.ndim == 3
        and output.shape[0] == 1
        and _has_classes(output.shape[1] - 4, asked)
        and output.shape[2] in _cells(asked)
    )


def _is_fastestdet(output: Array, asked: Asked) -> bool:
    return output.ndim == 4 and output.shape[0] == 1 and _has_classes(output.shape[1] - 5, asked)


_KNOWN = (
    (_is_yolov5, decode_yolov5),
    (_is_yolov8, decode_yolov8),
    (_is_fastestdet, decode_fastestdet),
)


def _has_classes(number: int, asked: Asked) -> bool:
    return number == asked.classes if asked.classes else number > 0


def _cells(asked: Asked) -> set[int]:
    """How many cells the grids may have together."""
    height, width = asked.model_size
    return {
        sum(-(-height // stride) * -(-width // stride) for stride in strides)
        for strides in _STRIDES
    }


def _not_of(name: str, form: str, anchors: int, output: Array, asked: Asked) -> InferenceFailed:
    channels = {
        fixed: f"{fixed} + {asked.classes} labels" if asked.classes else f"{fixed} + classes"
        for fixed in (4, 5)
    }
    needed = form.replace("{4}", channels[4]).replace("{5}", channels[5])
    height, width = asked.model_size
    counts = " or ".join(str(anchors * cells) for cells in sorted(_cells(asked)))
    grids = f", n being {counts} for an input of {height} x {width}" if anchors else ""
    return InferenceFailed(
        f"{name} needs {needed}{grids}; the model answered {list(output.shape)}: name the model's"
        " classes in `labels`, or use the node of its own kind of head"
    )


def _require_probabilities(output: Array, *values: Floats) -> None:
    for some in values:
        known = some[np.isfinite(some)]
        if known.size and float(known.max()) > 1 + _ROUNDED:
            raise InferenceFailed(
                f"the output of shape {list(output.shape)} has a score of {known.max():.3g}, which"
                " is no probability: it is of another kind of head, or lacks its last layer"
            )


def _corners(centred: Floats) -> Floats:
    half = centred[:, 2:] / 2
    corners: Floats = np.hstack([centred[:, :2] - half, centred[:, :2] + half])
    return corners


def _sigmoid(values: Floats) -> Floats:
    # By way of tanh, which cannot overflow.
    return (0.5 + 0.5 * np.tanh(values / 2)).astype(np.float32)


def _over(
    thresh: float, boxes: Floats, scores: Floats, classes: npt.NDArray[np.int32]
) -> Candidates:
    # A damaged engine answers NaN and infinity; they must not reach the suppression.
    kept = (scores > thresh) & np.isfinite(boxes).all(axis=1) & np.isfinite(scores)
    return Candidates(boxes, np.minimum(scores, 1), classes).take(kept)
