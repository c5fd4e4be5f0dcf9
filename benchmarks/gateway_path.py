"""What the hop from the gateway to a model in another process costs.

One model is served twice by one running product, each in an application of its own: `mlp` has its
route, so that HAProxy sends its requests straight to its process, and `mlp-hop` has none, so that
they reach the gateway, which calls the process. Same port, client and body for both. The gateway's
own doors, which always hop, stand beside the model's own direct door.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.bodies import build_body
from benchmarks.grpc_calls import ask, build_call
from benchmarks.h2load import run_h2load
from benchmarks.load import LoadResult, run_wrk
from benchmarks.models import BenchmarkModel
from benchmarks.processes import free_ports
from benchmarks.ray_config import Ports, product_config
from benchmarks.ray_servers import ray_server
from benchmarks.serving import RunningServer

MODEL = "mlp"
HOP = "mlp-hop"
CONNECTIONS = (1, 16)
WARM_UP_SECONDS = 1.0
START_SECONDS = 35.0

SERVE_DIRECT = "HAProxy -> model"
SERVE_HOP = "HAProxy -> gateway -> model"
DOOR_DIRECT = "the model's direct door"
DOOR_HOP = "the gateway's direct door -> model"
GRPC_HOP = "the gateway's gRPC door -> model"
PATHS = (SERVE_DIRECT, SERVE_HOP, DOOR_DIRECT, DOOR_HOP, GRPC_HOP)


@dataclass(frozen=True)
class GatewayPath:
    """`loads[path][connections]` has one entry for each pass."""

    loads: Mapping[str, Mapping[int, tuple[LoadResult, ...]]]


def expected_seconds(passes: int, seconds: float) -> float:
    return START_SECONDS + len(PATHS) * len(CONNECTIONS) * passes * (seconds + WARM_UP_SECONDS)


def measure_gateway_path(
    models: Mapping[str, BenchmarkModel], passes: int, seconds: float
) -> GatewayPath:
    """Every pass takes every path once, in the opposite order of the pass before.

    Raises StartFailed, LoadFailed.
    """
    model, hop = models[MODEL], _copied(models[MODEL])
    (door,) = free_ports(1)
    loads: dict[str, dict[int, tuple[LoadResult, ...]]] = {path: {} for path in PATHS}
    with ray_server({MODEL: model, HOP: hop}, partial(_config, door=door)) as server:
        for index in range(passes):
            for path in PATHS if index % 2 == 0 else reversed(PATHS):
                for connections in CONNECTIONS:
                    load = _load(server, path, door, (model, hop), connections, seconds)
                    print(f"  {path}, c={connections}: {load.rate:.0f} /s", flush=True)
                    loads[path][connections] = (*loads[path].get(connections, ()), load)
    return GatewayPath(loads)


def _load(
    server: RunningServer,
    path: str,
    door: int,
    models: tuple[BenchmarkModel, BenchmarkModel],
    connections: int,
    seconds: float,
) -> LoadResult:
    model, hop = models
    if path == GRPC_HOP:
        call, length = build_call(model), ask(server.grpc, model)
        run_h2load(server.grpc, call, length, connections, WARM_UP_SECONDS)
        return run_h2load(server.grpc, call, length, connections, seconds)
    url = {
        SERVE_DIRECT: server.infer_url(MODEL),
        SERVE_HOP: server.infer_url(HOP),
        DOOR_DIRECT: f"http://127.0.0.1:{door}/v2/models/{MODEL}/infer",
        DOOR_HOP: f"http://127.0.0.1:{server.direct}/v2/models/{MODEL}/infer",
    }[path]
    body = build_body(hop if path == SERVE_HOP else model, "json")
    run_wrk(url, body, connections, WARM_UP_SECONDS)
    return run_wrk(url, body, connections, seconds)


def _copied(model: BenchmarkModel) -> BenchmarkModel:
    """The same file under another name in the same repository."""
    file = model.file.parents[2] / HOP / "1" / "model.onnx"
    if not file.exists():
        file.parent.mkdir(parents=True)
        file.hardlink_to(model.file)
    return replace(model, name=HOP, file=file)


def _config(
    models: Mapping[str, BenchmarkModel], ports: Ports, directory: Path, *, door: int
) -> dict[str, Any]:
    config = product_config(models, ports, directory, own_application=True)
    for application in config["applications"][1:]:
        if application["name"] == HOP:
            application["route_prefix"] = None
        else:
            application["args"]["direct"] = {"port": door}
    return config
