"""Every server of the comparison, ours and the peers', as a context manager.

A server is given the same repository of ONNX files and one worker, listens on a free port of the
loopback address, and is ready when it has answered a request of every model correctly.
"""

import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx

from benchmarks.bodies import Encoding, build_body, check_answer
from benchmarks.environments import Environment, library_directory, prepare, versions_in
from benchmarks.models import BenchmarkModel
from benchmarks.processes import Program, free_ports, running
from benchmarks.ray_config import PROJECT, peer_config, product_config, ray_environment, serve_run

Models = Mapping[str, BenchmarkModel]

MLSERVER = Environment("mlserver", ("3.12", "3.11", "3.10"), ("mlserver==1.7.1",))
PYTRITON = Environment("pytriton", ("3.12", "3.10"), ("nvidia-pytriton==0.7.0",))
LITSERVE = Environment("litserve", ("3.13", "3.12", "3.11", "3.10"), ("litserve==0.2.19",))

BATCH_SIZE = 16


@dataclass(frozen=True)
class RunningServer:
    """`versions` are those of the packages that serve."""

    program: Program
    url: str
    versions: Mapping[str, str]

    def infer_url(self, model: str) -> str:
        return f"{self.url}/v2/models/{model}/infer"


@dataclass(frozen=True)
class Server:
    """`name` is one way to run `product`; of several ways the best counts, workload by workload.

    `binary` is the form in which it takes the bytes of a tensor over HTTP, if it takes them.
    """

    name: str
    product: str
    start: Callable[[Models], AbstractContextManager[RunningServer]]
    binary: Encoding | None = None


def wrong_answer(server: RunningServer, model: BenchmarkModel, encoding: Encoding) -> str | None:
    """Ask once; None if the answer is right, otherwise what is wrong with it."""
    body = build_body(model, encoding)
    try:
        answer = httpx.post(
            server.infer_url(model.name), content=body.content, headers=body.headers, timeout=30
        )
        if answer.status_code != 200:
            return f"HTTP {answer.status_code}: {answer.text[:160]}"
        check_answer(model, dict(answer.headers), answer.content)
    except (httpx.HTTPError, ValueError, KeyError, UnicodeDecodeError) as error:
        return f"{type(error).__name__}: {error}"
    return None


@contextmanager
def _serving(
    models: Models,
    port: int,
    command: Sequence[str],
    environment: Mapping[str, str],
    directory: Path,
    versions: Mapping[str, str],
) -> Iterator[RunningServer]:
    with running(command, environment, directory) as program:
        server = RunningServer(program, f"http://127.0.0.1:{port}", versions)
        waiting = list(models.values())

        def ready() -> bool:
            while waiting and wrong_answer(server, waiting[0], "json") is None:
                waiting.pop(0)
            return not waiting

        program.wait_until(ready)
        yield server


@contextmanager
def _ray(models: Models, configure: Callable[[Models, int], object]) -> Iterator[RunningServer]:
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mb-")))
        (port,) = free_ports(1)
        config = directory / "serve_config.yaml"
        config.write_text(json.dumps(configure(models, port)))  # JSON is YAML
        versions = versions_in(Path(sys.executable), ["ray"])
        environment = ray_environment(directory)
        yield stack.enter_context(
            _serving(models, port, serve_run(config), environment, PROJECT, versions)
        )


def product_server(models: Models, timeout_s: float) -> AbstractContextManager[RunningServer]:
    """Ours, each model as its own application with this bound on a request, in seconds."""
    configure = partial(product_config, own_application=True, timeout_s=timeout_s)
    return _ray(models, configure)


@contextmanager
def _mlserver(models: Models, batch_size: int) -> Iterator[RunningServer]:
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
        command = [str(python.with_name("mlserver")), "start", directory]
        versions = versions_in(python, ["mlserver", "onnxruntime"])
        environment = {"PYTHONPATH": str(PROJECT)}
        with _serving(models, http, command, environment, Path(directory), versions) as server:
            yield server


@contextmanager
def _pytriton(models: Models) -> Iterator[RunningServer]:
    python = prepare(PYTRITON)
    http, grpc, metrics = free_ports(3)
    command = [
        *(str(python), "-m", "benchmarks.peers.pytriton_server"),
        *("--repository", _repository(models), "--port", str(http)),
        *("--grpc-port", str(grpc), "--metrics-port", str(metrics)),
    ]
    versions = versions_in(python, ["nvidia-pytriton", "onnxruntime"])
    # Triton's Python backend links against the shared library of the Python it runs.
    environment = {"PYTHONPATH": str(PROJECT), "LD_LIBRARY_PATH": library_directory(python)}
    with (
        tempfile.TemporaryDirectory(prefix="manta-bench-") as directory,
        _serving(models, http, command, environment, Path(directory), versions) as server,
    ):
        yield server


@contextmanager
def _litserve(models: Models, batch_size: int) -> Iterator[RunningServer]:
    python = prepare(LITSERVE)
    (port,) = free_ports(1)
    command = [
        *(str(python), "-m", "benchmarks.peers.litserve_server"),
        *("--repository", _repository(models), "--port", str(port), "--batch", str(batch_size)),
    ]
    versions = versions_in(python, ["litserve", "onnxruntime"])
    environment = {"PYTHONPATH": str(PROJECT)}
    with (
        tempfile.TemporaryDirectory(prefix="manta-bench-") as directory,
        _serving(models, port, command, environment, Path(directory), versions) as server,
    ):
        yield server


def _repository(models: Models) -> str:
    return str(next(iter(models.values())).file.parents[2])


SERVERS = (
    Server("manta", "Manta", partial(_ray, configure=product_config), "binary"),
    Server(
        "manta-own-application",
        "Manta, model as its own application",
        partial(_ray, configure=partial(product_config, own_application=True)),
        "binary",
    ),
    Server(
        "manta-direct",
        "Manta, direct door",
        partial(_ray, configure=partial(product_config, direct=True)),
        "binary",
    ),
    Server("ray-serve", "Ray Serve, default", partial(_ray, configure=peer_config), "raw"),
    Server("mlserver", "MLServer", partial(_mlserver, batch_size=0)),
    Server("mlserver-batching", "MLServer", partial(_mlserver, batch_size=BATCH_SIZE)),
    Server("pytriton", "pytriton", _pytriton, "binary"),
    Server("litserve", "LitServe", partial(_litserve, batch_size=1), "base64"),
    Server("litserve-batching", "LitServe", partial(_litserve, batch_size=BATCH_SIZE), "base64"),
)
