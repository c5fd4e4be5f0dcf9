"""How the servers on Ray are started, so that several may run on one machine."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.models import BenchmarkModel
from benchmarks.processes import free_ports

PROJECT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Ports:
    """Of Serve's HTTP door, of the gateway's gRPC server and of its direct HTTP door."""

    http: int
    grpc: int
    direct: int


def serve_run(config: Path) -> list[str]:
    return [str(Path(sys.executable).with_name("serve")), "run", str(config)]


def ray_environment(directory: Path) -> dict[str, str]:
    """A cluster of its own with its files in `directory`, and ports that nobody else uses.

    HAProxy's files and ports are Ray's to name: without this, two clusters on one machine would
    write the same configuration file. `directory` must be short, since sockets lie in it.
    """
    stats, metrics, http, grpc = free_ports(4)
    haproxy = directory / "haproxy"
    return {
        "PYTHONPATH": str(PROJECT),
        "RAY_ADDRESS": "local",
        "RAY_AUTH_MODE": "disabled",
        "RAY_USAGE_STATS_ENABLED": "0",
        # As `make run` does. Else what serves would stand behind everything else on the machine.
        "RAY_worker_niceness": "0",
        "RAY_TMPDIR": str(directory),
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(haproxy / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(haproxy / "admin.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(haproxy),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(haproxy / "server-state"),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(stats),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(metrics),
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(http),
        "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT": str(grpc),
    }


def one_box_config(ports: Ports, directory: Path) -> dict[str, Any]:
    """The shipped serve_config.yaml on other ports, remembering nothing of earlier runs."""
    config: dict[str, Any] = yaml.safe_load((PROJECT / "serve_config.yaml").read_text())
    config["applications"][0]["args"] |= {
        "direct": {"port": ports.http},
        "grpc": {"port": ports.grpc},
        "loaded_models_file": str(directory / "loaded_models.json"),
    }
    return config


def haproxy_config(ports: Ports, directory: Path) -> dict[str, Any]:
    """The product behind HAProxy, with the gateway's own port, which one box uses alone, beside it;
    on other ports, remembering nothing of earlier runs."""
    config: dict[str, Any] = yaml.safe_load((PROJECT / "config" / "serve_haproxy.yaml").read_text())
    config["http_options"] = {**config["http_options"], "host": "127.0.0.1", "port": ports.http}
    config["applications"][0]["args"] |= {
        "direct": {"port": ports.direct},
        "grpc": {"port": ports.grpc},
        "loaded_models_file": str(directory / "loaded_models.json"),
    }
    return config


def product_config(
    models: Mapping[str, BenchmarkModel],
    ports: Ports,
    directory: Path,
    *,
    own_application: bool = False,
    timeout_s: float = 30.0,
) -> dict[str, Any]:
    """The shipped configuration with these models in place of its own.

    The gateway's process holds them, or each is an application of its own with the bound
    `timeout_s` on a request.
    """
    config = haproxy_config(ports, directory)
    gateway = config["applications"][0]
    runtime_env = gateway["runtime_env"]
    repositories = sorted({str(model.file.parents[2]) for model in models.values()})
    inline, remote = ([], list(models)) if own_application else (list(models), [])
    gateway["args"] |= {"repositories": repositories, "inline": inline, "remote": remote}
    gateway["args"] |= {"pipelines": [], "streams": []}
    config["applications"] = [gateway] + [
        {
            "name": name,
            "route_prefix": f"/v2/models/{name}",
            "import_path": "deployments.model:build",
            "runtime_env": runtime_env,
            "args": {"repositories": repositories, "model": name, "timeout_s": timeout_s},
            "deployments": [{"name": "Model", "ray_actor_options": {"num_cpus": 0.1}}],
        }
        for name in remote
    ]
    return config


def peer_config(
    models: Mapping[str, BenchmarkModel], ports: Ports, _directory: Path
) -> dict[str, Any]:
    """Ray Serve as its documentation begins; only addresses and ports are set."""
    repository = next(iter(models.values())).file.parents[2]
    return {
        "http_options": {"host": "127.0.0.1", "port": ports.http},
        "grpc_options": {
            "port": ports.grpc,
            "grpc_servicer_functions": ["benchmarks.peers.ray_serve_app.add_servicer"],
        },
        "applications": [
            {
                "name": "default",
                "route_prefix": "/",
                "import_path": "benchmarks.peers.ray_serve_app:build",
                "args": {"repository": str(repository)},
            }
        ],
    }
