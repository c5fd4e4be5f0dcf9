"""Models without a runtime, and handles without a model."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from app.errors import DeadlineExceeded, ModelNotFound, ModelNotReady
from app.telemetry.tracing import TraceSettings
from app.types import (
    Arrays,
    InferenceRequest,
    InferenceResponse,
    ModelMetadata,
    ModelStatistics,
    TensorSpec,
)
from models.serving.checks import check_inputs, check_outputs

METADATA = ModelMetadata(
    name="fake",
    versions=("1",),
    platform="test",
    inputs=(TensorSpec("x", "FP32", (-1, 3)),),
    outputs=(TensorSpec("y", "FP32", (-1, 3)),),
    max_batch_size=8,
)


def doubled(inputs: Arrays) -> Arrays:
    """The answer of these models: `y` is twice `x`."""
    return {"y": inputs["x"].astype(np.float32) * np.float32(2)}


class FakeModel:
    """A Model that keeps every batch it ran and refuses what a caller must never do.

    `answer` computes the outputs: it may raise, or answer nonsense. With `gate`, a run waits until
    the gate is set: that is how a model hangs.
    """

    def __init__(
        self,
        answer: Callable[[Arrays], Arrays] = doubled,
        *,
        metadata: ModelMetadata = METADATA,
        gate: threading.Event | None = None,
        steady: bool = True,
        instances: int = 1,
        spare_instances: int = 0,
    ) -> None:
        self.batches: list[Arrays] = []
        self.threads: list[str] = []
        self.loaded = False
        self.started = threading.Event()
        self._answer = answer
        self._metadata = metadata
        self._gate = gate
        self.steady = steady
        self.instances = instances
        self.spare_instances = spare_instances
        self._running = threading.Semaphore(instances + spare_instances)

    @property
    def metadata(self) -> ModelMetadata:
        assert self.loaded, "the metadata is read before load"
        return self._metadata

    def load(self) -> None:
        assert not self.loaded, "loaded twice"
        self.loaded = True

    def predict(self, inputs: Arrays) -> Arrays:
        assert self.loaded, "predict before load or after unload"
        assert self._running.acquire(blocking=False), "more runs at once than there are instances"
        try:
            self.batches.append(inputs)
            self.threads.append(threading.current_thread().name)
            self.started.set()
            if self._gate is not None:
                assert self._gate.wait(timeout=10.0), "the gate was never opened"
            return self._answer(inputs)
        finally:
            self._running.release()

    def unload(self) -> None:
        assert self.loaded, "unloaded before load, or twice"
        self.loaded = False


@dataclass
class FakeHandle:
    """A ModelHandle that answers with `answer`, or raises it, and keeps what it answered to.

    `answer` may raise, too. `state` other than "ready" makes every call a ModelNotReady. Requests
    are checked against `model` as a real one would.
    """

    answer: Callable[[Arrays], Arrays] | Exception = doubled
    model: ModelMetadata = METADATA
    state: str = "ready"
    clock: Callable[[], float] = time.monotonic
    requests: list[InferenceRequest] = field(default_factory=list)

    async def infer(self, request: InferenceRequest) -> InferenceResponse:
        metadata = await self.metadata(request.version)
        if isinstance(self.answer, Exception):
            raise self.answer
        check_inputs(metadata, request.inputs)
        check_outputs(metadata, request)
        if request.deadline is not None and self.clock() > request.deadline:
            raise DeadlineExceeded("the deadline passed before the model could run")
        self.requests.append(request)
        outputs = self.answer(request.inputs)
        if request.outputs:
            outputs = {name: outputs[name] for name in request.outputs}
        return InferenceResponse(metadata.name, metadata.versions[-1], outputs, request.id)

    async def ready(self) -> bool:
        return self.state == "ready"

    async def metadata(self, version: str | None = None) -> ModelMetadata:
        if self.state != "ready":
            raise ModelNotReady(f"model {self.model.name!r} is {self.state}")
        if version is not None and version not in self.model.versions:
            raise ModelNotFound(f"model {self.model.name!r} has no version {version!r}")
        return self.model

    def admit(self, deadline: float, version: str | None = None) -> None:
        """Takes everything."""

    async def trace_settings(
        self, own: TraceSettings, for_all: TraceSettings | None = None
    ) -> TraceSettings:
        return own

    async def statistics(self, version: str | None = None) -> tuple[ModelStatistics, ...]:
        metadata = await self.metadata(version)
        served = metadata.versions if version is None else (version,)
        return tuple(ModelStatistics(metadata.name, each) for each in served)
