"""The schema of `config/pipelines.yaml`: what flows.

One format for both forms: a pipeline is written short (`preprocess`, `model`, `postprocess`,
`agents`) or as a graph (`nodes`, `edges`). A file that is itself one graph (`name`, `nodes`,
`edges`) is read as a file with that one pipeline. YAML or JSON.

The types that may stand in it are those of the registries, so the catalogues (`app.nodes`,
`connectors`) must have been imported before a file is read.
"""

from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from types import GenericAlias
from typing import Annotated, Any, Literal, TypeVar, Union

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, create_model, model_validator

from app.config.connectors import ActionConfig, ConnectorConfig
from app.config.limits import Limits
from app.config.yaml_file import load_yaml, parse_yaml
from app.registry import NODES, SINKS, SOURCES, ComponentConfig, Registration, Registry

ComponentT = TypeVar("ComponentT")
ModelT = TypeVar("ModelT", bound=BaseModel)
Identifier = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
Origin = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9+.-]*://[^/]+$")]
"""`scheme://host[:port]`, as browsers name it."""

HostName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$")]
"""Without a port."""


class GatewayConfig(ComponentConfig):
    """How this process calls models that live in other processes.

    `host`, `port` and `pool_size` are read and ignored: they described the socket of an older
    gateway. Where a model runs is now said in serve_config.yaml, and requests to another process
    share its calls. Pages of other `origins` may send what pages of the
    server itself may; `hosts` are further names by which clients may address it.
    """

    host: str | None = None
    port: int | None = None
    pool_size: int | None = None
    timeout_s: float = Field(default=30.0, gt=0, description="seconds until a call is given up")
    limits: Limits = Limits()
    origins: tuple[Origin, ...] = ()
    hosts: tuple[HostName, ...] = ()


class Edge(BaseModel):
    """One arrow of a graph: `to` reads what `from` made."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    source: str = Field(alias="from")
    to: str


class NodeConfig(ComponentConfig):
    """One node of a graph; the file's schema narrows `type` and `params` to what is registered."""

    id: Identifier
    type: str
    params: ComponentConfig


class PipelineConfig(ComponentConfig):
    """One pipeline, in either form.

    `deadline_ms` counts from the capture of a message; later than that it is dropped or, where
    `fallback` names another pipeline, downgraded to that one. `output` is the node whose result
    answers a request; the default is the graph's last node before the agents.
    """

    id: Identifier
    preprocess: str | None = None
    model: str | None = None
    postprocess: str | None = None
    nodes: tuple[NodeConfig, ...] = ()
    edges: tuple[Edge, ...] = ()
    agents: tuple[str, ...] = ()
    output: str | None = None
    deadline_ms: float | None = Field(default=None, gt=0)
    fallback: str | None = None
    on_error: Literal["drop", "continue", "dead_letter"] = "drop"
    dead_letter: str | None = None

    @model_validator(mode="after")
    def _one_form(self) -> "PipelineConfig":
        short = [self.preprocess, self.model, self.postprocess]
        if self.nodes and any(short):
            raise ValueError("write preprocess/model/postprocess or nodes/edges, not both")
        if not self.nodes and not any(short):
            raise ValueError("needs preprocess, model or postprocess, or a graph of nodes")
        if self.on_error == "dead_letter" and self.dead_letter is None:
            raise ValueError("on_error: dead_letter needs dead_letter: <name of an action>")
        return self


class PipelinesConfig(ComponentConfig):
    """A whole file. Connectors, agents and actions are instances of their registered classes."""

    version: Literal[1] = 1
    gateway: GatewayConfig = GatewayConfig()
    connectors: tuple[ConnectorConfig, ...] = ()
    pipelines: tuple[PipelineConfig, ...] = ()
    agents: Mapping[str, ComponentConfig] = Field(default_factory=dict)
    actions: Mapping[str, ActionConfig] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _wrap_single_graph(cls, data: object) -> object:
        """A bare graph names itself `name` and stands for a file with one pipeline."""
        if isinstance(data, dict) and "nodes" in data and "pipelines" not in data:
            graph = {("id" if key == "name" else key): value for key, value in data.items()}
            return {"pipelines": [graph]}
        return data


def load_pipelines(path: Path, environ: Mapping[str, str] | None = None) -> PipelinesConfig:
    """Read and check a file. Raises ConfigurationError naming file, line and field."""
    return load_yaml(path, file_schema(), environ)


def parse_pipelines(text: str, environ: Mapping[str, str] | None = None) -> PipelinesConfig:
    """As `load_pipelines`, for text in memory."""
    return parse_yaml(text, file_schema(), environ=environ)


@cache
def file_schema() -> type[PipelinesConfig]:
    """PipelinesConfig with every place narrowed to what is registered."""
    node = _union([*_graph_nodes(NODES), *_graph_nodes(SOURCES)])
    pipeline = _narrowed("Pipeline", PipelineConfig, nodes=(GenericAlias(tuple, (node, ...)), ()))
    connectors, agents, actions = _union(_flat(SOURCES)), _union(_flat(NODES)), _union(_flat(SINKS))
    return _narrowed(
        "PipelinesFile",
        PipelinesConfig,
        connectors=(GenericAlias(tuple, (connectors, ...)), ()),
        pipelines=(GenericAlias(tuple, (pipeline, ...)), ()),
        agents=(GenericAlias(dict, (str, agents)), Field(default_factory=dict)),
        actions=(GenericAlias(dict, (str, actions)), Field(default_factory=dict)),
    )


def _narrowed(name: str, base: type[ModelT], **fields: Any) -> type[ModelT]:
    """A subclass of `base` whose `fields` (type, default) exist only at run time."""
    return create_model(name, __base__=base, **fields)


def _flat(registry: Registry[ComponentT]) -> list[type[BaseModel]]:
    """Each configuration class with the `type` that chooses it, as used in lists of components."""
    return [_narrowed(r.config.__name__, r.config, type=(Literal[r.names], ...)) for r in registry]


def _graph_nodes(registry: Registry[ComponentT]) -> list[type[BaseModel]]:
    """Each component as a node of a graph, its configuration under `params`."""
    return [
        _narrowed(
            f"{r.config.__name__}Node",
            NodeConfig,
            type=(Literal[r.names], ...),
            params=(_params(registry, r), Field(default={}, validate_default=True)),
        )
        for r in registry
    ]


def _params(registry: Registry[ComponentT], registration: Registration[ComponentT]) -> Any:
    """What stands under `params`. A source takes its id and its route from the graph itself.

    There `id` numbers the device, as in `{type: CameraSource, params: {id: 0}}`.
    """
    if registry is not SOURCES:
        return registration.config
    model = _narrowed(
        registration.config.__name__,
        registration.config,
        id=(str, ""),
        type=(Literal[registration.names], registration.names[0]),
        pipeline=(str, ""),
    )
    return Annotated[model, BeforeValidator(_device_for_id)]


def _device_for_id(params: object) -> object:
    if isinstance(params, dict) and "id" in params:
        return {("device" if key == "id" else key): value for key, value in params.items()}
    return params


def _union(models: Iterable[type[BaseModel]]) -> Any:
    """One of `models`, chosen by the value of its `type`."""
    members = tuple(models)
    if len(members) == 1:
        return members[0]
    return Annotated[Union[members], Field(discriminator="type")]  # noqa: UP007  # built at run time
