"""A model served from this process, and how it goes from one version to the next."""

import asyncio
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import models.runtimes  # noqa: F401 - fills RUNTIMES
from app.errors import InferenceFailed, InvalidInput, MantaError, ModelNotFound, ModelNotReady
from app.telemetry.tracing import Tracer, TraceSettings
from app.types import (
    InferenceRequest,
    InferenceResponse,
    JsonValue,
    ModelMetadata,
    ModelState,
    ModelStatistics,
)
from models.repository.repository import ModelRepository
from models.serving.loading import Loaded, load_versions
from models.serving.memory import release_memory
from models.serving.version import ModelVersion

logger = logging.getLogger(__name__)

_DIRECTORIES = re.compile(r"(?<![\w/:.])(?:/[^\s/'\":,;]+)+/")

_COUNTED = (
    *("succeeded", "failed", "shed", "expired", "cancelled"),
    *("runs", "rows", "queue_seconds", "run_seconds"),
)

State = Literal["loading", "ready", "failed", "unloaded"]


@dataclass(frozen=True, slots=True)
class _Served:
    """The versions that answer, oldest first. Replaced as a whole, never changed."""

    loaded: Mapping[str, Loaded]
    newest: ModelVersion

    @classmethod
    def of(cls, loaded: Mapping[str, Loaded]) -> "_Served | None":
        ordered = dict(sorted(loaded.items(), key=lambda item: int(item[0])))
        return cls(ordered, list(ordered.values())[-1].version) if ordered else None

    def names(self) -> tuple[str, ...]:
        return tuple(self.loaded)


class LocalModelService:
    """The ModelHandle of a model in this process: loads, warms up, batches and runs it.

    Serves the versions that the model's `version_policy` names; a request for none in particular
    is answered by the newest. Until `load` has finished, and if it fails, requests are answered
    with ModelNotReady.
    """

    def __init__(self, repository: ModelRepository, name: str) -> None:
        self.name = name
        self._repository = repository
        self._served: _Served | None = None
        self._failures: dict[str, str] = {}
        self._state: State = "loading"
        self._changing = asyncio.Lock()
        self._runs_well = True
        self._tracer = Tracer(name)
        self.reason = ""

    @property
    def state(self) -> State:
        return self._state if self._served is None else "ready"

    @property
    def fault(self) -> str:
        """Why a served version cannot be used any more, or nothing: a new process is needed."""
        served = self._served.loaded.values() if self._served is not None else ()
        return next((each.version.fault for each in served if each.version.fault), "")

    async def load(self, override: Mapping[str, JsonValue] | None = None) -> None:
        """Let what is served be what the repository has; `override` replaces `model.yaml` fields.

        New versions are loaded and warmed up beside the old ones, take over in one step, and only
        then are the old ones drained and closed. While any version fails, none that was served is
        taken away. A failure is kept in `reason`, and logged, not raised: the log has all of it,
        `reason`, which callers may read, names files without directories.
        """
        try:
            await self._change(override)
        except Exception as error:  # noqa: BLE001 - kept in `reason`, and logged with its trace
            self._fail(error)

    async def reload(self, override: Mapping[str, JsonValue] | None = None) -> None:
        """Look into the repository again, then `load`.

        Raises ModelNotReady if anything failed, InvalidInput for a bad `override`.
        """
        await asyncio.get_running_loop().run_in_executor(None, self._repository.scan)
        try:
            await self._change(override)
        except (InvalidInput, ModelNotFound):
            raise
        except MantaError as error:
            self._fail(error)
        if self.reason:
            raise ModelNotReady(f"model {self.name!r} could not be loaded: {self.reason}")

    def admit(self, deadline: float, version: str | None = None) -> None:
        self._ready_version(version).admit(deadline)

    async def infer(self, request: InferenceRequest) -> InferenceResponse:
        version = self._ready_version(request.version)
        trace = self._tracer.begin(request, version.version) if self._tracer.on else None
        response = None
        try:
            response = await version.infer(request, trace)
        except MantaError:
            raise
        except Exception as error:
            if self._runs_well:
                logger.exception("model %r failed to run a request", self.name)
            self._runs_well = False
            raise InferenceFailed(f"model {self.name!r} failed to run this request") from error
        finally:
            if trace is not None:
                self._tracer.end(trace, succeeded=response is not None)
        self._runs_well = True
        return response

    async def ready(self) -> bool:
        return self.state == "ready" and not self.fault

    async def metadata(self, version: str | None = None) -> ModelMetadata:
        metadata = self._ready_version(version).metadata
        return replace(metadata, versions=self._served.names() if self._served else ())

    async def statistics(self, version: str | None = None) -> tuple[ModelStatistics, ...]:
        chosen = self._ready_version(version)
        if version is not None or self._served is None:
            return (chosen.statistics(),)
        return tuple(each.version.statistics() for each in self._served.loaded.values())

    async def trace_settings(
        self, own: TraceSettings, for_all: TraceSettings | None = None
    ) -> TraceSettings:
        self._tracer.change(own, for_all)
        return self._tracer.settings()

    async def close(self) -> None:
        """Unload, after what waits and runs. Requests that come later get ModelNotReady."""
        async with self._changing:
            served, self._served, self._state = self._served, None, "unloaded"
            self._failures, self.reason = {}, ""
            if served is not None:
                await self._retire(served.loaded)

    def states(self) -> tuple[ModelState, ...]:
        """Every version that the repository has or that is served, oldest first."""
        try:
            known = set(self._repository.config(self.name).versions)
        except MantaError:
            known = set()
        served = self._served.loaded if self._served is not None else {}
        known |= {*served, *self._failures}
        if not known:
            return (ModelState(self.name, "", "UNAVAILABLE", self.reason or self.state),)
        return tuple(self._state_of(version, served) for version in sorted(known, key=int))

    def status(self) -> dict[str, JsonValue]:
        """State, and what was counted since each served version was loaded, as plain data."""
        served = self._served
        if served is None:
            return {"state": self.state, "reason": self.reason}
        each = [loaded.version for loaded in served.loaded.values()]
        return {
            "state": "failed" if self.fault else self.state,
            "reason": self.fault or self.reason or without_paths(served.newest.note),
            "version": served.newest.version,
            "versions": list(served.names()),
            "provider": served.newest.metadata.provider,
            "max_batch_size": served.newest.metadata.max_batch_size,
            "waiting": sum(version.waiting for version in each),
            **{name: sum(getattr(version.stats, name) for version in each) for name in _COUNTED},
        }

    async def _change(self, override: Mapping[str, JsonValue] | None) -> None:
        async with self._changing:
            before = self._served.loaded if self._served is not None else {}
            if not before:
                self._state = "loading"
            loop = asyncio.get_running_loop()
            loaded, failures = await loop.run_in_executor(
                None, load_versions, self._repository, self.name, override, before
            )
            after = {**before, **loaded} if failures else loaded
            self._served = _Served.of(after)
            self._failures = {version: _reason(error) for version, error in failures.items()}
            self.reason = "; ".join(self._failures.values())
            for version in after:
                if before.get(version) is not after[version]:
                    logger.info("model %r version %s is ready", self.name, version)
            for version, error in failures.items():
                _log(f"{self.name!r} version {version}", error)
            if self._served is None:
                self._state = "failed"
            gone = {v: each for v, each in before.items() if after.get(v) is not each}
            await self._retire(gone)

    async def _retire(self, versions: Mapping[str, Loaded]) -> None:
        await asyncio.gather(*(each.version.retire() for each in versions.values()))
        if versions:
            await asyncio.get_running_loop().run_in_executor(None, release_memory)

    def _fail(self, error: Exception) -> None:
        self.reason = _reason(error)
        if self._served is None:
            self._state = "failed"
        _log(repr(self.name), error)

    def _ready_version(self, version: str | None) -> ModelVersion:
        served = self._served
        if served is None:
            raise ModelNotReady(f"model {self.name!r} is {self.state}")
        if version is None:
            return served.newest
        if version not in served.loaded:
            known = ", ".join(repr(name) for name in served.loaded)
            raise ModelNotFound(
                f"model {self.name!r} has no version {version!r}; served is {known}"
            )
        return served.loaded[version].version

    def _state_of(self, version: str, served: Mapping[str, Loaded]) -> ModelState:
        failure = self._failures.get(version, "")
        if version in served:
            fault = served[version].version.fault
            state = "UNAVAILABLE" if fault else "READY"
            reason = fault or failure or without_paths(served[version].version.note)
            return ModelState(self.name, version, state, reason)
        if self._served is None and self._state == "loading":
            return ModelState(self.name, version, "LOADING")
        unserved = "not in the version policy" if self._served else self.reason or self.state
        return ModelState(self.name, version, "UNAVAILABLE", failure or unserved)


def _reason(error: Exception) -> str:
    """What callers may read of it: no directories, and nothing of an error that is a bug."""
    if isinstance(error, MantaError):
        return without_paths(str(error))
    return f"loading it raised {type(error).__name__}"


def _log(what: str, error: Exception) -> None:
    trace = None if isinstance(error, MantaError) else error
    logger.error("model %s cannot be served: %s", what, error, exc_info=trace)


def without_paths(text: str) -> str:
    """Files without their directories: what a caller may read of an error."""
    return _DIRECTORIES.sub("", text)
