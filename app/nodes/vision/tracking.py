"""Giving the objects of a stream identities that last from frame to frame."""

import itertools
from collections import OrderedDict
from dataclasses import dataclass, replace

import numpy as np
from pydantic import Field

from app.errors import InvalidInput
from app.imaging.tracks import Tracks
from app.interfaces import NodeContext
from app.registry import NODES, ComponentConfig
from app.types import Detections, Message


class TrackConfig(ComponentConfig):
    """When a box belongs to a track, and how long tracks and sources are remembered.

    `iou` is the least overlap with where the track is expected. A track is reported from its
    `min_hits`-th detection on and forgotten after `max_age` seconds without one. A source unseen
    for `forget_after` seconds, or the longest unseen of over `max_sources`, starts afresh.
    """

    iou: float = Field(0.3, gt=0, le=1)
    max_age: float = Field(1.0, gt=0)
    min_hits: int = Field(3, ge=1)
    forget_after: float = Field(60.0, gt=0)
    max_sources: int = Field(1000, gt=0)


@dataclass(slots=True)
class _Seen:
    tracks: Tracks
    at: float


class Tracker:
    """Adds `track_ids` to the Detections of its first input, per source and class.

    Detections of tracks not yet confirmed are left out. Ids count from 1 and are not used twice
    while the node is open, whatever the source.
    """

    def __init__(self, config: TrackConfig, context: NodeContext) -> None:
        self._config = config
        self._context = context
        self._sources: OrderedDict[str, _Seen] = OrderedDict()
        self._ids = itertools.count(1)

    async def open(self) -> None:
        """Tracks start with the first message of a source."""

    async def process(self, message: Message) -> Message | None:
        detections = self._context.value(message)
        if not isinstance(detections, Detections):
            raise InvalidInput(f"expected detections, got {type(detections).__name__}")
        tracks = self._tracks_of(message.source)
        track_of = tracks.update(
            np.asarray(detections.boxes, np.float32),
            np.asarray(detections.classes, np.int32),
            message.captured_at,
            iou=self._config.iou,
            max_age=self._config.max_age,
            new_ids=self._ids,
        )
        confirmed = tracks.hits[track_of] >= self._config.min_hits
        tracked = replace(
            detections,
            boxes=detections.boxes[confirmed],
            scores=detections.scores[confirmed],
            classes=detections.classes[confirmed],
            track_ids=tracks.ids[track_of][confirmed],
        )
        return message.with_result(self._context.id, tracked)

    async def close(self) -> None:
        self._sources.clear()

    def _tracks_of(self, source: str) -> Tracks:
        now = self._context.clock.monotonic()
        while self._sources:
            oldest, seen = next(iter(self._sources.items()))
            if now - seen.at <= self._config.forget_after:
                break
            del self._sources[oldest]
        current = self._sources.setdefault(source, _Seen(Tracks(), now))
        current.at = now
        self._sources.move_to_end(source)
        if len(self._sources) > self._config.max_sources:
            self._sources.popitem(last=False)
        return current.tracks


NODES.register("track.iou", TrackConfig, Tracker, aliases=("tracker",), stateful=True)
