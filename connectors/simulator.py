"""Sensors that are not there: readings and frames at a steady rate, to try pipelines with."""

import math
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
import orjson

from app.errors import InvalidInput
from app.interfaces import Clock
from app.types import JsonValue

Publish: TypeAlias = Callable[[str, bytes], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Simulated:
    """How much was published."""

    readings: int
    frames: int


async def simulate(
    publish: Publish,
    clock: Clock,
    *,
    seconds: float,
    readings: Iterable[dict[str, JsonValue]] = (),
    readings_per_s: float = 1.0,
    reading_topic: str = "sensors/floor1/sim/env",
    picture: bytes | None = None,
    frames_per_s: float = 1.0,
    frame_topic: str = "sensors/floor1/cam1/frame",
) -> Simulated:
    """Publish readings as JSON and moving views of a picture as JPEG for `seconds` seconds.

    Ends sooner when both run out. The rate holds on average: what was late is made up for.
    Raises InvalidInput for a picture that cannot be decoded, and what `publish` raises.
    """
    streams = [
        _Stream(reading_topic, map(orjson.dumps, readings), 1.0 / readings_per_s),
        _Stream(frame_topic, iter(()) if picture is None else views(picture), 1.0 / frames_per_s),
    ]
    started = clock.monotonic()
    while True:
        stream = min(streams, key=lambda each: each.due)
        if stream.due >= seconds:
            return Simulated(streams[0].published, streams[1].published)
        payload = next(stream.payloads, None)
        if payload is None:
            stream.exhausted = True
            continue
        await clock.sleep(max(0.0, started + stream.due - clock.monotonic()))
        await publish(stream.topic, payload)
        stream.published += 1


@dataclass
class _Stream:
    topic: str
    payloads: Iterator[bytes]
    period: float
    published: int = 0
    exhausted: bool = False

    @property
    def due(self) -> float:
        """Seconds from the start to the next message. A product, so that errors do not add up."""
        return math.inf if self.exhausted else self.published * self.period


def views(picture: bytes, share: float = 0.9, turn: int = 40) -> Iterator[bytes]:
    """Without end: a window of `share` of the picture, going round once in `turn` frames, as JPEG.

    Raises InvalidInput where the picture cannot be decoded.
    """
    pixels = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR) if picture else None
    if pixels is None:
        raise InvalidInput("the picture cannot be decoded")
    height, width = pixels.shape[:2]
    high, wide = max(1, int(height * share)), max(1, int(width * share))
    number = 0
    while True:
        angle = 2 * math.pi * number / turn
        top = round((height - high) * (1 + math.sin(angle)) / 2)
        left = round((width - wide) * (1 + math.cos(angle)) / 2)
        _, encoded = cv2.imencode(".jpg", pixels[top : top + high, left : left + wide])
        yield encoded.tobytes()
        number += 1
