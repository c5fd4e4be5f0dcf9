"""What the pipelines of one process may reach."""

from collections.abc import Callable
from dataclasses import dataclass

from app.interfaces import Clock, ModelHandle, Sink


@dataclass(frozen=True, slots=True)
class Resources:
    """`model` raises ModelNotFound, `sink` ConfigurationError, for a name that is not known."""

    model: Callable[[str], ModelHandle]
    sink: Callable[[str], Sink]
    clock: Clock
