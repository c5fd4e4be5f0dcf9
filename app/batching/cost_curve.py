"""What a batch of each size costs, learned from measured runs.

A bigger batch is not always faster: on a CPU a convolution's time grows with every row, while a
small dense network's hardly does. So the size is chosen from what was measured on this machine.
"""

from collections import OrderedDict
from collections.abc import Hashable

SMOOTHING = 0.25
TRIALS = 3
FORGET_AFTER_RUNS = 512
GOOD_ENOUGH = 1.05
WORTH_EXPLORING = 1.1


class CostCurve:
    """Seconds per run by number of rows, for one model version and one input shape.

    A size that was never measured is estimated by linear interpolation between its measured
    neighbours, and beyond the largest measured one as costing the same per row. Larger sizes are
    tried, doubling, for as long as they do not cost clearly more per row. A size not used for a
    while is forgotten and tried again, so that one bad moment of a busy machine is not held
    against it for ever.
    """

    def __init__(self) -> None:
        self._seconds: dict[int, float] = {}
        self._trials: dict[int, int] = {}
        self._last_run: dict[int, int] = {}
        self._runs = 0
        self._least = 0.0

    def record(self, rows: int, seconds: float) -> None:
        self._runs += 1
        self._last_run[rows] = self._runs
        trials = self._trials[rows] = self._trials.get(rows, 0) + 1
        if trials <= TRIALS:
            self._seconds[rows] = min(seconds, self._seconds.get(rows, seconds))
        else:
            self._seconds[rows] += SMOOTHING * (seconds - self._seconds[rows])
        if seconds < self._least or self._runs == 1:
            self._least = seconds
        if self._runs % FORGET_AFTER_RUNS == 0:
            self._forget()

    def least(self) -> float:
        """The shortest run ever seen, in seconds; 0.0 before the first.

        No run can be counted on to be faster, so a deadline nearer than this is lost.
        """
        return self._least

    def seconds_per_row(self) -> float:
        """What a row costs in runs of the best size; 0.0 before anything was measured."""
        return min((each / size for size, each in self._seconds.items()), default=0.0)

    def estimate(self, rows: int) -> float:
        """Expected seconds of a run of `rows`; 0.0 before anything was measured."""
        known = self._seconds.get(rows)
        if known is not None:
            return known
        below = max((size for size in self._seconds if size < rows), default=None)
        above = min((size for size in self._seconds if size > rows), default=None)
        if below is None or above is None:
            nearest = below or above
            return 0.0 if nearest is None else self._seconds[nearest] * rows / nearest
        share = (rows - below) / (above - below)
        return self._seconds[below] + share * (self._seconds[above] - self._seconds[below])

    def best_rows(self, waiting: int) -> int:
        """How many of `waiting` rows to run at once: the fewest at about the best cost per row."""
        sizes = [1 << power for power in range((waiting - 1).bit_length())] + [waiting]
        per_row = {size: self.estimate(size) / size for size in sizes}
        best = min(per_row.values())
        for smaller, size in zip([1, *sizes], sizes, strict=False):
            if self._untried(size) and per_row[smaller] <= best * WORTH_EXPLORING:
                return size
        return next(size for size in sizes if per_row[size] <= best * GOOD_ENOUGH)

    def _untried(self, rows: int) -> bool:
        """Whether neither this size nor a larger one was measured often enough to be believed."""
        return all(size < rows or trials < TRIALS for size, trials in self._trials.items())

    def _forget(self) -> None:
        oldest = self._runs - FORGET_AFTER_RUNS
        for rows in [rows for rows, run in self._last_run.items() if run < oldest]:
            del self._seconds[rows], self._trials[rows], self._last_run[rows]


class CostCurves:
    """A curve for each key; of too many keys the least recently used ones are forgotten."""

    def __init__(self, max_curves: int = 64) -> None:
        self._max_curves = max_curves
        self._curves: OrderedDict[Hashable, CostCurve] = OrderedDict()

    def of(self, key: Hashable) -> CostCurve:
        curve = self._curves.get(key)
        if curve is None:
            curve = self._curves[key] = CostCurve()
            if len(self._curves) > self._max_curves:
                self._curves.popitem(last=False)
        else:
            self._curves.move_to_end(key)
        return curve

    def only_key(self) -> tuple[Hashable] | None:
        """The key, in a tuple, where there has been one key only."""
        return (next(iter(self._curves)),) if len(self._curves) == 1 else None
