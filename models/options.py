"""How ONNX Runtime is asked to run a model: what `model.yaml` may say, and what is made of it.

IO binding is not used: on the CPU it gained nothing in a detector of 3 ms (fastestdet, one thread).

Arenas on the CPU have no limit of their own: ONNX Runtime can limit one arena that all sessions of
the process share (`create_and_register_allocator`), and a run then fails because of what other
models hold (50 MB: two sessions stopped at 35 MB together). Nor are they shrunk after each run:
text-detect at 640 x 640 took 100 ms instead of 75, and the process held no less.

Source of the names: ONNX Runtime's documentation of SessionOptions and of execution providers.
"""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from app.registry import ComponentConfig

if TYPE_CHECKING:
    from onnxruntime import SessionOptions

MAX_AUTOMATIC_THREADS = 4

PREFERRED_PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")

Optimization = Literal["disable", "basic", "extended", "all"]

_LEVELS = {
    "disable": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "extended": "ORT_ENABLE_EXTENDED",
    "all": "ORT_ENABLE_ALL",
}


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


def session_options(
    session: "SessionOptions", options: RuntimeOptions, levels: type
) -> "SessionOptions":
    """Fill in a fresh `session`; `levels` is the runtime's own GraphOptimizationLevel."""
    session.intra_op_num_threads = options.threads or automatic_threads()
    session.inter_op_num_threads = 1
    session.graph_optimization_level = getattr(levels, _LEVELS[options.optimization])
    session.enable_cpu_mem_arena = options.arena
    session.enable_mem_pattern = options.memory_pattern
    # Waiting threads spin by default, which takes whole cores from everything else on the box. Not
    # spinning costs a small detector a millisecond (3 to 4 on two threads) and saves three quarters
    # of its CPU time; on one thread it makes no difference.
    session.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Errors only: warnings are about how a file was exported, one for each of its weights.
    session.log_severity_level = 3
    return session


def providers_to_try(options: RuntimeOptions, available: Sequence[str]) -> tuple[str, ...]:
    """The wanted providers that this build has, best first. Raises ValueError if it has none."""
    wanted = options.providers or PREFERRED_PROVIDERS
    usable = tuple(name for name in wanted if name in available)
    if not usable:
        raise ValueError(
            f"none of {', '.join(wanted)} is in this ONNX Runtime; it has: {', '.join(available)}"
        )
    return usable


def provider_options(options: RuntimeOptions, provider: str) -> dict[str, str]:
    """What ONNX Runtime is told of a provider beside its name."""
    if provider != "CUDAExecutionProvider" or options.gpu_memory_limit_mb is None:
        return {}
    return {
        "gpu_mem_limit": str(options.gpu_memory_limit_mb * 1_000_000),
        # By default an arena grows by powers of two, and takes more of its limit than is needed.
        "arena_extend_strategy": "kSameAsRequested",
    }


def cached_graph(directory: Path, digest: str, version: str, level: str, provider: str) -> Path:
    """Where the rewritten graph of an artefact is kept; a graph fits one machine's processor only,
    so what the processor is belongs to the name."""
    machine = hashlib.sha256("\n".join(os.uname()[1:]).encode()).hexdigest()[:12]
    return directory / f"{digest}-{version}-{level}-{provider}-{machine}.onnx"


def automatic_threads() -> int:
    """CPU threads for a model whose `threads` is not given: see RuntimeOptions."""
    reserved = os.environ.get("OMP_NUM_THREADS", "")
    if reserved.isdecimal() and int(reserved) > 0:
        return int(reserved)
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(usable or 1, MAX_AUTOMATIC_THREADS)
