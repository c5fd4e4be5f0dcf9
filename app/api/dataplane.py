"""The one implementation behind every protocol."""

import asyncio
import re
from collections.abc import Iterable, Mapping

from app import __version__
from app.api.codec.shared_memory import SharedMemory
from app.api.log_settings import LogSettings
from app.errors import InvalidInput, ModelNotFound
from app.interfaces import ModelControl, ModelHandle
from app.telemetry.tracing import DEFAULTS, TraceSettings, applied, checked_trace_settings
from app.types import (
    InferenceRequest,
    InferenceResponse,
    JsonValue,
    ModelMetadata,
    ModelStatistics,
)

NAME = "manta"
EXTENSIONS = (
    "binary_tensor_data",
    "classification",
    "parameters",
    "model_configuration",
    "statistics",
    "logging",
    "trace",
)
"""In the names that Triton gave them, which its clients look for."""

_VERSION = re.compile(r"[1-9][0-9]{0,18}")


class DataPlane:
    """The models that one process can answer for, wherever each of them runs.

    Without `control` no model can be loaded or unloaded by callers; it may be given later. Without
    `memory` no tensor can be in shared memory.
    """

    def __init__(
        self,
        models: Mapping[str, ModelHandle],
        control: ModelControl | None = None,
        memory: SharedMemory | None = None,
    ) -> None:
        self._models = dict(models)
        self.control = control
        self.memory = memory
        self.logs = LogSettings()
        self._traces: TraceSettings = {}
        self._telling: set[asyncio.Task[None]] = set()

    def add(self, name: str, handle: ModelHandle) -> None:
        """From now on answer for this model, too, or by this handle."""
        self._models[name] = handle
        if self._traces:
            telling = asyncio.ensure_future(self._tell_traces([handle]))
            self._telling.add(telling)
            telling.add_done_callback(self._telling.discard)

    def remove(self, name: str) -> None:
        """Know this model no more; requests that it has already are not touched."""
        self._models.pop(name, None)

    def names(self) -> list[str]:
        return sorted(self._models)

    def model(self, name: str) -> ModelHandle:
        """Raises ModelNotFound."""
        handle = self._models.get(name)
        if handle is None:
            raise ModelNotFound(f"there is no model {name!r}")
        return handle

    def server_metadata(self) -> dict[str, JsonValue]:
        """`extensions` lists what works here, and nothing else."""
        extensions = [
            *EXTENSIONS,
            *(["model_repository"] if self.control is not None else []),
            *(["system_shared_memory"] if self.memory is not None else []),
        ]
        return {"name": NAME, "version": __version__, "extensions": list(extensions)}

    async def ready(self) -> bool:
        """Whether every model is. One that failed to load keeps the server from being ready."""
        return all((await self.each_ready()).values())

    async def each_ready(self) -> dict[str, bool]:
        """Every model by its name; one that cannot be asked is not ready."""
        names = self.names()
        answers = await asyncio.gather(
            *(self._models[name].ready() for name in names), return_exceptions=True
        )
        return {name: answer is True for name, answer in zip(names, answers, strict=True)}

    async def model_ready(self, name: str, version: str | None = None) -> bool:
        """Raises ModelNotFound for a version that a ready model does not serve."""
        handle = self._handle(name, version)
        is_ready = await handle.ready()
        if is_ready and version is not None:
            await handle.metadata(version)
        return is_ready

    async def model_metadata(self, name: str, version: str | None = None) -> ModelMetadata:
        return await self._handle(name, version).metadata(version)

    async def statistics(
        self, name: str | None = None, version: str | None = None
    ) -> list[ModelStatistics]:
        """Of one model, or of every one that is ready."""
        if name is not None:
            return list(await self._handle(name, version).statistics(version))
        each = await asyncio.gather(
            *(self._models[name].statistics() for name in self.names()), return_exceptions=True
        )
        return [entry for answer in each if isinstance(answer, tuple) for entry in answer]

    async def trace_settings(self, name: str | None, change: TraceSettings) -> TraceSettings:
        """Change those of a model, or of every model without ones of its own; those in force.

        Nothing is changed where InvalidInput is raised.
        """
        checked = checked_trace_settings(change)
        if name is not None:
            return await self.model(name).trace_settings(checked)
        if checked:
            self._traces = applied(self._traces, checked)
            await self._tell_traces(self._models.values())
        return {**DEFAULTS, **self._traces}

    async def _tell_traces(self, handles: Iterable[ModelHandle]) -> None:
        """A model that is away begins without them when it is back."""
        told = (handle.trace_settings({}, self._traces) for handle in handles)
        await asyncio.gather(*told, return_exceptions=True)

    def admit(self, name: str, version: str | None, deadline: float) -> None:
        """Raises at once what `infer` would raise for any such request: see ModelHandle."""
        self._handle(name, version).admit(deadline, version)

    async def infer(self, request: InferenceRequest) -> InferenceResponse:
        return await self._handle(request.model, request.version).infer(request)

    def _handle(self, name: str, version: str | None) -> ModelHandle:
        if version is not None and not _VERSION.fullmatch(version):
            raise InvalidInput(f"version: {version!r} is not a whole number from 1")
        return self.model(name)
