"""The `args` of the applications in serve_config.yaml, and what every deployment has in common."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from ray import serve
from ray.serve import Application

PROJECT = Path(__file__).resolve().parents[1]


class AppArgs(BaseModel):
    """What every application is told. Relative paths start at the project's directory."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    repositories: tuple[Path, ...] = (Path("models/zoo"),)


class ModelArgs(AppArgs):
    """One model in its own application, which must be named as the model is.

    `timeout_s` bounds a request that comes over HTTP.
    """

    model: str
    timeout_s: float = Field(default=30.0, gt=0)


class HostArgs(AppArgs):
    """A process that runs pipelines: which models it holds itself, and which it calls.

    `remote` are models that are applications of their own.
    """

    pipelines_file: Path = Path("config/pipelines.yaml")
    pipelines: tuple[str, ...] = ()
    inline: tuple[str, ...] = ()
    remote: tuple[str, ...] = ()


class GatewayArgs(HostArgs):
    """Its pipelines answer over HTTP; `streams` are the applications that host connectors."""

    streams: tuple[str, ...] = ()


class StreamsArgs(HostArgs):
    """`connectors` names those of the file that run here; empty means all of them."""

    connectors: tuple[str, ...] = Field(default=())


def deploy(cls: type[object], name: str, args: AppArgs, **options: Any) -> Application:
    """Bind a plain class as a deployment.

    Its replicas take many requests at once, since waiting for a batch or for another process
    costs nothing; what bounds them is the batcher's queue.
    """
    defaults: dict[str, Any] = {
        "max_ongoing_requests": 4096,
        "health_check_period_s": 5,
        "graceful_shutdown_wait_loop_s": 0.2,
        "graceful_shutdown_timeout_s": 10,
    }
    deployment: serve.Deployment = serve.deployment(name=name, **(defaults | options))(cls)
    return deployment.bind(args)


def resolved(path: Path) -> Path:
    """A path of the configuration, as this process can open it."""
    return path if path.is_absolute() else PROJECT / path
