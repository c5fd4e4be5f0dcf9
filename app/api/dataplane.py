"""The one implementation behind every protocol."""

import asyncio
import re
from collections.abc import Mapping

from app import __version__
from app.errors import InvalidInput, ModelNotFound
from app.interfaces import ModelHandle
from app.types import InferenceRequest, InferenceResponse, JsonValue, ModelMetadata

NAME = "manta"
_VERSION = re.compile(r"[1-9][0-9]{0,18}")


class DataPlane:
    """The models that one process can answer for, wherever each of them runs."""

    def __init__(self, models: Mapping[str, ModelHandle]) -> None:
        self._models = dict(models)

    def add(self, name: str, handle: ModelHandle) -> None:
        """From now on answer for this model, too, or by this handle."""
        self._models[name] = handle

    def remove(self, name: str) -> None:
        """Know this model no more; requests that it has already are not touched."""
        self._models.pop(name, None)

    def model(self, name: str) -> ModelHandle:
        """Raises ModelNotFound."""
        handle = self._models.get(name)
        if handle is None:
            raise ModelNotFound(f"there is no model {name!r}")
        return handle

    def server_metadata(self) -> dict[str, JsonValue]:
        return {"name": NAME, "version": __version__, "extensions": []}

    async def ready(self) -> bool:
        """Whether every model is. One that failed to load keeps the server from being ready."""
        return all(await asyncio.gather(*(handle.ready() for handle in self._models.values())))

    async def model_ready(self, name: str, version: str | None = None) -> bool:
        """Raises ModelNotFound for a version that a ready model does not serve."""
        handle = self._handle(name, version)
        is_ready = await handle.ready()
        if is_ready and version is not None:
            await handle.metadata(version)
        return is_ready

    async def model_metadata(self, name: str, version: str | None = None) -> ModelMetadata:
        return await self._handle(name, version).metadata(version)

    async def infer(self, request: InferenceRequest) -> InferenceResponse:
        return await self._handle(request.model, request.version).infer(request)

    def _handle(self, name: str, version: str | None) -> ModelHandle:
        if version is not None and not _VERSION.fullmatch(version):
            raise InvalidInput(f"version: {version!r} is not a whole number from 1")
        return self.model(name)
