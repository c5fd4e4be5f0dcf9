"""The agent that watches a zone of a picture."""

import logging
import math
from dataclasses import dataclass, field
from typing import Annotated, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from pydantic import AfterValidator, Field

from app.errors import InvalidInput
from app.imaging.polygons import points_inside
from app.interfaces import NodeContext
from app.nodes.agents.agent import AgentConfig, PerSource, action_of, within
from app.registry import NODES
from app.types import Detections, ImageTransform, JsonValue, Message, Tensors

logger = logging.getLogger(__name__)


def _valid_polygon(points: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
    if len(points) < 3:
        raise ValueError("a zone needs at least three points")
    if any(not math.isfinite(value) or value < 0 for point in points for value in point):
        raise ValueError("points are finite and not negative")
    return points


Polygon: TypeAlias = Annotated[tuple[tuple[float, float], ...], AfterValidator(_valid_polygon)]


class PersonInZoneConfig(AgentConfig):
    """`zone` is a name, or the zone's corners; `polygon` gives the corners of a named zone.

    Corners are (x, y), as parts of the picture's width and height where all are 0..1, otherwise in
    pixels. A named zone without corners is the whole picture, of which `manta validate` warns.
    Somebody is inside when the middle of the lower edge of their box is (`anchor: center`: of the
    box). `min_score` leaves out doubtful detections.

    Fires when somebody enters: with a tracker before it, once per track until that was away for
    `cooldown_s` seconds; without, once until nobody was there for as long.
    """

    type: Literal["person_in_zone"] = "person_in_zone"
    zone: str | Polygon
    polygon: Polygon | None = None
    label: str = "person"
    min_score: float = Field(default=0.0, ge=0, le=1)
    anchor: Literal["bottom_center", "center"] = "bottom_center"
    cooldown_s: float = Field(default=10.0, ge=0)


@dataclass
class _Presence:
    """When each track was last seen inside; key -1 stands for anybody."""

    seen_at: dict[int, float] = field(default_factory=dict)


class PersonInZone:
    """Reads the Detections among its inputs; raises InvalidInput where there are none."""

    def __init__(self, config: PersonInZoneConfig, context: NodeContext) -> None:
        self._config = config
        self._context = context
        self._polygon = config.polygon if isinstance(config.zone, str) else config.zone
        self._presences = PerSource(_Presence)

    async def open(self) -> None:
        if self._polygon is None:
            zone = self._config.zone
            logger.warning(
                "agent %r: zone %r has no polygon; it is the whole picture", self._context.id, zone
            )

    async def process(self, message: Message) -> Message | None:
        detections = _detections(self._context.values(message))
        inside = self._inside(detections, message)
        tracks = detections.track_ids
        people = [-1] * min(1, len(inside)) if tracks is None else [int(tracks[i]) for i in inside]
        entered = self._entered(people, message)
        if not entered:
            return message.with_result(self._context.id, [])
        zone = self._config.zone
        payload: dict[str, JsonValue] = {
            "zone": zone if isinstance(zone, str) else "polygon",
            "count": len(inside),
            "tracks": [track for track in entered if track >= 0],
            "boxes": [[float(edge) for edge in detections.boxes[i]] for i in inside],
        }
        action = action_of(self._config, self._context, message, payload)
        return message.with_result(self._context.id, [action])

    async def close(self) -> None:
        """Nothing to close."""

    def _entered(self, people: list[int], message: Message) -> list[int]:
        now, cooldown = message.captured_at, self._config.cooldown_s
        seen_at = self._presences.of(message.source).seen_at
        for track in [t for t, seen in seen_at.items() if not within(now - seen, cooldown)]:
            # Gone for long enough; without a cooldown, gone when not in this picture.
            if cooldown > 0 or track not in people:
                del seen_at[track]
        entered = [track for track in people if track not in seen_at]
        seen_at.update(dict.fromkeys(people, now))
        return entered

    def _inside(self, detections: Detections, message: Message) -> list[int]:
        wanted = [i for i in range(len(detections.boxes)) if self._is_wanted(detections, i)]
        if not wanted or self._polygon is None:
            return wanted
        boxes = np.asarray(detections.boxes, dtype=np.float64)[wanted]
        centre_y = (boxes[:, 1] + boxes[:, 3]) / 2
        y = boxes[:, 3] if self._config.anchor == "bottom_center" else centre_y
        points = np.stack([(boxes[:, 0] + boxes[:, 2]) / 2, y], axis=1)
        hits = points_inside(points, self._corners(self._polygon, message))
        return [index for index, hit in zip(wanted, hits, strict=True) if hit]

    def _is_wanted(self, detections: Detections, index: int) -> bool:
        number = int(detections.classes[index])
        labels = detections.labels
        label = labels[number] if 0 <= number < len(labels) else str(number)
        return label == self._config.label and detections.scores[index] >= self._config.min_score

    def _corners(self, polygon: Polygon, message: Message) -> npt.NDArray[np.float64]:
        corners = np.asarray(polygon, dtype=np.float64)
        if corners.max() > 1.0:
            return corners
        height, width = picture_size(message)
        return corners * (width, height)


def _detections(values: tuple[object, ...]) -> Detections:
    for value in values:
        if isinstance(value, Detections):
            return value
    kinds = ", ".join(type(value).__name__ for value in values)
    raise InvalidInput(f"needs detections, not {kinds}")


def picture_size(message: Message) -> tuple[int, int]:
    """(height, width) of the original picture. Raises InvalidInput where nothing tells it."""
    for value in message.results.values():
        transform: ImageTransform | None = value.transform if isinstance(value, Tensors) else None
        if transform is not None:
            return transform.original_size
    for value in (message.content, *message.results.values()):
        if isinstance(value, np.ndarray) and value.ndim in (2, 3):
            return value.shape[0], value.shape[1]
    raise InvalidInput("a zone in parts of the picture needs the picture's size, which is unknown")


NODES.register("person_in_zone", PersonInZoneConfig, PersonInZone, stateful=True)
