"""The `args` of the applications in serve_config.yaml. Knows nothing of Ray."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from app.api.codec.shared_memory import SharedMemory, SharedMemoryConfig
from app.api.grpc.config import GrpcConfig
from app.api.http.direct_server import DirectConfig
from app.config.limits import Limits
from app.config.pipelines import HostName, Origin

PROJECT = Path(__file__).resolve().parents[1]


class AppArgs(BaseModel):
    """What every application is told. Relative paths start at the project's directory.

    Artefacts of more than `max_model_size_mb` million bytes are not loaded.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    repositories: tuple[Path, ...] = (Path("models/zoo"),)
    max_model_size_mb: int = Field(default=1024, ge=1)


class ServingArgs(AppArgs):
    """A process that answers over HTTP; `direct` opens a port of its own, past Serve's.

    With `shared_memory`, tensors may be in memory that a client on the same machine shares.
    """

    direct: DirectConfig | None = None
    shared_memory: SharedMemoryConfig | None = None


class ModelArgs(ServingArgs):
    """One model in its own application, which must be named as the model is.

    `timeout_s` bounds a request that comes over HTTP; `limits` bound what it may hold; `origins`
    and `hosts` are as in the gateway's configuration. `override` replaces fields of its
    `model.yaml`; what `loaded_models_file` has for the model goes before it.
    """

    model: str
    override: dict[str, JsonValue] = Field(default_factory=dict)
    loaded_models_file: Path | None = None
    timeout_s: float = Field(default=30.0, gt=0)
    limits: Limits = Limits()
    origins: tuple[Origin, ...] = ()
    hosts: tuple[HostName, ...] = ()


class HostArgs(AppArgs):
    """A process that runs pipelines: which models it holds itself, and which it calls.

    `remote` are models that are applications of their own. At most `model_cache_size` of the inline
    models that are marked `on_demand` are held in memory at once.
    """

    pipelines_file: Path = Path("config/pipelines.yaml")
    pipelines: tuple[str, ...] = ()
    inline: tuple[str, ...] = ()
    remote: tuple[str, ...] = ()
    model_cache_size: int = Field(default=5, ge=1)


class GatewayArgs(HostArgs, ServingArgs):
    """Its pipelines answer over HTTP; `streams` are the applications that host connectors.

    Without `grpc`, there is no gRPC server. `loaded_models_file` is where models that were loaded
    on request are remembered.
    """

    streams: tuple[str, ...] = ()
    grpc: GrpcConfig | None = None
    loaded_models_file: Path = Path("var/loaded_models.json")


class StreamsArgs(HostArgs):
    """`connectors` names those of the file that run here; empty means all of them."""

    connectors: tuple[str, ...] = Field(default=())


def resolved(path: Path) -> Path:
    """A path of the configuration, as this process can open it."""
    return path if path.is_absolute() else PROJECT / path


def shared_memory(args: ServingArgs) -> SharedMemory | None:
    """Raises ConfigurationError."""
    config = args.shared_memory
    return None if config is None else SharedMemory(config, resolved(config.registry))
