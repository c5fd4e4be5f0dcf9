"""The whole product as a user runs it: `manta run` on a configuration, ended with a signal."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import psutil
import yaml

from cli.run import ENVIRONMENT, ON_LOOPBACK
from tests.integration.mosquitto import free_port
from tests.paths import ROOT

START_SECONDS = 120.0


class Product:
    """One `manta run`, with the project's own configuration changed where a test needs it.

    `pipelines` and `serve` are the two files; the ports are free ones. `direct_url` is the
    gateway's own port; it is `url` unless HAProxy stands in front (config/serve_haproxy.yaml).
    `environ` is added to the environment of `serve run`. `client` keeps connections from start to
    stop.
    """

    def __init__(
        self, folder: Path, serve: Mapping[str, Any], pipelines: Mapping[str, Any]
    ) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / "serve.log"
        self.environ: dict[str, str] = {}
        self.client = httpx.Client()
        self._process: subprocess.Popen[bytes] | None = None
        pipelines_file = folder / "pipelines.yaml"
        pipelines_file.write_text(yaml.safe_dump(dict(pipelines)))
        config = dict(serve)
        direct_port = self.port
        if config["proxy_location"] != "Disabled":
            direct_port = free_port()
            own = {"host": "127.0.0.1", "port": self.port}
            config["http_options"] = {**config["http_options"], **own}
        self.direct_url = f"http://127.0.0.1:{direct_port}"
        config["applications"][0]["args"]["direct"] = {"port": direct_port}
        grpc_port = free_port()
        self.grpc_address = f"127.0.0.1:{grpc_port}"
        config["applications"][0]["args"]["grpc"] = {"port": grpc_port}
        for application in config["applications"]:
            if "model" not in application["args"]:
                application["args"]["pipelines_file"] = str(pipelines_file)
        self.config_file = folder / "serve_config.yaml"
        self.config_file.write_text(yaml.safe_dump(config))

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self, until: Callable[[], bool] | None = None) -> None:
        """Returns once every model is ready, or when `until` says so."""
        self.client = httpx.Client(base_url=self.url, timeout=90)
        serve, file = Path(sys.executable).with_name("serve"), self.config_file
        environ = {
            **os.environ,
            **ENVIRONMENT,
            **ON_LOOPBACK,
            "RAY_AUTH_MODE": "disabled",
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "0",
            "PYTHONPATH": str(ROOT),
            **self.environ,
        }
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "cluster.supervisor", *map(str, (serve, "run", file))],
                cwd=ROOT,
                env=environ,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.wait_until(until or self.is_ready, START_SECONDS)

    def is_ready(self) -> bool:
        try:
            answer = httpx.get(f"{self.url}/v2/health/ready", timeout=2.0)
        except httpx.HTTPError:
            return False
        return answer.status_code == 200 and "Manta is ready" in self.log.read_text()

    def wait_until(self, condition: Any, seconds: float) -> None:
        assert self._process is not None
        give_up = time.monotonic() + seconds
        while not condition():
            if self._process.poll() is not None:
                raise RuntimeError(f"serve run ended:\n{self.log.read_text()[-4000:]}")
            if time.monotonic() > give_up:
                raise RuntimeError(f"waited {seconds} s in vain:\n{self.log.read_text()[-4000:]}")
            time.sleep(0.2)

    def stop(self, sign: signal.Signals = signal.SIGTERM) -> list[psutil.Process]:
        """Send the signal, wait for the end, and return those of its processes that still live."""
        if self._process is None:
            return []
        self.client.close()
        if self._process.poll() is not None:
            self._process = None
            return []
        family = psutil.Process(self.pid).children(recursive=True)
        self._process.send_signal(sign)
        self._process.wait(60)
        _, alive = psutil.wait_procs(family, timeout=15)
        self._process = None
        return alive

    def processes(self) -> list[dict[str, Any]]:
        """What every process tells of itself, the one that was asked first."""
        found: list[dict[str, Any]] = self.client.get("/v1/status").json()["processes"]
        return found

    def process_status(self, application: str) -> dict[str, Any]:
        return next(each for each in self.processes() if each["application"] == application)


def project_files(*, haproxy: bool = False) -> tuple[dict[str, Any], dict[str, Any]]:
    """The project's own two configuration files, as data to be changed."""
    name = "config/serve_haproxy.yaml" if haproxy else "serve_config.yaml"
    serve = yaml.safe_load((ROOT / name).read_text())
    pipelines = yaml.safe_load((ROOT / "config" / "pipelines.yaml").read_text())
    recorded = pipelines["connectors"][0]  # the file is written into another folder
    recorded["path"] = str(ROOT / "config" / recorded["path"])
    return serve, pipelines
