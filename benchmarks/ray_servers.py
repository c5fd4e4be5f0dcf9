"""The servers on Ray Serve: ours in its several forms, and Serve by itself."""

import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from benchmarks.environments import versions_in
from benchmarks.processes import free_ports
from benchmarks.ray_config import PROJECT, Ports, ray_environment, serve_run
from benchmarks.serving import Command, Models, RunningServer, serving


@contextmanager
def ray_server(
    models: Models,
    configure: Callable[[Models, Ports, Path], object],
    *,
    direct: bool = False,
) -> Iterator[RunningServer]:
    """`configure` makes the content of serve_config.yaml, and may put files in a directory.

    With `direct` it is the direct door of the gateway that is asked.
    """
    with tempfile.TemporaryDirectory(prefix="mb-") as folder:
        directory = Path(folder)
        ports = Ports(*free_ports(3))
        config = directory / "serve_config.yaml"
        config.write_text(json.dumps(configure(models, ports, directory)))  # JSON is YAML
        versions = versions_in(Path(sys.executable), ["ray"])
        command = Command(serve_run(config), ray_environment(directory), PROJECT)
        http = ports.direct if direct else ports.http
        with serving(models, command, versions, http, ports.grpc) as server:
            yield replace(server, direct=ports.direct)
