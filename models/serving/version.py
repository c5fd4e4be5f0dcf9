"""One loaded version of a model: its batcher and the thread that runs it."""

import asyncio
import logging
import threading
import time
from collections.abc import Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from traceback import clear_frames

import numpy as np

from app.batching.batcher import DynamicBatcher
from app.batching.cost_curve import CostCurves
from app.batching.stats import BatchStats
from app.errors import ModelNotReady
from app.interfaces import Model
from app.telemetry.tracing import Trace, mark_all
from app.types import Arrays, Duration, InferenceRequest, InferenceResponse, ModelStatistics
from models.serving.checks import check_answer, check_inputs, check_outputs, corrected, key_of
from models.serving.health import Health

logger = logging.getLogger(__name__)

INLINE_SECONDS = 0.0003
"""A run expected to need less of a processor than this stays on the event loop: handing it to the
thread and back costs about as much, and more under load, and it holds up nobody for long."""

STRETCHED = 5
"""How many times its processor time a short run on the thread may take in a busy process."""


class ModelVersion:
    """A Model that takes one request at a time and runs them in batches.

    Built around a model that is loaded already. The runs happen on a thread for each of the model's
    instances, or on the event loop where the model is steady and they are known to be very short.
    `probe` is an input that the model has answered, by default the first request that it answers:
    see `models.serving.health`; `answer` is what it answered. `untried` says why there is none,
    `not_stacked` why its requests are run one by one, both for people.

    `metadata` changes where an answer shows that an output's shape is not what the model says.
    """

    def __init__(
        self,
        version: str,
        model: Model,
        *,
        queue_size: int,
        probe: Arrays | None = None,
        answer: Arrays | None = None,
        untried: str = "",
        not_stacked: str = "",
        max_run_seconds: float = 60.0,
    ) -> None:
        self.version = version
        self.metadata = model.metadata
        self.untried = untried
        self._not_stacked = not_stacked
        self._correcting = threading.Lock()
        self._model = model
        self._threads = ThreadPoolExecutor(
            model.instances + model.spare_instances,
            thread_name_prefix=f"model-{self.metadata.name}",
        )
        self._steady = model.steady
        self._key_of = key_of(self.metadata)
        self._max_run_seconds = max_run_seconds
        self._health = Health(
            None if probe is None else partial(model.predict, probe),
            max_run_seconds=max_run_seconds,
            monotonic=time.monotonic,
        )
        self._processor_seconds = CostCurves()
        self._traces: dict[int, Trace] = {}
        self._batcher: DynamicBatcher[Arrays, Arrays] = DynamicBatcher(
            self._run,
            max_rows=self.metadata.max_batch_size,
            max_waiting=queue_size,
            executors=model.instances,
            spare=model.spare_instances,
            run_now=self._run_now if self._steady else None,
            monotonic=time.monotonic,
        )
        if answer is not None:
            self._correct(answer)

    @property
    def stats(self) -> BatchStats:
        return self._batcher.stats

    @property
    def waiting(self) -> int:
        return self._batcher.waiting

    @property
    def note(self) -> str:
        """What a person should know of a version that is ready, or nothing."""
        return self.untried or self._not_stacked

    @property
    def fault(self) -> str:
        """Why this version cannot be used any more, or nothing."""
        return self._health.fault

    def statistics(self) -> ModelStatistics:
        """What was counted since this version was loaded.

        Requests that shared a run shared its time: it is counted once.
        """
        stats = self._batcher.stats
        queue, run = _nanoseconds(stats.queue_seconds), _nanoseconds(stats.run_seconds)
        return ModelStatistics(
            name=self.metadata.name,
            version=self.version,
            last_inference=int(stats.last_run * 1000),
            inferences=stats.rows,
            executions=stats.runs,
            success=Duration(stats.succeeded, queue + run),
            fail=Duration(stats.failed, 0),
            queue=Duration(stats.succeeded, queue),
            compute=Duration(stats.succeeded, run),
            batches={
                rows: Duration(count, _nanoseconds(stats.seconds_by_rows[rows]))
                for rows, count in sorted(stats.runs_by_rows.items())
            },
            dropped={
                "shed": stats.shed,
                "expired": stats.expired,
                "cancelled": stats.cancelled,
            },
        )

    def admit(self, deadline: float) -> None:
        """Raises what `infer` would raise for any request with this deadline."""
        self._batcher.admit(deadline)

    async def infer(
        self, request: InferenceRequest, trace: Trace | None = None
    ) -> InferenceResponse:
        """Raises RequestError or ServingError, and whatever the model raised for this request."""
        if fault := self._health.fault:
            raise ModelNotReady(f"model {self.metadata.name!r} is out of order: {fault}")
        rows = check_inputs(self.metadata, request.inputs)
        if request.outputs:
            check_outputs(self.metadata, request)
        if trace is not None:
            trace.mark("QUEUE_START")
            self._traces[id(request.inputs)] = trace
        try:
            outputs = await self._batcher.submit(
                request.inputs,
                key=self._key_of(request.inputs),
                rows=rows,
                deadline=request.deadline,
            )
        finally:
            if trace is not None:
                self._traces.pop(id(request.inputs), None)
        if request.outputs:
            outputs = {name: outputs[name] for name in request.outputs}
        return InferenceResponse(self.metadata.name, self.version, outputs, request.id)

    async def retire(self) -> None:
        """Answer what waits, then close. A run that hangs is waited for only so long."""
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._batcher.drain(), self._max_run_seconds)
        await self.close()

    async def close(self) -> None:
        """Finish what runs, fail what waits, and give the memory back, unless a run hangs."""
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._batcher.close(), self._max_run_seconds)
            await asyncio.get_running_loop().run_in_executor(self._threads, self._model.unload)
        self._threads.shutdown(wait=False)

    async def _run(self, batch: Sequence[Arrays]) -> Sequence[Arrays]:
        key = self._key_of(batch[0])
        rows = self._rows(batch)
        if self._is_short(key, sum(rows)):
            outputs, seconds = self._predict(batch, rows)
        else:
            outputs, seconds = await asyncio.get_running_loop().run_in_executor(
                self._threads, partial(self._predict, batch, rows)
            )
        self._processor_seconds.of(key).record(sum(rows), seconds)
        return outputs

    def _run_now(self, inputs: Arrays) -> Arrays:
        if self._traces:
            [outputs], _ = self._predict((inputs,), self._rows((inputs,)))
            return outputs
        return self._checked_run(inputs, self._rows((inputs,))[0])

    def _traces_of(self, batch: Sequence[Arrays]) -> list[Trace]:
        found = (self._traces.get(id(inputs)) for inputs in batch)
        return [trace for trace in found if trace is not None]

    def _is_short(self, key: Hashable, rows: int) -> bool:
        """By its processor time, since a busy process stretches the time that a thread's run takes;
        and not without bounds, since a run that waits needs time but no processor."""
        if not self._steady:
            return False
        expected = self._processor_seconds.of(key).estimate(rows)
        taken = self._batcher.curve(key).estimate(rows)
        return 0.0 < expected < INLINE_SECONDS and taken < STRETCHED * INLINE_SECONDS

    def _predict(
        self, batch: Sequence[Arrays], rows: Sequence[int]
    ) -> tuple[Sequence[Arrays], float]:
        """The answers, and the processor time that they took in this thread, in seconds."""
        traces = self._traces_of(batch) if self._traces else ()
        mark_all(traces, "COMPUTE_START")
        inputs = batch[0] if len(batch) == 1 else _stacked(batch)
        mark_all(traces, "COMPUTE_INPUT_END")
        started = time.thread_time()
        outputs = self._checked_run(inputs, sum(rows))
        seconds = time.thread_time() - started
        mark_all(traces, "COMPUTE_OUTPUT_START")
        parts = [outputs] if len(batch) == 1 else _split(outputs, rows)
        mark_all(traces, "COMPUTE_END")
        return parts, seconds

    def _checked_run(self, inputs: Arrays, rows: int) -> Arrays:
        self._health.run_starts()
        try:
            outputs = self._model.predict(inputs)
            check_answer(self.metadata, outputs, rows)
            self._correct(outputs)
        except Exception as error:
            # Its traceback would keep all that the model had in memory for as long as it is kept.
            clear_frames(error.__traceback__)
            self._health.run_failed(error)
            raise
        self._health.run_worked()
        if self._health.probe is None:
            self.untried = ""
            self._health.probe = partial(self._model.predict, self._first_row(inputs))
        return outputs

    def _correct(self, outputs: Arrays) -> None:
        if corrected(self.metadata, outputs) is self.metadata:
            return
        with self._correcting:
            before, self.metadata = self.metadata, corrected(self.metadata, outputs)
        for claim, found in zip(before.outputs, self.metadata.outputs, strict=True):
            if claim.shape != found.shape:
                logger.warning(
                    "model %r says that its output %r has shape %s, and answered %s: its metadata"
                    " says %s from now on, [] being any shape",
                    *(before.name, claim.name, list(claim.shape)),
                    *(list(outputs[claim.name].shape), list(found.shape)),
                )

    def _first_row(self, inputs: Arrays) -> Arrays:
        """A copy: what a request came in, or the memory it shares, must not be held or change."""
        if self.metadata.max_batch_size > 0:
            inputs = {name: array[:1] for name, array in inputs.items()}
        return {name: array.copy() for name, array in inputs.items()}

    def _rows(self, batch: Sequence[Arrays]) -> list[int]:
        if self.metadata.max_batch_size == 0:
            return [1] * len(batch)
        first = self.metadata.inputs[0].name
        return [inputs[first].shape[0] for inputs in batch]


def _stacked(batch: Sequence[Arrays]) -> Arrays:
    return {name: np.concatenate([inputs[name] for inputs in batch]) for name in batch[0]}


def _split(outputs: Arrays, rows: Sequence[int]) -> list[Arrays]:
    """Each request's own rows, as views: nothing is copied."""
    parts: list[Arrays] = []
    start = 0
    for count in rows:
        parts.append({name: array[start : start + count] for name, array in outputs.items()})
        start += count
    return parts


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
