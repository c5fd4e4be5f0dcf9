"""The part of `model.yaml` that says how a model is run."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from app.registry import ComponentConfig

Optimization = Literal["disable", "basic", "extended", "all"]


class RuntimeOptions(ComponentConfig):
    """The part of `model.yaml` that says how a model is run.

    threads: CPU threads for one run. By default one where a run takes less than 0.1 ms, for others
        OMP_NUM_THREADS, which Ray sets to the CPUs it reserved for a replica; without it all CPUs
        this process may use, at most 4.
    instances: how many runs go on at once. By default one; but where a run of less than 20 ms on
        the CPU takes hardly longer on one thread, one on each of the threads above, and one more
        while no deadline is near.
    providers: where to run, best first; the first one with which the model loads and runs is used.
        By default CUDA where it is there, then the CPU.
    optimization: how far the graph is rewritten before it is run.
    optimized_graph_cache: a directory to keep rewritten graphs in, so that the next load is
        faster. It is looked up by the artefact's SHA-256, the runtime's version and the level.
    arena: keep freed memory for the next run. Off, a run takes longer and an idle model less
        memory.
    gpu_memory_limit_mb: the most million bytes that the model's arena on a CUDA device may hold,
        weights included; a run that needs more fails. By default all that the device has. CUDA and
        its libraries take some more outside it. It has no meaning on the CPU.
    memory_pattern: plan the memory of a run ahead, where shapes do not change.
    quantize: `dynamic_int8` stores weights in 8 bits; needs the `onnx` package.
    quantize_tolerance: the largest deviation of its outputs from the original's that is accepted,
        as a part of the largest output value; above it the model is not loaded.
    """

    threads: int | None = Field(default=None, ge=1, le=1024)
    instances: int | None = Field(default=None, ge=1, le=64)
    providers: tuple[str, ...] | None = Field(default=None, min_length=1)
    optimization: Optimization = "all"
    optimized_graph_cache: Path | None = None
    arena: bool = True
    gpu_memory_limit_mb: int | None = Field(default=None, ge=1)
    memory_pattern: bool = True
    quantize: Literal["dynamic_int8"] | None = None
    quantize_tolerance: float = Field(default=0.05, gt=0, le=1)
