"""Models that are loaded when they are asked for: a few at a time."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TypeVar

from app.errors import MantaError
from app.telemetry.tracing import TraceSettings
from app.types import (
    InferenceRequest,
    InferenceResponse,
    JsonValue,
    ModelMetadata,
    ModelState,
    ModelStatistics,
)
from models.repository.repository import ModelRepository
from models.serving.service import LocalModelService

logger = logging.getLogger(__name__)

ResultT = TypeVar("ResultT")


def inline_services(
    repository: ModelRepository, names: Iterable[str], cache_size: int
) -> dict[str, "LocalModelService | OnDemandModel"]:
    """The services of one process: those marked `on_demand` share a cache."""
    cache = ModelCache(cache_size)
    services: dict[str, LocalModelService | OnDemandModel] = {}
    for name in names:
        service = LocalModelService(repository, name)
        services[name] = OnDemandModel(service, cache) if _on_demand(repository, name) else service
    return services


def _on_demand(repository: ModelRepository, name: str) -> bool:
    try:
        return repository.config(name).on_demand
    except MantaError:
        return False


class ModelCache:
    """Holds at most `size` loaded models, the least recently used one making room.

    One that has requests in flight is never unloaded: rather more are held for that long. Room is
    made after a model has loaded, so that one that cannot be loaded takes nobody's place; while it
    loads, the memory must hold one more.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._held: dict[str, OnDemandModel] = {}
        self._changing = asyncio.Lock()

    def used(self, model: "OnDemandModel") -> None:
        """Make it the most recently used one, if it is loaded."""
        self._held.pop(model.name, None)
        if model.service.state == "ready":
            self._held[model.name] = model

    def forget(self, model: "OnDemandModel") -> None:
        self._held.pop(model.name, None)

    async def make_room(self) -> None:
        """Unload what is idle, oldest use first, until no more than `size` are held."""
        async with self._changing:
            for model in list(self._held.values()):
                if len(self._held) <= self._size:
                    return
                if not model.in_flight and model.name in self._held:
                    self.forget(model)
                    logger.info("model %r makes room for others", model.name)
                    await model.service.close()


class OnDemandModel:
    """The handle of a model that is loaded at its first request.

    It is ready while it is not loaded, unless its last load failed: a request would be answered.
    """

    def __init__(self, service: LocalModelService, cache: ModelCache) -> None:
        self.name = service.name
        self.service = service
        self.in_flight = 0
        self._cache = cache
        self._loading = asyncio.Lock()

    @property
    def fault(self) -> str:
        return self.service.fault

    async def infer(self, request: InferenceRequest) -> InferenceResponse:
        return await self._using(lambda: self.service.infer(request))

    async def metadata(self, version: str | None = None) -> ModelMetadata:
        return await self._using(lambda: self.service.metadata(version))

    async def statistics(self, version: str | None = None) -> tuple[ModelStatistics, ...]:
        """Of the versions that are loaded: asking does not load."""
        return await self.service.statistics(version) if self.service.state == "ready" else ()

    async def trace_settings(
        self, own: TraceSettings, for_all: TraceSettings | None = None
    ) -> TraceSettings:
        return await self.service.trace_settings(own, for_all)

    def admit(self, deadline: float, version: str | None = None) -> None:
        """A model that is not loaded yet is loaded by the request; the others know their queue."""
        if self.service.state == "ready":
            self.service.admit(deadline, version)

    async def ready(self) -> bool:
        return await self.service.ready() or self.service.state in ("loading", "unloaded")

    async def load(self) -> None:
        """Called at start: it waits for its first request."""

    async def reload(self, override: Mapping[str, JsonValue] | None = None) -> None:
        try:
            await self.service.reload(override)
        finally:  # a version may be loaded although another failed
            self._cache.used(self)
            await self._cache.make_room()

    async def close(self) -> None:
        self._cache.forget(self)
        await self.service.close()

    def states(self) -> tuple[ModelState, ...]:
        return self.service.states()

    def status(self) -> dict[str, JsonValue]:
        status = self.service.status()
        idle = self.service.state in ("loading", "unloaded") and not self.in_flight
        return {**status, "state": "on demand"} if idle else status

    async def _using(self, call: Callable[[], Awaitable[ResultT]]) -> ResultT:
        self.in_flight += 1
        try:
            async with self._loading:
                if self.service.state in ("loading", "unloaded"):
                    await self.service.load()
                    self._cache.used(self)
                    await self._cache.make_room()
            self._cache.used(self)
            return await call()
        finally:
            self.in_flight -= 1
