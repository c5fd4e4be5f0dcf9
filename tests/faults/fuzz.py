"""What the fuzzers share: seeded runs against a server, with a tally of what it answered."""

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import NamedTuple

from tests.faults.server import InferencePlane

PROGRESS_EVERY = 10_000
FUZZED_MIB = 128.0
"""How much memory the server may have grown by after any number of bad requests."""

MAX_SHOWN = 20


class Finding(NamedTuple):
    """A request that was answered as none may be."""

    number: int
    sent: bytes
    problem: str

    def __str__(self) -> str:
        return f"request {self.number}: {self.problem}\n  sent {self.sent[:600]!r}"


class Report(NamedTuple):
    """What came of a run: answers by their status, and what must not be."""

    answers: Counter[str]
    findings: list[Finding]

    def check(self) -> None:
        shown = "\n".join(map(str, self.findings[:MAX_SHOWN]))
        assert not self.findings, f"{len(self.findings)} bad answers:\n{shown}"


def numbered(start: int, count: int, seed: int) -> Iterator[tuple[int, Random]]:
    """Each request has a generator of its own, so that one of them can be repeated alone."""
    for index in range(start, start + count):
        yield index, Random(f"{seed}:{index}")


def counted(
    plane: InferencePlane, report: Report, indices: Iterator[tuple[int, Random]]
) -> Iterator[tuple[int, Random]]:
    """The same, saying how it goes and looking after the server now and then."""
    began = time.monotonic()
    for done, (index, random) in enumerate(indices):
        if done and done % PROGRESS_EVERY == 0:
            rate = done / (time.monotonic() - began)
            tally = ", ".join(f"{k}: {v}" for k, v in sorted(report.answers.items()))
            print(f"{done} requests, {rate:.0f}/s, {plane.rss() >> 20} MiB; {tally}", flush=True)  # noqa: T201
            plane.well(FUZZED_MIB)
        yield index, random
    plane.well(FUZZED_MIB)


@contextmanager
def _server() -> Iterator[InferencePlane]:
    with tempfile.TemporaryDirectory() as folder:
        plane = InferencePlane(Path(folder))
        plane.start()
        try:
            yield plane
        finally:
            plane.stop()


def main(run: Callable[[InferencePlane, int, int, int], Report]) -> None:
    """`run(plane, start, count, seed)` from the command line, against a server of its own."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--start", type=int, default=0, help="number of the first request")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with _server() as plane:
        started, before = time.monotonic(), plane.rss()
        report = run(plane, given.start, given.requests, given.seed)
        grown = (plane.rss() - before) >> 20
        seconds = time.monotonic() - started
        print(f"{given.requests} requests in {seconds:.0f} s, memory grew by {grown} MiB")  # noqa: T201
        print(dict(sorted(report.answers.items())))  # noqa: T201
    report.check()
