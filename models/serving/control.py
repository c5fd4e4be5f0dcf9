"""Loading and unloading models while the server runs, wherever they live.

A model that a process holds inline is loaded there; one with an application of its own is told;
any other is given an application of its own. What was given one is written to a record, from which
other gateways learn of it, and the next start; what the serving configuration declares starts as
declared.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from functools import partial

from app.errors import ConfigurationError, MantaError, ModelNotFound, ModelNotReady
from app.types import JsonValue, ModelState
from models.repository.loaded_file import LoadedFile, Override
from models.repository.override import with_override
from models.repository.repository import ModelRepository
from models.serving.applications import Applications, Known, Service
from models.serving.change_lock import ChangeLock
from models.serving.service import without_paths

logger = logging.getLogger(__name__)


class ModelController:
    """The ModelControl of a gateway.

    `inline` are the models of this process, `declared` those that the serving configuration gives
    an application. Gateways with the same `record` know the same models.
    """

    def __init__(
        self,
        repository: ModelRepository,
        inline: Mapping[str, Service],
        declared: tuple[str, ...],
        applications: Applications,
        known: Known,
        record: LoadedFile,
    ) -> None:
        self._repository = repository
        self._inline = inline
        self._declared = declared
        self._applications = applications
        self._known = known
        self._record = record
        self._own = {*inline, *declared}
        self._seen: object = None
        self._deployed: set[str] = set()
        self._changes: set[asyncio.Task[None]] = set()
        self._change_lock = ChangeLock(record.path.parent)

    @property
    def deployed(self) -> tuple[str, ...]:
        """The models that were given an application on request."""
        return tuple(sorted(self._deployed))

    async def follow(self, held: str = "") -> None:
        """Know the models that other gateways have loaded, and no more those they have unloaded.

        To be called before the first request, then often: it costs nothing while nothing changed.
        `held` is a model that the caller changes itself.
        """
        stamp = self._record.stamp()
        if stamp == self._seen:
            return
        recorded = self._record.read().keys() - self._own
        unknown = recorded - self._deployed
        running = await self._applications.running() if unknown else frozenset()
        new, gone = (recorded & running) - self._deployed, self._deployed - recorded
        settled = {name for name in new | gone if name == held or not self._change_lock.taken(name)}
        for name in settled & new:
            self._learn(name)
        for name in settled & gone:
            self._forget(name)
        if settled == new | gone:
            self._seen = stamp

    async def restore(self) -> None:
        """Load again what was loaded before, and end what was being loaded when its gateway died.

        What fails is logged, and stays in the record.
        """
        for name, override in self._record.read().items():
            if name not in self._own:
                await self._logged(name, self._load_again(name, override))
        try:
            running = await self._applications.running()
        except ModelNotReady as error:
            logger.error("half loaded models are not looked for: %s", error)
            return
        for name in running - self._own:
            await self._logged(name, self._end_unrecorded(name))

    async def index(self) -> tuple[ModelState, ...]:
        await self._scan()
        names = sorted({*self._repository.names(), *self._own, *self._deployed})
        states = await asyncio.gather(*(self._states(name) for name in names))
        return tuple(state for each in states for state in each)

    async def load(self, name: str, config: Mapping[str, JsonValue] | None = None) -> None:
        await self._check_name(name)
        await self._to_its_end(self._load(name, config))

    async def unload(self, name: str) -> None:
        await self._check_name(name)
        await self._to_its_end(self._unload(name))

    async def hear_load(self, name: str, config: Override | None) -> None:
        """A model that the serving configuration names was loaded by this gateway or another."""
        if name in self._inline:
            await self._inline[name].reload(config)
            self._known.add(name, self._inline[name])
        elif name in self._declared:
            self._known.add(name, self._applications.handle(name))

    async def hear_unload(self, name: str) -> None:
        if name in self._own:
            self._known.remove(name)
        if name in self._inline:
            await self._inline[name].close()

    async def _load(self, name: str, config: Override | None) -> None:
        async with self._change_lock.turn(name):
            if name in self._inline:
                await self.hear_load(name, config)
                await self._applications.reload(name, config)
            elif name in self._declared:
                await self._applications.reload(name, config)
                await self.hear_load(name, config)
            else:
                await self._load_on_request(name, config or {})

    async def _unload(self, name: str) -> None:
        async with self._change_lock.turn(name):
            if name in self._own:
                await self.hear_unload(name)
                await self._applications.unload(name)
                return
            await self.follow(held=name)
            self._record_it(name, None)
            if name in self._deployed:
                self._forget(name)
                await self._applications.delete(name)

    async def _load_on_request(self, name: str, override: Override) -> None:
        await self.follow(held=name)
        if name in self._deployed:
            await self._applications.reload(name, override)
            self._record_it(name, override)
            return
        await self._scan()
        if name in self._record.read():
            self._record_it(name, override)  # its process reads the record when it starts
        await self._deploy(name, override)
        try:
            self._record_it(name, override)
        except ModelNotReady:
            self._forget(name)
            await self._applications.delete(name)
            raise

    async def _load_again(self, name: str, override: Override) -> None:
        async with self._change_lock.turn(name):
            if name in await self._applications.running():
                self._learn(name)
            elif name in self._record.read():
                await self._deploy(name, override)
                self._record_it(name, override)  # lets other gateways look again

    async def _end_unrecorded(self, name: str) -> None:
        async with self._change_lock.turn(name):
            if name not in self._record.read():
                logger.warning("model %r was half loaded: its process is ended", name)
                await self._applications.delete(name)

    async def _logged(self, name: str, change: Coroutine[None, None, None]) -> None:
        try:
            await change
        except MantaError as error:
            logger.error("model %r cannot be loaded again: %s", name, error)

    async def _deploy(self, name: str, override: Override) -> None:
        """Start its process, which takes seconds, only once its files were found to be right."""
        try:
            config = with_override(self._repository.config(name), override)
            self._repository.check(config)
            await self._in_thread(partial(self._repository.check_files, config))
        except ConfigurationError as error:
            reason = without_paths(str(error))
            raise ModelNotReady(f"model {name!r} could not be loaded: {reason}") from error
        handle = await self._applications.deploy(name, override)
        if not await handle.ready():
            states = await self._applications.states(name)
            reason = "; ".join(dict.fromkeys(state.reason for state in states if state.reason))
            await self._applications.delete(name)
            raise ModelNotReady(f"model {name!r} could not be loaded: {reason or 'no answer'}")
        self._learn(name)

    def _learn(self, name: str) -> None:
        self._deployed.add(name)
        self._known.add(name, self._applications.handle(name))

    def _forget(self, name: str) -> None:
        self._deployed.discard(name)
        self._known.remove(name)

    def _record_it(self, name: str, override: Override | None) -> None:
        """Raises ModelNotReady where the record cannot be written."""
        try:
            if override is None:
                self._record.forget(name)
            else:
                self._record.put(name, override)
        except OSError as error:
            reason = f"what is loaded cannot be recorded: {error.strerror}"
            raise ModelNotReady(f"model {name!r}: {reason}") from error

    async def _check_name(self, name: str) -> None:
        """Raises ModelNotFound for a model that is neither known nor in the repository."""
        known = {*self._own, *self._deployed}
        if name in known or name in self._repository.names() or name in self._record.read():
            return
        await self._scan()
        if name not in self._repository.names():
            raise ModelNotFound(f"there is no model {name!r}")

    async def _to_its_end(self, change: Coroutine[None, None, None]) -> None:
        """A caller that goes away leaves nothing half done."""
        task = asyncio.ensure_future(change)
        self._changes.add(task)
        task.add_done_callback(self._changes.discard)
        await asyncio.shield(task)

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
        await self._in_thread(self._repository.scan)

    async def _in_thread(self, work: Callable[[], None]) -> None:
        await asyncio.get_running_loop().run_in_executor(None, work)
