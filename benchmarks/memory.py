"""The product as it ships: how long it takes to start, and what memory each process holds."""

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import psutil
import yaml

from app.types import Array, Arrays
from benchmarks.processes import free_ports, running
from benchmarks.ray_config import PROJECT, Ports, one_box_config, ray_environment, serve_run
from models.repository.metadata import warm_up_inputs
from models.repository.repository import ModelRepository

SETTLE_SECONDS = 5.0
TOLERANCE = 1e-3


@dataclass(frozen=True)
class Question:
    """A request to a bundled model and the outputs that its own runtime computes from it."""

    model: str
    body: Mapping[str, object]
    expected: Arrays


@dataclass(frozen=True)
class Footprint:
    """`ready` has the seconds from `serve run` to each model's first correct answer; `processes`
    the proportional set size of each process, in bytes, the largest first."""

    ready: Mapping[str, float]
    processes: tuple[tuple[str, int], ...]


def bundled_questions() -> list[Question]:
    """One for every model of the zoo, random and the same each time."""
    repository = ModelRepository([PROJECT / "models" / "zoo"])
    return [_question(repository, name) for name in repository.names()]


def measure_footprint() -> Footprint:
    """Start the shipped serve_config.yaml on free ports and look at it once it is at rest.

    Raises StartFailed if a model does not answer correctly.
    """
    questions = bundled_questions()
    with tempfile.TemporaryDirectory(prefix="mb-") as directory:
        ports = Ports(*free_ports(3))
        port = ports.http
        config = Path(directory, "serve_config.yaml")
        config.write_text(yaml.safe_dump(one_box_config(ports, Path(directory))))
        ready: dict[str, float] = {}
        start = time.monotonic()
        with running(serve_run(config), ray_environment(Path(directory)), PROJECT) as program:

            def all_answer() -> bool:
                for question in questions:
                    if question.model not in ready and _answers(port, question):
                        ready[question.model] = time.monotonic() - start
                return len(ready) == len(questions)

            program.wait_until(all_answer)
            time.sleep(SETTLE_SECONDS)
            sizes = [(_label(process), _pss(process)) for process in program.processes()]
    return Footprint(ready, tuple(sorted(sizes, key=lambda entry: -entry[1])))


def _question(repository: ModelRepository, name: str) -> Question:
    config = repository.config(name)
    model = repository.load(name, list(config.versions)[-1])
    random = np.random.default_rng(1)
    inputs: dict[str, Array] = {}
    for key, zeros in warm_up_inputs(config, model.metadata).items():
        inputs[key] = random.random(zeros.shape).astype(zeros.dtype)
    tensors = [
        {
            "name": spec.name,
            "datatype": spec.datatype,
            "shape": inputs[spec.name].shape,
            "data": inputs[spec.name].ravel().tolist(),
        }
        for spec in model.metadata.inputs
    ]
    question = Question(name, {"inputs": tensors}, model.predict(inputs))
    model.unload()
    return question


def _answers(port: int, question: Question) -> bool:
    url = f"http://127.0.0.1:{port}/v2/models/{question.model}/infer"
    try:
        answer = httpx.post(url, json=dict(question.body), timeout=10)
    except httpx.HTTPError:
        return False
    if answer.status_code != 200:
        return False
    outputs = {output["name"]: output["data"] for output in answer.json()["outputs"]}
    return all(
        np.allclose(np.ravel(outputs[name]), array.ravel(), atol=TOLERANCE)
        for name, array in question.expected.items()
        if array.dtype.kind == "f"
    )


def _label(process: psutil.Process) -> str:
    """Ray's worker processes are named by what they run; others by their program or script."""
    try:
        command = process.cmdline() or [process.name()]
    except psutil.Error:
        return "(ended)"
    if command[0].startswith("ray::"):
        return command[0].strip()
    if "-c" in command:
        return "multiprocessing helper"
    if not Path(command[0]).name.startswith("python"):
        return Path(command[0]).name
    return Path(next((part for part in command[1:] if part[0] != "-"), command[0])).name


def _pss(process: psutil.Process) -> int:
    """From /proc/PID/smaps_rollup, whose numbers are in KiB; 0 for a process that has ended."""
    try:
        lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
