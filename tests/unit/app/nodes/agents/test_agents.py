import logging

import numpy as np
import pytest
from pydantic import ValidationError

from app.errors import InvalidInput
from app.imaging.polygons import points_inside
from app.nodes.agents.person_in_zone import PersonInZone, PersonInZoneConfig
from app.nodes.agents.threshold import Threshold, ThresholdConfig
from app.registry import NODES
from app.types import Action, ClassScore, Detections, ImageTransform, Message, Tensors
from tests.fakes.context import context


def reading(at: float, content: object = None, source: str = "s", **results: object) -> Message:
    return Message(str(at), source, content, captured_at=at, results=results)


async def fired(agent: Threshold | PersonInZone, message: Message) -> list[Action]:
    done = await agent.process(message)
    assert done is not None
    actions = done.results["agent"]
    assert isinstance(actions, list)
    return actions


def threshold(inputs: tuple[str, ...] = (), **options: object) -> Threshold:
    values = {"metric": "co2_ppm", "threshold": 800, "dispatcher": "log", **options}
    return Threshold(ThresholdConfig.model_validate(values), context("agent", inputs))


async def firing_pattern(agent: Threshold, values: list[float]) -> str:
    marks = [
        "x" if await fired(agent, reading(float(at), {"co2_ppm": value})) else "."
        for at, value in enumerate(values)
    ]
    return "".join(marks)


async def test_threshold_fires_on_crossing_only() -> None:
    values = [700.0, 801.0, 900.0, 850.0, 800.0, 801.0, 802.0]
    assert await firing_pattern(threshold(), values) == ".x...x."


async def test_threshold_at_the_value_itself_does_not_fire() -> None:
    assert await firing_pattern(threshold(), [800.0, 800.0]) == ".."


async def test_threshold_rearms_by_hysteresis() -> None:
    values = [801.0, 790.0, 801.0, 750.0, 801.0]
    assert await firing_pattern(threshold(hysteresis=50), values) == "x...x"


async def test_threshold_below() -> None:
    values = [900.0, 799.0, 700.0, 801.0, 799.0]
    assert await firing_pattern(threshold(direction="below"), values) == ".x..x"


async def test_threshold_tells_a_crossing_in_the_cooldown_at_its_end() -> None:
    values = [801.0, 700.0, 801.0, 802.0, 803.0, 804.0, 805.0]
    assert await firing_pattern(threshold(cooldown_s=5), values) == "x....x."


async def test_threshold_is_not_held_back_by_a_clock_set_back() -> None:
    agent = threshold(cooldown_s=60)
    assert await fired(agent, reading(10_000.0, {"co2_ppm": 900}))
    assert not await fired(agent, reading(10_001.0, {"co2_ppm": 700}))
    assert await fired(agent, reading(5_000.0, {"co2_ppm": 900}))


async def test_threshold_keeps_sources_apart() -> None:
    agent = threshold()
    assert await fired(agent, reading(0.0, {"co2_ppm": 900}, "a"))
    assert await fired(agent, reading(1.0, {"co2_ppm": 900}, "b"))
    assert not await fired(agent, reading(2.0, {"co2_ppm": 900}, "a"))


async def test_threshold_looks_at_scores_then_mappings_then_the_content() -> None:
    scores = [ClassScore("poor", 0.9)]
    both = {"poor": 0.1, "co2_ppm": 900.0}
    agent = threshold(("a", "b"), metric="poor", threshold=0.5)
    [action] = await fired(agent, reading(0.0, {"poor": 0.2}, a=scores, b=both))
    assert action.payload["value"] == 0.9
    assert await fired(threshold(("a", "b")), reading(0.0, {"co2_ppm": 1}, a=scores, b=both))
    assert await fired(threshold(("a",)), reading(0.0, {"co2_ppm": 900}, a=scores))


async def test_threshold_action_is_the_same_for_the_same_message() -> None:
    message = reading(5.0, {"co2_ppm": 900})
    [first] = await fired(threshold(target="room/1"), message)
    [again] = await fired(threshold(target="room/1"), message)
    assert first == again
    assert (first.agent, first.dispatcher, first.target) == ("agent", "log", "room/1")
    assert first.payload == {
        "source": "s",
        "captured_at": 5.0,
        "metric": "co2_ppm",
        "value": 900.0,
        "threshold": 800.0,
        "direction": "above",
    }


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ({"voc": 1, "humidity": 2}, "there is no metric 'co2_ppm'; there are: humidity, voc"),
        (b"", "there is no metric 'co2_ppm'; there are: none"),
        ({"co2_ppm": "900"}, "metric 'co2_ppm' is no number but str"),
        ({"co2_ppm": True}, "metric 'co2_ppm' is no number but bool"),
        ({"co2_ppm": float("nan")}, "metric 'co2_ppm' is not finite"),
    ],
)
async def test_threshold_says_what_it_does_not_find(content: object, error: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        await threshold().process(reading(0.0, content))
    assert str(raised.value) == error


def people(
    *boxes: tuple[float, float, float, float], tracks: list[int] | None = None
) -> Detections:
    return Detections(
        boxes=np.asarray(boxes, dtype=np.float32).reshape(-1, 4),
        scores=np.full(len(boxes), 0.9, dtype=np.float32),
        classes=np.zeros(len(boxes), dtype=np.int32),
        track_ids=None if tracks is None else np.asarray(tracks, dtype=np.int64),
        labels=("person", "dog"),
    )


def guard(**options: object) -> PersonInZone:
    values = {"zone": "frontdoor", "dispatcher": "log", **options}
    return PersonInZone(PersonInZoneConfig.model_validate(values), context("agent", ("det",)))


LEFT = (0.0, 0.0, 40.0, 90.0)
RIGHT = (60.0, 0.0, 90.0, 90.0)
LEFT_HALF = [[0, 0], [50, 0], [50, 100], [0, 100]]


async def test_a_zone_without_polygon_is_the_whole_picture(
    caplog: pytest.LogCaptureFixture,
) -> None:
    agent = guard()
    with caplog.at_level(logging.WARNING):
        await agent.open()
    assert "zone 'frontdoor' has no polygon" in caplog.text
    [action] = await fired(agent, reading(0.0, det=people(LEFT, RIGHT)))
    assert action.payload["zone"] == "frontdoor"
    assert action.payload["count"] == 2


async def test_only_people_in_the_polygon_count() -> None:
    agent = guard(zone=LEFT_HALF)
    assert not await fired(agent, reading(0.0, det=people(RIGHT)))
    [action] = await fired(agent, reading(1.0, det=people(LEFT, RIGHT)))
    assert action.payload["boxes"] == [list(LEFT)]


async def test_dogs_and_doubtful_people_do_not_count() -> None:
    dog = people(LEFT)
    dog.classes.flags.writeable = True
    dog.classes[0] = 1
    assert not await fired(guard(), reading(0.0, det=dog))
    assert not await fired(guard(min_score=0.95), reading(0.0, det=people(LEFT)))


async def test_the_feet_decide_unless_told_otherwise() -> None:
    upper_half = [[0, 0], [100, 0], [100, 50], [0, 50]]
    tall = people((10.0, 0.0, 20.0, 90.0))
    assert not await fired(guard(polygon=upper_half), reading(0.0, det=tall))
    assert await fired(guard(polygon=upper_half, anchor="center"), reading(0.0, det=tall))


async def test_relative_corners_use_the_pictures_size() -> None:
    left_half = [[0, 0], [0.5, 0], [0.5, 1], [0, 1]]
    frame = np.zeros((100, 100, 3), np.uint8)
    tensors = Tensors({}, ImageTransform(original_size=(100, 100), model_size=(10, 10)))
    for message in (
        reading(0.0, frame, det=people(LEFT, RIGHT)),
        reading(0.0, b"jpeg", pre=tensors, det=people(LEFT, RIGHT)),
    ):
        [action] = await fired(guard(zone=left_half), message)
        assert action.payload["count"] == 1
    with pytest.raises(InvalidInput, match="picture's size"):
        await guard(zone=left_half).process(reading(0.0, b"jpeg", det=people(LEFT)))


async def test_fires_once_per_track_until_it_was_away() -> None:
    agent = guard(cooldown_s=10)
    [action] = await fired(agent, reading(0.0, det=people(LEFT, tracks=[7])))
    assert action.payload["tracks"] == [7]
    assert not await fired(agent, reading(1.0, det=people(LEFT, tracks=[7])))
    [action] = await fired(agent, reading(2.0, det=people(LEFT, RIGHT, tracks=[7, 8])))
    assert action.payload["tracks"] == [8]
    assert not await fired(agent, reading(9.0, det=people(LEFT, tracks=[7])))
    assert not await fired(agent, reading(18.0, det=people(LEFT, tracks=[7])))
    [action] = await fired(agent, reading(28.0, det=people(LEFT, tracks=[7])))
    assert action.payload["tracks"] == [7]


async def test_fires_once_per_presence_without_a_tracker() -> None:
    agent = guard(cooldown_s=10)
    marks = []
    for at, there in [(0, True), (5, True), (8, False), (12, True), (30, False), (31, True)]:
        detections = people(LEFT) if there else people()
        marks.append(bool(await fired(agent, reading(float(at), det=detections))))
    assert marks == [True, False, False, False, False, True]


async def test_without_cooldown_every_return_fires() -> None:
    agent = guard(cooldown_s=0)
    pattern = []
    for at, there in enumerate([True, True, False, True]):
        detections = people(LEFT, tracks=[1]) if there else people(tracks=[])
        pattern.append(bool(await fired(agent, reading(float(at), det=detections))))
    assert pattern == [True, False, False, True]


async def test_person_in_zone_needs_detections() -> None:
    with pytest.raises(InvalidInput, match="needs detections, not dict"):
        await guard().process(reading(0.0, det={}))


def test_points_inside_a_concave_polygon() -> None:
    corners = np.asarray([[0, 0], [10, 0], [10, 10], [5, 3], [0, 10]], dtype=np.float64)
    points = np.asarray([[1, 1], [5, 2], [5, 6], [9, 7], [11, 1], [-1, 5]], dtype=np.float64)
    assert points_inside(points, corners).tolist() == [True, True, False, True, False, False]


@pytest.mark.parametrize("zone", [[[0, 0], [1, 1]], [[0, 0], [1, float("nan")], [1, 0]]])
def test_bad_zones_are_refused(zone: object) -> None:
    with pytest.raises(ValidationError):
        PersonInZoneConfig.model_validate({"zone": zone, "dispatcher": "log"})


def test_agents_with_memory_are_registered_as_stateful() -> None:
    assert NODES.get("threshold").stateful
    assert NODES.get("person_in_zone").stateful
