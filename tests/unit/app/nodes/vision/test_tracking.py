import numpy as np
import pytest

from app.errors import InvalidInput
from app.interfaces import Node
from app.registry import NODES
from app.types import Detections
from tests.fakes.nodes import NodeBench, message

Box = tuple[float, float, float, float]
FRAME = 1 / 25


def seen(*boxes: Box, classes: tuple[int, ...] | None = None) -> Detections:
    count = len(boxes)
    return Detections(
        boxes=np.array(boxes, np.float32).reshape(count, 4),
        scores=np.linspace(0.9, 0.8, count).astype(np.float32),
        classes=np.array(classes or (0,) * count, np.int32),
    )


def person(x: float, y: float = 100) -> Box:
    return (x, y, x + 40, y + 100)


async def track(
    bench: NodeBench, node: Node, found: Detections, at: float, source: str = "camera"
) -> list[int]:
    """The track id of each reported detection."""
    bench.clock.now = max(bench.clock.now, at)
    result = await bench.run(node, message(source=source, at=at, seen=found))
    assert isinstance(result, Detections)
    assert result.track_ids is not None
    assert len(result.track_ids) == len(result.boxes) == len(result.scores) == len(result.classes)
    ids: list[int] = result.track_ids.tolist()
    return ids


def tracker(bench: NodeBench, **params: object) -> Node:
    return bench.node("tracker", "seen", **{"min_hits": 1, **params})


async def test_two_who_pass_each_other_keep_their_identities() -> None:
    bench = NodeBench()
    node = tracker(bench)
    for frame in range(50):
        left, right = person(frame * 8), person(400 - frame * 8, 130)
        # The order of the detections changes; the identities must not follow it.
        pair = (left, right) if frame % 2 else (right, left)
        ids = await track(bench, node, seen(*pair), frame * FRAME)
        if frame == 0:
            first = ids
        assert sorted(ids) == sorted(first)
        by_position = ids if frame % 2 else ids[::-1]
        assert by_position == first[::-1]


async def test_a_fast_object_is_followed_by_its_expected_position() -> None:
    bench = NodeBench()
    node = tracker(bench)
    ids = set()
    for frame in range(40):
        # It gains speed until it moves 38 of its 40 pixels a frame: hardly any overlap is left
        # between one frame and the next.
        x = min(frame, 19) ** 2 + max(0, frame - 19) * 38
        ids.update(await track(bench, node, seen(person(x)), frame * FRAME))
    assert ids == {1}


async def test_a_gap_of_frames_is_bridged_by_time_not_by_count() -> None:
    bench = NodeBench()
    node = tracker(bench, max_age=1.0)
    for frame in range(20):
        await track(bench, node, seen(person(frame * 8)), frame * FRAME)
    # Ten frames were dropped on the way: the next detection is where eleven frames lead.
    assert await track(bench, node, seen(person(30 * 8)), 30 * FRAME) == [1]


async def test_a_track_unseen_for_too_long_is_forgotten() -> None:
    bench = NodeBench()
    node = tracker(bench, max_age=1.0)
    assert await track(bench, node, seen(person(10)), 0.0) == [1]
    assert await track(bench, node, seen(), 0.9) == []
    assert await track(bench, node, seen(person(10)), 0.95) == [1]
    assert await track(bench, node, seen(person(10)), 2.0) == [2]


async def test_only_confirmed_tracks_are_reported() -> None:
    bench = NodeBench()
    node = tracker(bench, min_hits=3)
    reported = [
        await track(bench, node, seen(person(10), person(300)), frame * FRAME) for frame in range(4)
    ]
    assert reported == [[], [], [1, 2], [1, 2]]
    newcomer = seen(person(10), person(500))
    assert await track(bench, node, newcomer, 4 * FRAME) == [1]


async def test_classes_do_not_mix() -> None:
    bench = NodeBench()
    node = tracker(bench)
    assert await track(bench, node, seen(person(10), classes=(0,)), 0.0) == [1]
    assert await track(bench, node, seen(person(10), classes=(2,)), FRAME) == [2]


async def test_the_better_overlap_wins_a_contested_track() -> None:
    bench = NodeBench()
    node = tracker(bench)
    await track(bench, node, seen(person(100)), 0.0)
    assert await track(bench, node, seen(person(115), person(101)), FRAME) == [2, 1]


async def test_sources_are_apart_and_ids_never_shared() -> None:
    bench = NodeBench()
    node = tracker(bench)
    assert await track(bench, node, seen(person(10)), 0.0, "north") == [1]
    assert await track(bench, node, seen(person(10)), 0.0, "south") == [2]
    assert await track(bench, node, seen(person(10)), FRAME, "north") == [1]


async def test_old_and_surplus_sources_are_forgotten() -> None:
    bench = NodeBench()
    node = tracker(bench, max_age=1000, forget_after=60, max_sources=2)
    for source in ("a", "b", "c"):
        await track(bench, node, seen(person(10)), 0.0, source)
    assert await track(bench, node, seen(person(10)), 1.0, "b") == [2]
    assert await track(bench, node, seen(person(10)), 1.0, "a") == [4]  # pushed out by c
    assert await track(bench, node, seen(person(10)), 62.0, "b") == [5]  # forgotten by time


async def test_frames_of_the_same_or_an_earlier_time_do_no_harm() -> None:
    bench = NodeBench()
    node = tracker(bench)
    for at in (5.0, 5.0, 4.0, 5.0, 5.04):
        assert await track(bench, node, seen(person(10)), at) == [1]


async def test_empty_frames_and_first_frames_without_objects() -> None:
    bench = NodeBench()
    node = tracker(bench)
    assert await track(bench, node, seen(), 0.0) == []
    assert await track(bench, node, seen(person(3)), FRAME) == [1]


async def test_other_values_are_refused() -> None:
    bench = NodeBench()
    with pytest.raises(InvalidInput, match="detections"):
        await tracker(bench).process(message(seen="nothing"))


def test_it_says_that_it_has_state() -> None:
    assert NODES.get("track.iou").stateful
