"""A model served from this process."""

import asyncio
import logging
import re
from typing import Literal

from app.errors import ConfigurationError, InferenceFailed, MantaError, ModelNotFound, ModelNotReady
from app.interfaces import Model
from app.types import (
    Arrays,
    InferenceRequest,
    InferenceResponse,
    JsonValue,
    ModelMetadata,
    ModelStatistics,
)
from models.metadata import warm_up_inputs
from models.repository import ModelRepository
from models.version import ModelVersion

logger = logging.getLogger(__name__)

_DIRECTORIES = re.compile(r"(?<![\w/:.])(?:/[^\s/'\":,;]+)+/")

State = Literal["loading", "ready", "failed", "unloaded"]


class LocalModelService:
    """The ModelHandle of a model in this process: loads, warms up, batches and runs it.

    Serves the newest version that the repository has. Call `load` once; until it has finished,
    and if it fails, requests are answered with ModelNotReady.
    """

    def __init__(self, repository: ModelRepository, name: str) -> None:
        self.name = name
        self._repository = repository
        self._version: ModelVersion | None = None
        self._runs_well = True
        self.state: State = "loading"
        self.reason = ""

    async def load(self) -> None:
        """Load and warm up. A failure is kept in `state` and `reason`, and logged, not raised.

        The log has all of it; `reason`, which callers may read, names files without directories.
        """
        try:
            version = await asyncio.get_running_loop().run_in_executor(None, self._load)
        except MantaError as error:
            self.state, self.reason = "failed", _DIRECTORIES.sub("", str(error))
            logger.error("model %r cannot be served: %s", self.name, error)
            return
        except Exception as error:
            self.state, self.reason = "failed", f"loading it raised {type(error).__name__}"
            logger.exception("model %r cannot be served", self.name)
            return
        if self.state == "unloaded":  # closed meanwhile
            await version.close()
            return
        self._version = version
        self.state = "ready"
        logger.info("model %r version %s is ready", self.name, version.version)

    async def infer(self, request: InferenceRequest) -> InferenceResponse:
        version = self._ready_version(request.version)
        try:
            response = await version.infer(request)
        except MantaError:
            raise
        except Exception as error:
            if self._runs_well:
                logger.exception("model %r failed to run a request", self.name)
            self._runs_well = False
            raise InferenceFailed(f"model {self.name!r} failed to run this request") from error
        self._runs_well = True
        return response

    async def ready(self) -> bool:
        return self.state == "ready"

    async def metadata(self, version: str | None = None) -> ModelMetadata:
        return self._ready_version(version).metadata

    async def statistics(self, version: str | None = None) -> tuple[ModelStatistics, ...]:
        return (self._ready_version(version).statistics(),)

    async def close(self) -> None:
        """Unload. Requests that come later get ModelNotReady."""
        version, self._version, self.state = self._version, None, "unloaded"
        if version is not None:
            await version.close()

    def status(self) -> dict[str, JsonValue]:
        """State, and what was counted since start, as plain data."""
        status: dict[str, JsonValue] = {"state": self.state, "reason": self.reason}
        if self._version is not None:
            stats = self._version.stats
            status |= {
                "version": self._version.version,
                "max_batch_size": self._version.metadata.max_batch_size,
                "waiting": self._version.waiting,
                "succeeded": stats.succeeded,
                "failed": stats.failed,
                "shed": stats.shed,
                "expired": stats.expired,
                "cancelled": stats.cancelled,
                "runs": stats.runs,
                "rows": stats.rows,
                "queue_seconds": stats.queue_seconds,
                "run_seconds": stats.run_seconds,
            }
        return status

    def _load(self) -> ModelVersion:
        config = self._repository.config(self.name)
        newest = list(config.versions)[-1]
        model = self._repository.open(self.name, newest)
        model.load()
        _warm_up(model, warm_up_inputs(config, model.metadata))
        return ModelVersion(newest, model, queue_size=config.queue_size)

    def _ready_version(self, version: str | None) -> ModelVersion:
        current = self._version
        if current is None:
            raise ModelNotReady(f"model {self.name!r} is {self.state}")
        if version is not None and version != current.version:
            raise ModelNotFound(
                f"model {self.name!r} has no version {version!r}; served is {current.version!r}"
            )
        return current


def _warm_up(model: Model, inputs: Arrays) -> None:
    """Run once, so that the first request does not pay for what the runtime does on first use."""
    try:
        model.predict(inputs)
    except Exception as error:
        raise ConfigurationError(f"the warm-up run failed: {error}", field="warm_up") from error
