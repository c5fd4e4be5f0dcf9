"""The sinks of one process, kept connected."""

import asyncio
import logging
from collections.abc import Callable, Mapping

from app.config.connectors import ActionConfig, ConnectorConfig
from app.errors import ConfigurationError, NotConnected
from app.interfaces import Clock, Sink
from app.registry import SINKS
from app.streams.backoff import BackOff
from app.types import Action

logger = logging.getLogger(__name__)


class ConnectedSink:
    """A Sink that connects by itself, when something is written and after a back-off.

    While it waits to connect again, a write fails at once with NotConnected: whoever writes
    decides how long an action is worth waiting for.
    """

    def __init__(self, name: str, sink: Sink, clock: Clock, random: Callable[[], float]) -> None:
        self._name = name
        self._sink = sink
        self._clock = clock
        self._backoff = BackOff(random)
        self._connecting = asyncio.Lock()
        self._connected_at: float | None = None
        self._not_before = 0.0
        self._away = False

    async def connect(self) -> None:
        """Raises NotConnected while the back-off lasts, and what the sink itself raises."""
        async with self._connecting:
            if self._connected_at is not None:
                return
            now = self._clock.monotonic()
            if now < self._not_before:
                raise NotConnected(
                    f"action {self._name!r} is not connected", self._not_before - now
                )
            try:
                await self._sink.connect()
            except NotConnected as error:
                await self._lost(error)
                raise
            self._connected_at = self._clock.monotonic()
            if self._away:
                logger.info("action %r is connected again", self._name)
            self._away = False

    async def write(self, action: Action) -> None:
        await self.connect()
        connection = self._connected_at
        try:
            await self._sink.write(action)
        except NotConnected as error:
            async with self._connecting:
                if self._connected_at == connection:  # else another write has seen to it
                    await self._lost(error)
            raise

    async def close(self) -> None:
        self._connected_at = None
        await self._sink.close()

    async def _lost(self, error: NotConnected) -> None:
        now = self._clock.monotonic()
        lasted = 0.0 if self._connected_at is None else now - self._connected_at
        self._not_before = now + self._backoff.after(lasted)
        self._connected_at = None
        if not self._away:
            logger.warning("action %r is away: %s", self._name, error)
        self._away = True
        await self._sink.close()


class Sinks:
    """One sink for each action of the configuration, built when a pipeline first asks for it."""

    def __init__(
        self,
        actions: Mapping[str, ActionConfig],
        connectors: tuple[ConnectorConfig, ...],
        clock: Clock,
        random: Callable[[], float],
    ) -> None:
        self._actions = actions
        self._connectors = {connector.id: connector for connector in connectors}
        self._clock = clock
        self._random = random
        self._sinks: dict[str, ConnectedSink] = {}

    def get(self, name: str) -> Sink:
        """Raises ConfigurationError for a name that is no action."""
        if name not in self._sinks:
            config = self._actions.get(name)
            if config is None:
                raise ConfigurationError(f"no action is called {name!r}")
            sink = SINKS.get(config.type).factory(config, self._connectors)
            self._sinks[name] = ConnectedSink(name, sink, self._clock, self._random)
        return self._sinks[name]

    async def close(self) -> None:
        for sink in self._sinks.values():
            await sink.close()
