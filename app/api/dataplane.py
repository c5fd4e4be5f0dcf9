"""The one implementation behind every protocol."""

from collections.abc import Mapping

from app import __version__
from app.errors import ModelNotFound
from app.interfaces import ModelHandle
from app.types import InferenceRequest, InferenceResponse, JsonValue, ModelMetadata

NAME = "manta"


class DataPlane:
    """The models that one process can answer for, wherever each of them runs."""

    def __init__(self, models: Mapping[str, ModelHandle]) -> None:
        self._models = models

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
        return all([await handle.ready() for handle in self._models.values()])

    async def model_ready(self, name: str) -> bool:
        return await self.model(name).ready()

    async def model_metadata(self, name: str, version: str | None = None) -> ModelMetadata:
        return await self.model(name).metadata(version)

    async def infer(self, request: InferenceRequest) -> InferenceResponse:
        return await self.model(request.model).infer(request)
