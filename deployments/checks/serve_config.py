"""The schema of serve_config.yaml, refusing what Ray Serve would silently ignore.

The names are those of `ray.serve.schema.ServeDeploySchema` and what it holds (Ray 2.60), which
lets unknown keys pass; a test compares the two. Where Ray checks a part itself, or hands it to
something else (`runtime_env`, `user_config`), that part stays open here. Knows nothing of Ray.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    field_validator,
    model_validator,
)
from typing_extensions import Self

from app.config.yaml_file import load_yaml
from deployments.args import GatewayArgs, ModelArgs, StreamsArgs

MODEL = "deployments.model:build"
GATEWAY = "deployments.gateway:build"
STREAMS = "deployments.connector:build"
OURS = (GATEWAY, MODEL, STREAMS)

Open: TypeAlias = Mapping[str, object] | None
Level: TypeAlias = Literal["CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG", "NOTSET"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ControllerOptions(_Part):
    runtime_env: Open = None


class HttpOptions(_Part):
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=1, le=65535)
    root_path: str = ""
    request_timeout_s: float | None = Field(default=None, gt=0)
    keep_alive_timeout_s: int = Field(default=90, ge=0)
    ssl_keyfile: str | None = None
    ssl_certfile: str | None = None
    ssl_keyfile_password: str | None = None
    ssl_ca_certs: str | None = None


class GrpcOptions(_Part):
    port: int = Field(default=9000, ge=1, le=65535)
    grpc_servicer_functions: tuple[str, ...] = ()
    request_timeout_s: float | None = Field(default=None, gt=0)
    enable_reflection: bool = True


class LoggingOptions(_Part):
    encoding: Literal["TEXT", "JSON"] = "TEXT"
    log_level: Level | int = "INFO"
    logs_dir: str | None = None
    enable_access_log: bool = True
    additional_log_standard_attrs: tuple[str, ...] = ()


class TracingOptions(_Part):
    enabled: bool = True
    exporter_import_path: str = ""
    sampling_ratio: float = Field(default=1.0, ge=0, le=1)


class ActorOptions(_Part):
    runtime_env: Open = None
    num_cpus: float | None = Field(default=None, ge=0)
    num_gpus: float | None = Field(default=None, ge=0)
    memory: float | None = Field(default=None, ge=0)
    resources: Mapping[str, float] = Field(default_factory=dict)
    accelerator_type: str | None = None
    label_selector: Mapping[str, str] | None = None
    fallback_strategy: tuple[Mapping[str, object], ...] | None = None


class AutoscalingOptions(_Part):
    min_replicas: int = Field(default=1, ge=0)
    initial_replicas: int | None = Field(default=None, ge=0)
    max_replicas: int = Field(default=1, ge=1)
    target_ongoing_requests: float | None = Field(default=None, gt=0)
    metrics_interval_s: float = Field(default=10.0, gt=0)
    look_back_period_s: float = Field(default=30.0, gt=0)
    smoothing_factor: float = Field(default=1.0, gt=0)
    upscale_smoothing_factor: float | None = Field(default=None, gt=0)
    downscale_smoothing_factor: float | None = Field(default=None, gt=0)
    upscaling_factor: float | None = Field(default=None, gt=0)
    downscaling_factor: float | None = Field(default=None, gt=0)
    downscale_delay_s: float = Field(default=600.0, ge=0)
    downscale_to_zero_delay_s: float | None = Field(default=None, ge=0)
    upscale_delay_s: float = Field(default=30.0, ge=0)
    aggregation_function: str = "mean"
    policy: Open = None


class DeploymentOptions(_Part):
    """What is said of one deployment of an application; `name` is the one its builder gives."""

    name: str
    num_replicas: Annotated[int, Field(ge=1)] | Literal["auto"] | None = None
    max_ongoing_requests: int = Field(default=5, ge=1)
    max_queued_requests: int = Field(default=-1, ge=-1)
    backpressure_config: Open = None
    user_config: Open = None
    autoscaling_config: AutoscalingOptions | None = None
    graceful_shutdown_wait_loop_s: float = Field(default=2.0, ge=0)
    graceful_shutdown_timeout_s: float = Field(default=20.0, ge=0)
    health_check_period_s: float = Field(default=10.0, gt=0)
    health_check_timeout_s: float = Field(default=30.0, gt=0)
    ray_actor_options: ActorOptions = ActorOptions()
    placement_group_bundles: tuple[Mapping[str, float], ...] | None = None
    placement_group_strategy: str | None = None
    placement_group_bundle_label_selector: tuple[Mapping[str, str], ...] | None = None
    max_replicas_per_node: int | None = Field(default=None, ge=1, le=100)
    logging_config: LoggingOptions | None = None
    request_router_config: Open = None
    gang_scheduling_config: Open = None
    deployment_actors: tuple[object, ...] | None = None
    rolling_update_percentage: float | None = None
    max_surge_percent: int | None = None

    @model_validator(mode="after")
    def _one_way_to_scale(self) -> Self:
        if isinstance(self.num_replicas, int) and self.autoscaling_config is not None:
            raise ValueError("write num_replicas: <number> or autoscaling_config, not both")
        return self


class Application(_Part):
    """One application; its subclasses are ours, whose `args` are known."""

    name: str = "default"
    route_prefix: str | None = "/"
    import_path: str
    runtime_env: Open = None
    deployments: tuple[DeploymentOptions, ...] = ()
    autoscaling_policy: Open = None
    logging_config: LoggingOptions | None = None
    external_scaler_enabled: bool = False

    @field_validator("route_prefix")
    @classmethod
    def _is_absolute(cls, prefix: str | None) -> str | None:
        if prefix is not None and prefix != "/" and (prefix[:1] != "/" or prefix.endswith("/")):
            raise ValueError("must start with '/' and not end with it")
        return prefix


class OtherApplication(Application):
    args: Mapping[str, object] = Field(default_factory=dict)

    @field_validator("import_path")
    @classmethod
    def _is_not_ours(cls, import_path: str) -> str:
        if import_path.startswith("deployments."):
            raise ValueError(f"there is no {import_path!r}; Manta has: {', '.join(OURS)}")
        return import_path


class ModelApplication(Application):
    import_path: Literal["deployments.model:build"]
    args: ModelArgs


class GatewayApplication(Application):
    import_path: Literal["deployments.gateway:build"]
    args: GatewayArgs = GatewayArgs()


class StreamsApplication(Application):
    import_path: Literal["deployments.connector:build"]
    args: StreamsArgs = StreamsArgs()


def _kind(value: object) -> str:
    path = value.get("import_path") if isinstance(value, Mapping) else None
    return path if path in OURS else "other"


AnyApplication: TypeAlias = Annotated[
    Annotated[ModelApplication, Tag(MODEL)]
    | Annotated[GatewayApplication, Tag(GATEWAY)]
    | Annotated[StreamsApplication, Tag(STREAMS)]
    | Annotated[OtherApplication, Tag("other")],
    Discriminator(_kind),
]


class ServeConfig(_Part):
    """A whole serve_config.yaml."""

    proxy_location: Literal["Disabled", "HeadOnly", "EveryNode"] = "EveryNode"
    http_options: HttpOptions = HttpOptions()
    grpc_options: GrpcOptions = GrpcOptions()
    controller_options: ControllerOptions | None = None
    logging_config: LoggingOptions | None = None
    tracing_config: TracingOptions | None = None
    applications: tuple[AnyApplication, ...]
    target_capacity: float | None = Field(default=None, ge=0, le=100)

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        for field in ("name", "route_prefix"):
            values = Counter(getattr(app, field) for app in self.applications)
            for value, count in values.items():
                if count > 1 and value is not None:
                    raise ValueError(f"{count} applications have the {field} {value!r}")
        return self


class _Verbatim(Mapping[str, str]):
    """`${NAME}` stays as it is: in this file it is Ray that puts the value in."""

    def __getitem__(self, name: str) -> str:
        return f"${{{name}}}"

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def __contains__(self, name: object) -> bool:
        return True


def load_serve_config(path: Path) -> ServeConfig:
    """Raises ConfigurationError naming the file, the line and the field."""
    return load_yaml(path, ServeConfig, _Verbatim())
