"""Geometry of lines of text: which corner is first, which line is read first, how wide each is.

Polygons are float32 (n, 4, 2): four corners (x, y), clockwise as seen, the first edge running in
reading direction.
"""

import numpy as np
import numpy.typing as npt

from app.errors import InvalidInput
from app.imaging.values import Floats

RECOGNISER_HEIGHT = 48
"""Rows of the picture that PP-OCR recognisers take."""

# From this ratio of height to width on, an upright box holds text that runs downwards.
_TALL = 1.5
# Text this close to vertical has no left and right any more; it is taken to run downwards.
_VERTICAL_DEGREES = 80
# Boxes are of one row when their centres differ by less than this share of the lower one's height.
_SAME_ROW = 0.5


def require_polygons(value: object) -> Floats:
    """Raises InvalidInput saying what `value` is instead of polygons."""
    if not isinstance(value, np.ndarray) or value.ndim != 3 or value.shape[1:] != (4, 2):
        got = value.shape if isinstance(value, np.ndarray) else type(value).__name__
        raise InvalidInput(f"expected polygons as (n, 4, 2), got {got}")
    return value.astype(np.float32, copy=False)


def edge_lengths(polygons: Floats) -> tuple[Floats, Floats]:
    """Length in reading direction and across it, the longer of the two edges each, (n,) each."""
    edges = np.linalg.norm(np.roll(polygons, -1, axis=1) - polygons, axis=2).astype(np.float32)
    return np.maximum(edges[:, 0], edges[:, 2]), np.maximum(edges[:, 1], edges[:, 3])


def start_reading(rectangle: Floats) -> Floats:
    """The corners (4, 2) of a rectangle, rotated so that the first edge runs as the text does.

    That is left to right along an elongated box, downwards where it stands upright, and the most
    horizontal edge of a squarish one.
    """
    edges = np.roll(rectangle, -1, axis=0) - rectangle
    if edges[0, 0] * edges[1, 1] - edges[0, 1] * edges[1, 0] < 0:  # anticlockwise as seen
        return start_reading(rectangle[::-1])
    lengths = np.maximum(np.linalg.norm(edges, axis=1), 1e-6)
    if lengths.max() < _TALL * lengths.min():
        first = int(np.argmax(edges[:, 0] / lengths))
    else:
        first = int(np.argmax(lengths))
        slope = abs(edges[first, 0]) / lengths[first]
        vertical = slope < np.cos(np.radians(_VERTICAL_DEGREES))
        if edges[first, 1 if vertical else 0] < 0:
            first += 2
    return np.roll(rectangle, -first, axis=0)


def reading_order(polygons: Floats) -> npt.NDArray[np.intp]:
    """Indices row by row from the top, left to right within a row.

    Rows are found after turning the page upright by the median direction of its lines, so a page
    photographed at an angle is read as well as a straight one, and columns of text that runs
    downwards are read from the right.
    """
    directions = polygons[:, 1] - polygons[:, 0]
    angle = float(np.median(np.arctan2(directions[:, 1], directions[:, 0]))) if len(polygons) else 0
    x, y = polygons.mean(axis=1).T
    along = x * np.cos(angle) + y * np.sin(angle)
    down = y * np.cos(angle) - x * np.sin(angle)
    heights = np.minimum(*edge_lengths(polygons))

    rows = np.zeros(len(polygons), np.intp)
    row, first = -1, 0
    for index in np.argsort(down, kind="stable"):
        tolerance = _SAME_ROW * min(heights[index], heights[first])
        if row < 0 or down[index] - down[first] > tolerance:
            row, first = row + 1, int(index)
        rows[index] = row
    return np.lexsort((along, rows))


def recogniser_widths(polygons: Floats, max_width: int) -> npt.NDArray[np.intp]:
    """Columns (n,) that each line takes once it is RECOGNISER_HEIGHT rows high."""
    along, across = edge_lengths(polygons)
    widths = np.ceil(RECOGNISER_HEIGHT * along / np.maximum(across, 1))
    return np.clip(widths, 1, max_width).astype(np.intp)


def recognition_order(polygons: Floats) -> npt.NDArray[np.intp]:
    """Indices from the narrowest line to the widest: the order of a recogniser's batches.

    Lines of like width share a batch with little padding. Whoever made the batches and whoever
    reads the answers both call this, so the order need not travel with the arrays.
    """
    return np.argsort(recogniser_widths(polygons, np.iinfo(np.int32).max), kind="stable")
