"""What became of one message."""

from dataclasses import dataclass
from typing import Literal

from app.types import Message


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a pipeline finished with one message; `reason` says why one was dropped."""

    kind: Literal["processed", "downgraded", "dropped"]
    message: Message
    reason: str | None = None
