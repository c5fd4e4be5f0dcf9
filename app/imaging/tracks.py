"""Following boxes from frame to frame: a Kalman filter per track, joined to detections by overlap.

The scheme is SORT's (Bewley et al., ICIP 2016) with two differences: time is in seconds rather than
frames, because stale frames are dropped before they come here, and pairs are taken greedily from
the best overlap down, which needs no solver and differs only where three or more boxes compete.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from app.imaging.boxes import iou_matrix
from app.imaging.values import Floats

Ids = npt.NDArray[np.int64]
_Doubles = npt.NDArray[np.float64]

# All in shares of the box's own size: how far a detector's corner jitters, how fast a new track
# may move at first (per second), and how strongly it may accelerate (per second squared).
_MEASUREMENT = 0.05**2
_FIRST_SPEED = 5.0**2
_ACCELERATION = 10.0**2


class Tracks:
    """The tracks of one source. Not shared between tasks."""

    def __init__(self) -> None:
        self.ids: Ids = np.zeros(0, np.int64)
        self.hits = np.zeros(0, np.int64)
        self._classes = np.zeros(0, np.int32)
        self._seen_at: _Doubles = np.zeros(0)
        self._now = -np.inf
        # Centre x, centre y, width, height, and their speeds. The four coordinates share one
        # covariance because their noise is relative to the box.
        self._position: _Doubles = np.zeros((0, 4))
        self._speed: _Doubles = np.zeros((0, 4))
        self._covariance: _Doubles = np.zeros((0, 2, 2))

    def update(
        self,
        boxes: Floats,
        classes: npt.NDArray[np.int32],
        now: float,
        *,
        iou: float,
        max_age: float,
        new_ids: Iterator[int],
    ) -> npt.NDArray[np.intp]:
        """Move every track to `now` (seconds), join the boxes; index of each box's track, (n,).

        Boxes (n, 4) as x1, y1, x2, y2 that overlap no track of their class by `iou` start one.
        Tracks unseen for over `max_age` seconds are gone afterwards. A `now` that does not
        advance counts as the same instant.
        """
        self._predict(now)
        self._keep(self._now - self._seen_at <= max_age)
        overlap = iou_matrix(self.boxes(), boxes)
        overlap[self._classes[:, None] != classes[None, :]] = 0
        track_of = _pair(overlap, iou)
        measured = _centred(boxes)
        old = np.flatnonzero(track_of >= 0)
        self._correct(track_of[old], measured[old])
        new = np.flatnonzero(track_of < 0)
        track_of[new] = len(self.ids) + np.arange(len(new))
        self._start(measured[new], classes[new], new_ids)
        return track_of

    def boxes(self) -> Floats:
        """Where the tracks are believed to be, (tracks, 4) as x1, y1, x2, y2."""
        centre, half = self._position[:, :2], self._position[:, 2:] / 2
        return np.hstack([centre - half, centre + half]).astype(np.float32)

    def _predict(self, now: float) -> None:
        step = now - self._now if np.isfinite(self._now) else 0.0
        if step <= 0:
            self._now = max(self._now, now)
            return
        self._now = now
        self._position = self._position + self._speed * step
        self._position[:, 2:] = np.maximum(self._position[:, 2:], 1)
        move = np.array([[1, step], [0, 1]])
        # White noise on the acceleration, integrated over the step.
        noise = np.array([[step**4 / 4, step**3 / 2], [step**3 / 2, step**2]]) * _ACCELERATION
        self._covariance = move @ self._covariance @ move.T + noise

    def _correct(self, tracks: npt.NDArray[np.intp], measured: _Doubles) -> None:
        covariance = self._covariance[tracks]
        gain = covariance[:, :, 0] / (covariance[:, :1, 0] + _MEASUREMENT)
        residual = measured - self._position[tracks]
        self._position[tracks] += gain[:, :1] * residual
        self._speed[tracks] += gain[:, 1:] * residual
        self._covariance[tracks] = covariance - gain[:, :, None] * covariance[:, :1, :]
        self.hits[tracks] += 1
        self._seen_at[tracks] = self._now

    def _start(
        self, measured: _Doubles, classes: npt.NDArray[np.int32], new_ids: Iterator[int]
    ) -> None:
        count = len(measured)
        first = np.diag([_MEASUREMENT, _FIRST_SPEED])
        self.ids = np.append(self.ids, [next(new_ids) for _ in range(count)]).astype(np.int64)
        self.hits = np.append(self.hits, np.ones(count, np.int64))
        self._classes = np.append(self._classes, classes)
        self._seen_at = np.append(self._seen_at, np.full(count, self._now))
        self._position = np.vstack([self._position, measured])
        self._speed = np.vstack([self._speed, np.zeros((count, 4))])
        self._covariance = np.concatenate([self._covariance, np.tile(first, (count, 1, 1))])

    def _keep(self, kept: npt.NDArray[np.bool_]) -> None:
        self.ids, self.hits = self.ids[kept], self.hits[kept]
        self._classes, self._seen_at = self._classes[kept], self._seen_at[kept]
        self._position, self._speed = self._position[kept], self._speed[kept]
        self._covariance = self._covariance[kept]


def _centred(boxes: Floats) -> _Doubles:
    corners = boxes.astype(np.float64)
    centre = (corners[:, :2] + corners[:, 2:]) / 2
    return np.hstack([centre, corners[:, 2:] - corners[:, :2]])


def _pair(overlap: Floats, least: float) -> npt.NDArray[np.intp]:
    """For each column the row joined to it, -1 for none; the best pairs first."""
    row_of = np.full(overlap.shape[1], -1, np.intp)
    rows, columns = np.nonzero(overlap >= least)
    free = np.ones(overlap.shape[0], bool)
    for pair in np.argsort(-overlap[rows, columns], kind="stable"):
        row, column = rows[pair], columns[pair]
        if free[row] and row_of[column] < 0:
            free[row], row_of[column] = False, row
    return row_of
