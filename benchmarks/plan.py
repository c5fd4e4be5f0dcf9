"""What a run is made of: units that are measured once each, written down, and never repeated.

A run that was ended goes on where it stopped: what a unit measured is in the journal. The time that
is left is foretold from how long the units so far took against what was expected of them.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import TypeAdapter

from benchmarks.environments import Unavailable
from benchmarks.load import LoadFailed
from benchmarks.processes import StartFailed

ResultT = TypeVar("ResultT")

FAILURES = (StartFailed, Unavailable, LoadFailed, RuntimeError)
"""What may be wrong with one thing that is measured, and must not end the run."""


@dataclass(frozen=True)
class Unit(Generic[ResultT]):
    """One thing to measure: `key` names it in the journal, `seconds` is what it is expected to
    take, `kind` the dataclass that `measure` returns."""

    key: str
    seconds: float
    kind: type[ResultT]
    measure: Callable[[], ResultT]


class Journal:
    """What was measured, as a line of JSON for each unit, behind a line for the run's options.

    A file that was written with other options counts as empty.
    """

    def __init__(self, file: Path, options: str, *, resume: bool) -> None:
        self._file = file
        self._lines: dict[str, str] = {}
        lines = file.read_text().splitlines() if resume and file.exists() else []
        if lines[:1] == [json.dumps(options)]:
            self._lines = dict(json.loads(line) for line in lines[1:] if line.endswith("]"))
            self._rewrite(options)
        else:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{json.dumps(options)}\n")

    def __contains__(self, unit: Unit[ResultT]) -> bool:
        return unit.key in self._lines

    def read(self, unit: Unit[ResultT]) -> ResultT:
        return TypeAdapter(unit.kind).validate_json(self._lines[unit.key])

    def write(self, unit: Unit[ResultT], result: ResultT) -> None:
        self._lines[unit.key] = TypeAdapter(unit.kind).dump_json(result).decode()
        with self._file.open("a") as file:
            file.write(f"{json.dumps([unit.key, self._lines[unit.key]])}\n")

    def _rewrite(self, options: str) -> None:
        """Without a last line that was cut off."""
        entries = [json.dumps(options), *(json.dumps(entry) for entry in self._lines.items())]
        self._file.write_text("\n".join(entries) + "\n")


def work_through(
    units: Sequence[Unit[ResultT]],
    journal: Journal,
    clock: Callable[[], float] = time.monotonic,
    say: Callable[[str], None] = lambda text: print(text, flush=True),
) -> list[str]:
    """Measure what the journal has not, and say how long it will take.

    The keys of the units that could not be measured: these are tried again by a later run.
    """
    failed: list[str] = []
    left = sum(unit.seconds for unit in units if unit not in journal)
    done = taken = 0.0
    for number, unit in enumerate(units, start=1):
        if unit in journal:
            continue
        stretch = taken / done if done else 1.0
        say(f"[{number} of {len(units)}, {_minutes(left * stretch)} left] {unit.key} ...")
        start = clock()
        try:
            journal.write(unit, unit.measure())
        except FAILURES as error:
            failed.append(unit.key)
            say(f"  not measured: {error}")
        taken += clock() - start
        done += unit.seconds
        left -= unit.seconds
    return failed


def _minutes(seconds: float) -> str:
    return f"{max(1, round(seconds / 60))} min"
