"""Writes benchmarks/RESULTS.md: parts that are replaced one by one, and tables for them."""

import os
import platform
import re
import statistics
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

import psutil

RESULTS = Path(__file__).with_name("RESULTS.md")
NOTES = Path(__file__).with_name("NOTES.md")
PACKAGES = ("ray", "onnxruntime", "numpy", "uvicorn", "uvloop", "grpcio")

_INTRODUCTION = """\
# Benchmark results

Written by `make bench`; text of our own is in NOTES.md. Each part says when and on what it was
measured; a part that a run leaves out stays as it was. On a machine that does other work the
absolute numbers are worth little: read the ratios, which compare servers that took turns in one
run.
"""
_PART = re.compile(r"<!-- part: (\w+) -->\n(.*?)(?=<!-- part: |<!-- notes -->|\Z)", re.DOTALL)
ORDER = ("targets", "http", "grpc", "neutral", "gateway", "loading", "overload", "product", "rest")


def write_results(parts: Mapping[str, str]) -> None:
    """Replace these parts of RESULTS.md and keep the others."""
    kept: dict[str, str] = dict(_PART.findall(RESULTS.read_text())) if RESULTS.exists() else {}
    current = {**kept, **parts}
    text = f"{_INTRODUCTION}\n"
    text += "".join(
        f"<!-- part: {name} -->\n{current[name].strip()}\n\n" for name in ORDER if name in current
    )
    if NOTES.exists():
        text += f"<!-- notes -->\n{NOTES.read_text().strip()}\n"
    RESULTS.write_text(text.rstrip() + "\n")


def conditions() -> str:
    """The machine, the versions and the state of the sources, as one paragraph."""
    memory = psutil.virtual_memory().total / 2**30
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    now = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    return (
        f"{now}, sources {_revision()}. {os.cpu_count()} cores of {_processor()},"
        f" {memory:.0f} GiB, {platform.system()} {platform.release()},"
        f" Python {platform.python_version()}, {versions}."
    )


def spread(values: Sequence[float], form: str) -> str:
    """The median, and the range where there is one; a dash for nothing."""
    if not values:
        return "-"
    median = form.format(statistics.median(values))
    if len(values) == 1:
        return median
    return f"{median} ({form.format(min(values))} - {form.format(max(values))})"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    line = "| {} |".format
    rule = line(" | ".join(["---", *["---:"] * (len(head) - 1)]))
    return [line(" | ".join(head)), rule, *(line(" | ".join(row)) for row in rows)]


def _revision() -> str:
    """The commit, marked where files differ from it; unknown outside a checkout."""
    command = ["git", "describe", "--always", "--dirty"]
    directory = Path(__file__).parent
    run = subprocess.run(command, capture_output=True, text=True, check=False, cwd=directory)
    return run.stdout.strip() or "unknown"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
