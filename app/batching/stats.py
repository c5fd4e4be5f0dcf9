"""What a batcher counts."""

import time
from collections import Counter
from dataclasses import dataclass, field


@dataclass
class BatchStats:
    """Counted since start; `last_run` is in Unix seconds.

    `submitted` = the sum of the five outcomes below it + what waits or runs.
    """

    submitted: int = 0
    succeeded: int = 0
    failed: int = 0
    shed: int = 0
    expired: int = 0
    cancelled: int = 0
    rows: int = 0
    runs: int = 0
    queue_seconds: float = 0.0
    run_seconds: float = 0.0
    runs_by_rows: Counter[int] = field(default_factory=Counter)
    seconds_by_rows: dict[int, float] = field(default_factory=dict)
    last_run: float = 0.0

    def record(self, rows: int, seconds: float) -> None:
        """One run of so many rows that has just ended."""
        self.runs += 1
        self.rows += rows
        self.run_seconds += seconds
        self.runs_by_rows[rows] += 1
        self.seconds_by_rows[rows] = self.seconds_by_rows.get(rows, 0.0) + seconds
        self.last_run = time.time()
