"""Giving memory back to the system after a model has gone."""

import ctypes
import gc
from functools import cache


def release_memory() -> None:
    """Collect what is unreachable, and let the C library return its free pages where it can."""
    gc.collect()
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


@cache
def _malloc_trim() -> "ctypes._NamedFuncPointer | None":
    """glibc's `malloc_trim`; other C libraries have none."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return None
