import json
from pathlib import Path

import numpy as np
import pytest

from app.nodes.agents.snapshot import SnapshotArchive, SnapshotArchiveConfig
from app.types import Action, ClassScore, Detections, Message
from tests.fakes.context import context

JPEG = b"\xff\xd8\xff\xe0 picture"


async def archive(folder: Path, keep: int = 1000, node: str = "archive") -> SnapshotArchive:
    config = SnapshotArchiveConfig(directory=str(folder), max_snapshots=keep, dispatcher="log")
    agent = SnapshotArchive(config, context(node))
    await agent.open()
    return agent


def frame(at: float, content: object = JPEG, **results: object) -> Message:
    return Message(f"m{at}", "cam", content, captured_at=at, results=results)


async def test_keeps_the_frame_and_its_results(tmp_path: Path) -> None:
    agent = await archive(tmp_path)
    detections = Detections(
        boxes=np.asarray([[1, 2, 3, 4]], np.float32),
        scores=np.asarray([np.nan], np.float32),
        classes=np.asarray([0], np.int32),
        labels=("person",),
    )
    done = await agent.process(frame(12.5, det=detections, top=[ClassScore("a", 0.5)]))
    assert done is not None
    actions = done.results["archive"]
    assert isinstance(actions, list)
    action: Action = actions[0]
    name = str(action.payload["snapshot"])
    assert (tmp_path / f"{name}.jpg").read_bytes() == JPEG
    document = json.loads((tmp_path / f"{name}.json").read_text())
    assert document["source"] == "cam"
    assert document["results"] == {
        "det": [{"label": "person", "score": None, "box": [1.0, 2.0, 3.0, 4.0]}],
        "top": [{"label": "a", "score": 0.5}],
    }


async def test_arrays_are_encoded_and_readings_kept_as_json(tmp_path: Path) -> None:
    agent = await archive(tmp_path)
    await agent.process(frame(1.0, np.zeros((8, 8, 3), np.uint8)))
    await agent.process(frame(2.0, {"co2_ppm": 900}))
    [picture] = tmp_path.rglob("*.jpg")
    assert picture.read_bytes().startswith(b"\xff\xd8\xff")
    documents = [json.loads(path.read_text()) for path in sorted(tmp_path.rglob("*.json"))]
    assert [document["frame"] for document in documents] == [picture.name, None]
    assert documents[1]["content"] == {"co2_ppm": 900}


async def test_the_oldest_go_when_there_are_too_many_also_after_a_restart(tmp_path: Path) -> None:
    agent = await archive(tmp_path, keep=3)
    for at in range(5):
        await agent.process(frame(float(at)))
    agent = await archive(tmp_path, keep=3)
    await agent.process(frame(9.0))
    kept = sorted(path.name.split("-")[0] for path in tmp_path.rglob("*.json"))
    assert [int(name) for name in kept] == [3000, 4000, 9000]
    assert len(list(tmp_path.rglob("*.jpg"))) == 3


async def test_a_redelivered_message_is_kept_once(tmp_path: Path) -> None:
    agent = await archive(tmp_path)
    await agent.process(frame(1.0))
    await agent.process(frame(1.0))
    assert len(list(tmp_path.rglob("*.json"))) == 1
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize("node", ["../../etc", "..", "a/b\0c", "ä" * 300])
async def test_no_name_leaves_the_folder(tmp_path: Path, node: str) -> None:
    folder = tmp_path / "snapshots"
    agent = await archive(folder, node=node)
    await agent.process(frame(1.0))
    assert [path.name for path in tmp_path.iterdir()] == ["snapshots"]
    assert len(list(folder.iterdir())) == 1
