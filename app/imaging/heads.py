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


Decoder = Callable[[Array, tuple[int, int], float], Candidates]
"""Called with the output, the model's input size (height, width) and the least score.

Raises InferenceFailed when the output's shape is not the decoder's.
"""


def decode_yolov5(output: Array, _model_size: tuple[int, int], thresh: float) -> Candidates:
    """From (1, n, 5 + classes)."""
    _require(output, 3, 2, 6, "yolov5 needs (1, n, 5 + classes)")
    rows = output[0]
    # No score exceeds its objectness, so this drops nearly all rows before the classes are read.
    rows = rows[rows[:, 4] > thresh].astype(np.float32)
    probabilities = rows[:, 5:]
    classes = probabilities.argmax(axis=1).astype(np.int32)
    scores = rows[:, 4] * probabilities[np.arange(len(rows)), classes]
    return _over(thresh, _corners(rows[:, :4]), scores, classes)


def decode_yolov8(output: Array, _model_size: tuple[int, int], thresh: float) -> Candidates:
    """From (1, 4 + classes, n)."""
    _require(output, 3, 1, 5, "yolov8 needs (1, 4 + classes, n)")
    columns = output[0]
    columns = columns[:, columns[4:].max(axis=0) > thresh].astype(np.float32)
    classes = columns[4:].argmax(axis=0).astype(np.int32)
    scores = columns[4:].max(axis=0)
    return _over(thresh, _corners(columns[:4].T), scores, classes)


def decode_fastestdet(output: Array, model_size: tuple[int, int], thresh: float) -> Candidates:
    """From (1, 5 + classes, rows, columns)."""
    _require(output, 4, 1, 6, "fastestdet needs (1, 5 + classes, rows, columns)")
    cells = output[0].astype(np.float32)
    grid_height, grid_width = cells.shape[1:]
    best = cells[5:].max(axis=0)
    scores = (np.clip(cells[0], 0, 1) ** 0.6 * np.clip(best, 0, 1) ** 0.4).astype(np.float32)
    row, column = np.nonzero(scores > thresh)
    chosen = cells[:, row, column]
    height, width = model_size
    centre_x = (column + np.tanh(chosen[1])) / grid_width * width
    centre_y = (row + np.tanh(chosen[2])) / grid_height * height
    sides = _sigmoid(chosen[3:5]) * np.array([[width], [height]], np.float32)
    centred = np.stack([centre_x, centre_y, *sides], axis=1).astype(np.float32)
    classes = chosen[5:].argmax(axis=0).astype(np.int32)
    return _over(thresh, _corners(centred), scores[row, column], classes)


def decoder_for(output: Array) -> Decoder:
    """Which decoder fits the shape: a detector has far more candidates than values for each.

    Raises InferenceFailed when none does.
    """
    if output.ndim == 4:
        return decode_fastestdet
    if output.ndim == 3:
        return decode_yolov5 if output.shape[1] > output.shape[2] else decode_yolov8
    raise InferenceFailed(f"no detection decoder fits an output of shape {output.shape}")


def _require(output: Array, ndim: int, axis: int, least: int, needed: str) -> None:
    if output.ndim != ndim or output.shape[0] != 1 or output.shape[axis] < least:
        raise InferenceFailed(f"{needed}, the model answered {output.shape}")


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
    return Candidates(boxes, scores, classes).take(kept)
