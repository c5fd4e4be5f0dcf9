"""Loading and unloading models while the server runs, wherever they live.

A model that a process holds inline is loaded there; one with an application of its own is told;
any other is given an application of its own. What was given one is remembered and given it again
at the next start; what the serving configuration declares starts as declared.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Mapping
from typing import Protocol

from app.errors import ConfigurationError, MantaError, ModelNotFound, ModelNotReady
from app.interfaces import ModelHandle
from app.types import JsonValue, ModelState
from models.loaded_file import LoadedFile, Override
from models.override import with_override
from models.repository import ModelRepository
from models.service import without_paths

logger = logging.getLogger(__name__)


class Service(ModelHandle, Protocol):
    """A model in this process."""

    def states(self) -> tuple[ModelState, ...]: ...

    async def reload(self, override: Override | None = None) -> None: ...

    async def close(self) -> None: ...


class Applications(Protocol):
    """The models that live in processes of their own."""

    async def deploy(self, name: str, override: Override) -> ModelHandle:
        """Give the model a process; returns once it has loaded or failed to."""
        ...

    async def delete(self, name: str) -> None:
        """End the process of a deployed model, after what it runs."""
        ...

    def handle(self, name: str) -> ModelHandle: ...

    async def states(self, name: str) -> tuple[ModelState, ...]:
        """What its process says; nothing while there is none."""
        ...

    async def reload(self, name: str, override: Override | None) -> None:
        """Raises as the service in the process does."""
        ...

    async def unload(self, name: str) -> None: ...


class Known(Protocol):
    """Those who must hear of models that come and go."""

    def add(self, name: str, handle: ModelHandle) -> None: ...

    def remove(self, name: str) -> None: ...


class ModelController:
    """The ModelControl of a gateway.

    `inline` are the models of this process, `declared` those that the serving configuration gives
    an application.
    """

    def __init__(
        self,
        repository: ModelRepository,
        inline: Mapping[str, Service],
        declared: tuple[str, ...],
        applications: Applications,
        known: Known,
        file: LoadedFile,
    ) -> None:
        self._repository = repository
        self._inline = inline
        self._declared = declared
        self._applications = applications
        self._known = known
        self._file = file
        self._deployed: dict[str, Override] = {}
        self._changing: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    @property
    def deployed(self) -> tuple[str, ...]:
        """The models that were given an application since the start."""
        return tuple(self._deployed)

    async def restore(self) -> None:
        """Load again what was loaded before. A failure is logged, and not forgotten in the file."""
        for name, override in self._file.read().items():
            if name in self._inline or name in self._declared:
                continue
            try:
                async with self._changing[name]:
                    await self._deploy(name, override)
            except MantaError as error:
                logger.error("model %r cannot be loaded again: %s", name, error)

    async def index(self) -> tuple[ModelState, ...]:
        await self._scan()
        own = {*self._inline, *self._declared, *self._deployed}
        names = sorted({*self._repository.names(), *own})
        states = await asyncio.gather(*(self._states(name) for name in names))
        return tuple(state for each in states for state in each)

    async def load(self, name: str, config: Mapping[str, JsonValue] | None = None) -> None:
        async with self._changing[name]:
            if name in self._inline:
                await self._inline[name].reload(config)
                self._known.add(name, self._inline[name])
                await self._applications.reload(name, config)
            elif name in self._declared:
                await self._applications.reload(name, config)
                self._known.add(name, self._applications.handle(name))
            elif name in self._deployed:
                await self._applications.reload(name, config)
                self._remember(name, config or {})
            else:
                await self._scan()
                await self._deploy(name, config or {})
                self._remember(name, config or {})

    async def unload(self, name: str) -> None:
        async with self._changing[name]:
            if name in self._inline:
                self._known.remove(name)
                await self._inline[name].close()
                await self._applications.unload(name)
            elif name in self._declared:
                self._known.remove(name)
                await self._applications.unload(name)
            elif name in self._deployed:
                self._known.remove(name)
                self._deployed.pop(name)  # nobody shall ask an application that is being deleted
                await self._applications.delete(name)
                self._remember(name, None)
            elif name not in self._repository.names():
                raise ModelNotFound(f"there is no model {name!r}")

    async def _deploy(self, name: str, override: Override) -> None:
        try:
            config = with_override(self._repository.config(name), override)
            config.served_versions()
        except ConfigurationError as error:
            reason = without_paths(str(error))
            raise ModelNotReady(f"model {name!r} could not be loaded: {reason}") from error
        handle = await self._applications.deploy(name, override)
        if not await handle.ready():
            states = await self._applications.states(name)
            reason = "; ".join(dict.fromkeys(state.reason for state in states if state.reason))
            await self._applications.delete(name)
            raise ModelNotReady(f"model {name!r} could not be loaded: {reason or 'no answer'}")
        self._deployed[name] = override
        self._known.add(name, handle)

    def _remember(self, name: str, override: Override | None) -> None:
        if override is None:
            self._deployed.pop(name, None)
        else:
            self._deployed[name] = override
        kept = {**self._file.read(), **self._deployed}
        if override is None:
            kept.pop(name, None)
        try:
            self._file.write(kept)
        except OSError as error:
            logger.error("what is loaded cannot be remembered: %s", error)

    async def _states(self, name: str) -> tuple[ModelState, ...]:
        if name in self._inline:
            return self._inline[name].states()
        if name in self._declared or name in self._deployed:
            return await self._applications.states(name) or self._unserved(name, "away")
        return self._unserved(name, "not loaded")

    def _unserved(self, name: str, reason: str) -> tuple[ModelState, ...]:
        try:
            versions = tuple(self._repository.config(name).versions)
        except MantaError as error:
            return (ModelState(name, "", "UNAVAILABLE", without_paths(str(error))),)
        return tuple(ModelState(name, version, "UNAVAILABLE", reason) for version in versions)

    async def _scan(self) -> None:
        await asyncio.get_running_loop().run_in_executor(None, self._repository.scan)
