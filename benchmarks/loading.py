"""How long a model of 100 MB takes from the request to load it until it has answered."""

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from benchmarks.models import BenchmarkModel, large_model
from benchmarks.ray_config import Ports, product_config
from benchmarks.ray_servers import ray_server
from benchmarks.serving import Models

MEGABYTES = 100
MODEL = "mlp"
INLINE = "large"
DEPLOYED = "large-deployed"
TIMEOUT_SECONDS = 60.0
START_SECONDS = 30.0


@dataclass(frozen=True)
class Loading:
    """Seconds until the first answer, once for each load, by where the model lives."""

    inline: tuple[float, ...]
    application: tuple[float, ...]


def expected_seconds(passes: int) -> float:
    return START_SECONDS + passes * 12


def measure_loading(models: Models, directory: Path, passes: int) -> Loading:
    """Load through the repository API, ask until answered, unload; `passes` times each.

    In the gateway's process and, for a model that serve_config.yaml does not name, in a Serve
    application that the load makes. Raises StartFailed, RuntimeError.
    """
    repository = directory / "large"
    for name in (INLINE, DEPLOYED):
        if not (repository / name).exists():
            large_model(repository, name, MEGABYTES)
    with ray_server({MODEL: models[MODEL]}, partial(_config, repository=repository)) as server:
        inline, application = [], []
        for _ in range(passes):
            inline.append(_load_once(server.url, INLINE))
            application.append(_load_once(server.url, DEPLOYED))
            print(f"  inline {inline[-1]:.1f} s, deployed {application[-1]:.1f} s", flush=True)
    return Loading(tuple(inline), tuple(application))


def _load_once(url: str, model: str) -> float:
    with httpx.Client(base_url=url, timeout=TIMEOUT_SECONDS) as client:
        _checked(client.post(f"/v2/repository/models/{model}/unload"))
        start = time.monotonic()
        _checked(client.post(f"/v2/repository/models/{model}/load"))
        metadata = _checked(client.get(f"/v2/models/{model}")).json()
        width = metadata["inputs"][0]["shape"][1]
        body = {"inputs": [_tensor(width)]}
        while client.post(f"/v2/models/{model}/infer", json=body).status_code != 200:
            if time.monotonic() > start + TIMEOUT_SECONDS:
                raise RuntimeError(f"{model} was loaded and does not answer")
            time.sleep(0.01)
        seconds = time.monotonic() - start
        _checked(client.post(f"/v2/repository/models/{model}/unload"))
    return seconds


def _tensor(width: int) -> dict[str, object]:
    data = np.zeros(width).tolist()
    return {"name": "x", "datatype": "FP32", "shape": [1, width], "data": data}


def _checked(answer: httpx.Response) -> httpx.Response:
    if answer.status_code != 200:
        raise RuntimeError(f"{answer.url.path}: HTTP {answer.status_code}: {answer.text[:200]}")
    return answer


def _config(
    models: dict[str, BenchmarkModel], ports: Ports, directory: Path, *, repository: Path
) -> dict[str, Any]:
    config = product_config(models, ports, directory)
    arguments = config["applications"][0]["args"]
    arguments["repositories"] = [*arguments["repositories"], str(repository)]
    arguments["inline"] = [*arguments["inline"], INLINE]
    return config
