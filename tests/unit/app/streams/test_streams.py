"""The connectors of one process, from a recording to the counts."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import orjson
import pytest

from app.streams.streams import Streams
from tests.fakes.nodes import ManualClock
from tests.fakes.pipelines import PipelineBench, config_of

FILE = """
connectors:
  - {id: tape, type: file, path: TAPE, pipeline: hot, speed: 0}
  - {id: lost, type: file, path: absent.jsonl, pipeline: hot, speed: 0}
pipelines:
  - {id: hot, nodes: [{id: a, type: scripted, params: {filters: FILTERS}}]}
"""


@pytest.fixture
def tape(tmp_path: Path) -> Path:
    path = tmp_path / "tape.jsonl"
    lines = [{"t": n, "source": f"room{n % 2}", "payload": {"heat": n}} for n in range(5)]
    path.write_bytes(b"\n".join([*map(orjson.dumps, lines), b"no JSON"]))
    return path


def total_of(streams: Streams, name: str) -> Mapping[str, object]:
    status = cast(Mapping[str, Mapping[str, Mapping[str, Mapping[str, object]]]], streams.status())
    return status[name]["counts"]["total"]


def state_of(streams: Streams, name: str) -> object:
    return cast(Mapping[str, Mapping[str, object]], streams.status())[name]["state"]


async def played(text: str) -> tuple[Streams, PipelineBench, Mapping[str, object]]:
    """Streams that were run to the end of their sources, and what their pipeline counted."""
    clock = ManualClock()
    bench = PipelineBench(clock=clock)
    host = bench.host(text)
    await host.open()
    streams = Streams(config_of(text).connectors, host, clock)
    streams.start()
    await asyncio.wait(streams._tasks, timeout=5.0)
    return streams, bench, host.get("hot").status()


async def test_every_message_is_counted_at_both_ends(tape: Path) -> None:
    text = FILE.replace("TAPE", str(tape)).replace("FILTERS", "false")
    streams, _, counted = await played(text)
    total = total_of(streams, "tape")
    assert (total["captured"], total["processed"], total["in_flight"]) == (6, 5, 0)
    assert total["dropped"] == {"invalid": 1}
    assert (counted["processed"], counted["dropped"]) == (5, 1)
    assert state_of(streams, "tape") == "finished"
    await streams.stop()


async def test_the_reason_of_a_drop_is_the_pipelines(tape: Path) -> None:
    text = FILE.replace("TAPE", str(tape)).replace("FILTERS", "true")
    streams, _, counted = await played(text)
    assert total_of(streams, "tape")["dropped"] == {"filtered": 5, "invalid": 1}
    assert counted["dropped"] == 6
    await streams.stop()


async def test_a_source_that_is_rejected_does_not_stop_the_others(tape: Path) -> None:
    text = FILE.replace("TAPE", str(tape)).replace("FILTERS", "false")
    streams, _, _ = await played(text)
    assert (state_of(streams, "lost"), state_of(streams, "tape")) == ("rejected", "finished")
    await streams.stop()
