"""What runs in one process: its models, its pipelines, its sinks. The composition root."""

import logging
from collections.abc import Collection, Mapping
from random import random

import deployments.catalogue  # noqa: F401 - fills the registries
from app.clock import SystemClock
from app.config.connectors import ConnectorConfig
from app.config.pipelines import PipelinesConfig, load_pipelines
from app.errors import ConfigurationError, ModelNotFound
from app.interfaces import ModelHandle
from app.pipeline.graph import compile_all
from app.pipeline.host import PipelineHost
from app.pipeline.resources import Resources
from app.streams.sinks import Sinks
from app.telemetry.logging import configure_logging
from app.types import JsonValue
from deployments.args import HostArgs, resolved
from deployments.handles import RemoteModelHandle
from deployments.repositories import open_repository
from deployments.status import process_status
from models.serving.cache import inline_services

logger = logging.getLogger(__name__)


class Process:
    """The object graph of a process that hosts pipelines, built from its arguments alone."""

    def __init__(self, args: HostArgs) -> None:
        configure_logging()
        self.config: PipelinesConfig = load_pipelines(resolved(args.pipelines_file))
        self.graphs = compile_all(self.config)
        self.repository = open_repository(args)
        self.services = inline_services(self.repository, args.inline, args.model_cache_size)
        self.models: Mapping[str, ModelHandle] = {
            **{name: self.remote(name) for name in args.remote},
            **self.services,
        }
        self.clock = SystemClock()
        self._sinks = Sinks(self.config.actions, self.config.connectors, self.clock, random)
        resources = Resources(model=self._model, sink=self._sinks.get, clock=self.clock)
        self.host = PipelineHost(self.graphs, args.pipelines, resources)

    async def open(self) -> None:
        """Load the models that live here, then open what uses them."""
        for service in self.services.values():
            await service.load()
        await self.host.open()

    async def close(self) -> None:
        await self.host.close()
        await self._sinks.close()
        for service in self.services.values():
            await service.close()

    def remote(self, name: str) -> RemoteModelHandle:
        """A handle of a model that is an application of its own."""
        gateway = self.config.gateway
        return RemoteModelHandle(name, gateway.timeout_s)

    async def reload(self, model: str, override: Mapping[str, JsonValue] | None) -> None:
        """Nothing happens where the model is not held here. Raises as the service does."""
        if model in self.services:
            await self.services[model].reload(override)

    async def unload(self, model: str) -> None:
        if model in self.services:
            await self.services[model].close()

    def check_health(self) -> None:
        """Raises RuntimeError where only a new process helps."""
        for name, service in self.services.items():
            if service.fault:
                raise RuntimeError(f"model {name!r}: {service.fault}")

    def status(self, connectors: Mapping[str, JsonValue] | None = None) -> dict[str, JsonValue]:
        return process_status(
            models={name: service.status() for name, service in self.services.items()},
            pipelines=self.host.status(),
            connectors=connectors,
        )

    def connectors(self, names: Collection[str]) -> list[ConnectorConfig]:
        """Those of the file with these names, or all of them where no name is given.

        Raises ConfigurationError for a name that is not in the file.
        """
        known = {connector.id: connector for connector in self.config.connectors}
        for graph in self.graphs.values():
            known |= {connector.id: connector for connector in graph.connectors}
        for name in names:
            if name not in known:
                raise ConfigurationError(
                    f"no connector is called {name!r}; known are: {', '.join(sorted(known))}"
                )
        return [known[name] for name in names or known]

    def _model(self, name: str) -> ModelHandle:
        handle = self.models.get(name)
        if handle is None:
            known = ", ".join(sorted(self.models)) or "none"
            raise ModelNotFound(f"model {name!r} is not served here; served are: {known}")
        return handle


def check_files(args: HostArgs) -> None:
    """Raises ConfigurationError, and says it on the terminal, before any process is started."""
    configure_logging()
    try:
        compile_all(load_pipelines(resolved(args.pipelines_file)))
    except ConfigurationError as error:
        logger.error("%s", error)
        raise
