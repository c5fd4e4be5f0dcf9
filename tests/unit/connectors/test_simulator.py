import json

import cv2
import numpy as np
import pytest

from app.errors import InvalidInput
from connectors.simulator import simulate, views
from tests.fakes.context import StillClock


def picture() -> bytes:
    pixels = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    _, encoded = cv2.imencode(".jpg", pixels)
    return encoded.tobytes()


async def test_publishes_both_streams_at_their_rates() -> None:
    clock = StillClock()
    published: list[tuple[float, str, bytes]] = []

    async def publish(topic: str, payload: bytes) -> None:
        published.append((clock.now, topic, payload))

    simulated = await simulate(
        publish,
        clock,
        seconds=2.0,
        readings=({"n": n} for n in range(100)),
        readings_per_s=4.0,
        reading_topic="env",
        picture=picture(),
        frames_per_s=2.0,
        frame_topic="frame",
    )
    assert (simulated.readings, simulated.frames) == (8, 4)
    env = [
        (at - 1000.0, json.loads(payload)["n"])
        for at, topic, payload in published
        if topic == "env"
    ]
    assert env == [(n / 4, n) for n in range(8)]
    assert all(p.startswith(b"\xff\xd8\xff") for _, topic, p in published if topic == "frame")


async def test_ends_when_everything_ran_out() -> None:
    async def publish(topic: str, payload: bytes) -> None:
        """Nobody listens."""

    simulated = await simulate(publish, StillClock(), seconds=1e9, readings=[{"n": 1}])
    assert (simulated.readings, simulated.frames) == (1, 0)


def test_views_move_and_keep_their_size() -> None:
    frames = views(picture(), share=0.5)
    first, second = next(frames), next(frames)
    assert first != second
    for frame in (first, second):
        pixels = cv2.imdecode(np.frombuffer(frame, np.uint8), cv2.IMREAD_COLOR)
        assert pixels is not None
        assert pixels.shape == (20, 30, 3)


@pytest.mark.parametrize("junk", [b"", b"\xff\xd8\xff junk"])
def test_a_bad_picture_is_refused(junk: bytes) -> None:
    with pytest.raises(InvalidInput):
        next(views(junk))
