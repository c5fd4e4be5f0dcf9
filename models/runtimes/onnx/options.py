"""How ONNX Runtime is asked to run a model: what is made of `model.yaml`.

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
from typing import TYPE_CHECKING

from models.repository.runtime_options import RuntimeOptions

if TYPE_CHECKING:
    from onnxruntime import SessionOptions

MAX_AUTOMATIC_THREADS = 4

PREFERRED_PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")

_LEVELS = {
    "disable": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "extended": "ORT_ENABLE_EXTENDED",
    "all": "ORT_ENABLE_ALL",
}


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
