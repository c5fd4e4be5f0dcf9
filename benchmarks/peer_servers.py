"""The peers that do not run on Ray, each in an environment of its own."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.environments import Environment, library_directory, prepare, versions_in
from benchmarks.processes import free_ports
from benchmarks.ray_config import PROJECT
from benchmarks.serving import Command, Models, RunningServer, repository_of, serving

MLSERVER = Environment("mlserver", ("3.12", "3.11", "3.10"), ("mlserver==1.7.1",))
PYTRITON = Environment("pytriton", ("3.12", "3.10"), ("nvidia-pytriton==0.7.0",))
LITSERVE = Environment("litserve", ("3.13", "3.12", "3.11", "3.10"), ("litserve==0.2.19",))


@contextmanager
def mlserver(models: Models, batch_size: int) -> Iterator[RunningServer]:
    """With adaptive batching where `batch_size` is not 0."""
    python = prepare(MLSERVER)
    with tempfile.TemporaryDirectory(prefix="manta-bench-") as directory:
        http, grpc, metrics = free_ports(3)
        # No worker pool: for models as small as these a process hop costs more than it spreads.
        settings = {
            "host": "127.0.0.1",
            "http_port": http,
            "grpc_port": grpc,
            "metrics_port": metrics,
            "parallel_workers": 0,
            "debug": False,
        }
        Path(directory, "settings.json").write_text(json.dumps(settings))
        for name, model in models.items():
            Path(directory, name).mkdir()
            of_model = {
                "name": name,
                "implementation": "benchmarks.peers.mlserver_runtime.OnnxRuntime",
                "parameters": {"uri": str(model.file)},
                **({"max_batch_size": batch_size, "max_batch_time": 0.001} if batch_size else {}),
            }
            Path(directory, name, "model-settings.json").write_text(json.dumps(of_model))
        words = [str(python.with_name("mlserver")), "start", directory]
        command = Command(words, {"PYTHONPATH": str(PROJECT)}, Path(directory))
        versions = versions_in(python, ["mlserver", "onnxruntime"])
        with serving(models, command, versions, http, grpc) as server:
            yield server


@contextmanager
def pytriton(models: Models) -> Iterator[RunningServer]:
    python = prepare(PYTRITON)
    http, grpc, metrics = free_ports(3)
    words = [
        *(str(python), "-m", "benchmarks.peers.pytriton_server"),
        *("--repository", str(repository_of(models)), "--port", str(http)),
        *("--grpc-port", str(grpc), "--metrics-port", str(metrics)),
    ]
    versions = versions_in(python, ["nvidia-pytriton", "onnxruntime"])
    # Triton's Python backend links against the shared library of the Python it runs.
    environment = {"PYTHONPATH": str(PROJECT), "LD_LIBRARY_PATH": library_directory(python)}
    with tempfile.TemporaryDirectory(prefix="manta-bench-") as directory:
        command = Command(words, environment, Path(directory))
        with serving(models, command, versions, http, grpc) as server:
            yield server


@contextmanager
def litserve(models: Models, batch_size: int) -> Iterator[RunningServer]:
    python = prepare(LITSERVE)
    (port,) = free_ports(1)
    words = [
        *(str(python), "-m", "benchmarks.peers.litserve_server", "--port", str(port)),
        *("--repository", str(repository_of(models)), "--batch", str(batch_size)),
    ]
    versions = versions_in(python, ["litserve", "onnxruntime"])
    with tempfile.TemporaryDirectory(prefix="manta-bench-") as directory:
        command = Command(words, {"PYTHONPATH": str(PROJECT)}, Path(directory))
        with serving(models, command, versions, port) as server:
            yield server
