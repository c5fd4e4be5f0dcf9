"""The pipelines of one process: built once, opened together, found by name."""

import logging
from collections.abc import Collection, Mapping

from app.errors import ConfigurationError, MantaError, ModelNotFound, PipelineNotFound
from app.pipeline.graph import Graph
from app.pipeline.outcome import Outcome
from app.pipeline.pipeline import Pipeline
from app.pipeline.resources import Resources
from app.types import JsonValue, Message

logger = logging.getLogger(__name__)


class PipelineHost:
    """Holds the pipelines that run here.

    One that cannot be built on this machine (its model is not in any repository, say) or opened
    does not stop the others: its reason is kept and answers whoever asks for it.
    """

    def __init__(
        self, graphs: Mapping[str, Graph], names: Collection[str], resources: Resources
    ) -> None:
        self._pipelines: dict[str, Pipeline] = {}
        self.unavailable: dict[str, str] = {}
        for name in names:
            self._build(name, graphs, resources)

    def get(self, name: str) -> Pipeline:
        """Raises PipelineNotFound, saying why where the pipeline is known but cannot run here."""
        pipeline = self._pipelines.get(name)
        if pipeline is not None:
            return pipeline
        if name in self.unavailable:
            raise PipelineNotFound(f"pipeline {name!r} cannot run here: {self.unavailable[name]}")
        raise PipelineNotFound(f"there is no pipeline {name!r}")

    async def open(self) -> None:
        for name, pipeline in list(self._pipelines.items()):
            fallback = pipeline.graph.pipeline.fallback
            try:
                if fallback is not None:
                    self.get(fallback)
                await pipeline.open()
            except Exception as error:  # noqa: BLE001 - a node's bug stops its pipeline, no other
                del self._pipelines[name]
                self._refuse(name, error)

    async def close(self) -> None:
        for pipeline in self._pipelines.values():
            await pipeline.close()

    async def process(self, message: Message) -> Outcome:
        """Run a message through the pipeline that it names."""
        try:
            pipeline = self.get(message.pipeline)
        except PipelineNotFound:
            return Outcome("dropped", "no_pipeline", message)
        return await pipeline.process(message)

    def status(self) -> dict[str, JsonValue]:
        """State and counts of every pipeline, as plain data."""
        status: dict[str, JsonValue] = {
            name: {"state": "unavailable", "reason": reason}
            for name, reason in self.unavailable.items()
        }
        for name, pipeline in self._pipelines.items():
            status[name] = {"state": "ready", **pipeline.status()}
        return status

    def _build(self, name: str, graphs: Mapping[str, Graph], resources: Resources) -> None:
        if name in self._pipelines or name in self.unavailable:
            return
        graph = graphs.get(name)
        if graph is None:
            raise ConfigurationError(f"there is no pipeline {name!r}", field="pipelines")
        try:
            fallback = graph.pipeline.fallback
            if fallback is not None:
                self._build(fallback, graphs, resources)
            self._pipelines[name] = Pipeline(
                graph, resources, None if fallback is None else self.get(fallback)
            )
        except (ModelNotFound, PipelineNotFound, ConfigurationError) as error:
            self._refuse(name, error)

    def _refuse(self, name: str, error: Exception) -> None:
        """Callers may read the reason: of an error that is a bug, it says no more than its type."""
        if isinstance(error, MantaError):
            self.unavailable[name] = str(error)
            logger.warning("pipeline %r cannot run here: %s", name, error)
        else:
            self.unavailable[name] = f"opening it raised {type(error).__name__}"
            logger.error("pipeline %r cannot run here: %s", name, error, exc_info=error)
