"""What became of a message."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from app.types import Message

OutcomeKind: TypeAlias = Literal["processed", "downgraded", "dropped"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of one message's way through a pipeline.

    `reason` says why it was downgraded or dropped: a short word that is counted, never a text
    with values in it. `message` carries the results, and the error where a node failed.
    """

    kind: OutcomeKind
    reason: str | None
    message: Message
