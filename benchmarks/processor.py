"""Whose processor time a load took: where the cores went that did not run the model."""

import resource
from collections import defaultdict
from collections.abc import Mapping

import psutil

from benchmarks.processes import Program

GENERATOR = "load generator"


def processor_seconds(program: Program) -> dict[str, float]:
    """Since the start of each process, in seconds, summed by what the process does.

    The load generator is every program of ours that has ended.
    """
    seconds: defaultdict[str, float] = defaultdict(float)
    for process in program.processes():
        try:
            times = process.cpu_times()
            seconds[role(process.name(), process.cmdline())] += times.user + times.system
        except psutil.Error:
            continue
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds[GENERATOR] = ended.ru_utime + ended.ru_stime
    return seconds


def role(name: str, command: list[str]) -> str:
    """The replicas of Serve and HAProxy carry requests; the other processes of Ray do not."""
    first = command[0] if command else name
    if first.startswith("ray::ServeReplica"):
        return "server"
    if name == "haproxy":
        return "HAProxy"
    words = " ".join(command[:3])
    is_of_ray = first.startswith("ray::") or "/ray/" in words or words.endswith("serve run")
    return "rest of Ray" if is_of_ray else "server"


def milliseconds_each(
    before: Mapping[str, float], after: Mapping[str, float], requests: float
) -> dict[str, float]:
    """The difference for each of `requests`, in milliseconds; without those that did nothing."""
    spent = {name: 1e3 * (after[name] - before.get(name, 0.0)) / requests for name in after}
    return {name: each for name, each in spent.items() if each > 0}
