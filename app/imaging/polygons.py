"""Points and polygons."""

import numpy as np
import numpy.typing as npt


def points_inside(
    points: npt.NDArray[np.float64], corners: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_]:
    """Which of the points (n, 2) lie in the polygon (m, 2), by the even-odd rule.

    A point on the boundary may count either way, as in any ray casting (Shimrat, Algorithm 112,
    CACM 5(8), 1962).
    """
    x, y = points[:, 0, None], points[:, 1, None]
    x1, y1 = corners[:, 0], corners[:, 1]
    x2, y2 = np.roll(x1, -1), np.roll(y1, -1)
    straddles = (y1 > y) != (y2 > y)
    # Horizontal edges never straddle, so what they are divided by does not matter.
    rise = np.where(y2 == y1, 1.0, y2 - y1)
    crosses = straddles & (x < (x2 - x1) * (y - y1) / rise + x1)
    inside: npt.NDArray[np.bool_] = crosses.sum(axis=1) % 2 == 1
    return inside
