"""The connectors of one process, each driven by its runner."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict

from app.config.connectors import ConnectorConfig
from app.interfaces import Clock
from app.pipeline.host import PipelineHost
from app.registry import SOURCES
from app.streams.source_runner import SourceRunner
from app.types import JsonValue

DRAIN_SECONDS = 5.0


class Streams:
    """Starts and stops the runners together. `start` needs a running event loop."""

    def __init__(
        self, connectors: Sequence[ConnectorConfig], host: PipelineHost, clock: Clock
    ) -> None:
        self._runners = [
            SourceRunner(
                connector.id,
                SOURCES.get(connector.type).factory(connector, clock),
                host.process,
                clock=clock,
                max_queue_depth=connector.max_queue_depth,
                on_full=connector.on_full,
                max_concurrency=connector.max_concurrency,
            )
            for connector in connectors
        ]
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks = [asyncio.ensure_future(runner.run()) for runner in self._runners]

    async def stop(self) -> None:
        """Stop reading, finish what was read, acknowledge it, close."""
        await asyncio.gather(*(runner.drain(DRAIN_SECONDS) for runner in self._runners))
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def status(self) -> dict[str, JsonValue]:
        return {runner.name: asdict(runner.status()) for runner in self._runners}
