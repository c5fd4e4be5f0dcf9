"""What component types exist: type name -> configuration class and factory.

Registration is explicit, one call beside the component. The registries are filled by import of
the catalogues (`app.nodes`, `connectors`, `models.runtimes`) and are read-only afterwards.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict

from app.errors import ConfigurationError
from app.interfaces import Model, Node, Sink, Source

ComponentT = TypeVar("ComponentT")
ConfigT = TypeVar("ConfigT", bound=BaseModel)


class ComponentConfig(BaseModel):
    """Base of every component's configuration: frozen data, unknown fields refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class Registration(Generic[ComponentT]):
    """One component type; the first of its `names` is its own, the others are aliases.

    `factory` is called with an instance of `config` first; see the registries below for what
    follows it. `stateful` is for nodes that keep state per source.
    """

    names: tuple[str, ...]
    config: type[BaseModel]
    factory: Callable[..., ComponentT]
    stateful: bool


class Registry(Generic[ComponentT]):
    """Component types of one kind, by name. Several names may stand for one component."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._registrations: dict[str, Registration[ComponentT]] = {}

    def register(
        self,
        type_name: str,
        config: type[ConfigT],
        factory: Callable[..., ComponentT],
        *,
        aliases: tuple[str, ...] = (),
        stateful: bool = False,
    ) -> None:
        """Raises ConfigurationError if one of the names is taken."""
        registration = Registration((type_name, *aliases), config, factory, stateful)
        for name in registration.names:
            if name in self._registrations:
                raise ConfigurationError(f"{self.kind} type {name!r} is registered twice")
            self._registrations[name] = registration

    def get(self, type_name: str) -> Registration[ComponentT]:
        """Raises ConfigurationError naming the known types."""
        registration = self._registrations.get(type_name)
        if registration is None:
            known = ", ".join(sorted(r.names[0] for r in self))
            raise ConfigurationError(f"unknown {self.kind} type {type_name!r}; known are: {known}")
        return registration

    def __contains__(self, type_name: object) -> bool:
        return type_name in self._registrations

    def __iter__(self) -> Iterator[Registration[ComponentT]]:
        return iter({r.names[0]: r for r in self._registrations.values()}.values())


SOURCES: Registry[Source] = Registry("connector")
"""Factories take (config, clock)."""

SINKS: Registry[Sink] = Registry("action")
"""Factories take (config, connectors), the latter being the connectors' configurations by id."""

NODES: Registry[Node] = Registry("node")
"""Factories take (config, context)."""

RUNTIMES: Registry[Model] = Registry("runtime")
"""Factories take (config, files): a `models.repository.model_yaml.ModelConfig`, and the
`models.repository.version_files.VersionFiles` of one of its versions."""
