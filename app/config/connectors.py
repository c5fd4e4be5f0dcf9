"""What the configurations of all connectors and of all actions share."""

from typing import Literal, TypeAlias

from pydantic import Field

from app.registry import ComponentConfig

OnFull: TypeAlias = Literal["drop_oldest", "drop_newest", "block"]


class ConnectorConfig(ComponentConfig):
    """One entry of `connectors:`. Subclasses add `type` and what their transport needs.

    `on_full` says what happens when `max_queue_depth` messages wait: `drop_oldest` (the newest
    frame wins), `drop_newest`, or `block`, which stops reading and leaves it to the transport to
    hold its messages. `max_queue_depth` None means the process's default. Up to `max_concurrency`
    messages are processed at once, those of one source always one after another.
    """

    type: str
    id: str = Field(min_length=1, max_length=128)
    max_queue_depth: int | None = Field(default=None, ge=1, le=100_000)
    on_full: OnFull = "drop_oldest"
    max_concurrency: int = Field(default=4, ge=1, le=256)

    def routes(self) -> tuple[str, ...]:
        """The pipelines that this connector's messages go to."""
        raise NotImplementedError(f"connector type {self.type!r} does not say where it leads")


class ActionConfig(ComponentConfig):
    """One entry of `actions:`. Subclasses add `type` and what their transport needs."""

    type: str
