"""Traces: which requests have one, and what is in it."""

import asyncio
import itertools
import logging
from typing import Any

import numpy as np
import orjson
import pytest

from app.api.dataplane import DataPlane
from app.errors import InvalidInput
from app.telemetry.tracing import Tracer, TraceSettings, checked_trace_settings
from app.types import InferenceRequest
from models.serving.version import ModelVersion
from tests.fakes.models import FakeHandle, FakeModel

REQUEST = InferenceRequest("fake", {"x": np.ones((1, 3), np.float32)}, id="a1")


class Lines:
    """A tracer whose lines are kept, and whose clock counts how often it was asked."""

    def __init__(self, **settings: str) -> None:
        self.written: list[str] = []
        self.tracer = Tracer("fake", self.written.append, itertools.count().__next__)
        self.change(trace_level="TIMESTAMPS", trace_rate="1", **settings)

    def change(self, **settings: str | None) -> None:
        self.tracer.change(checked_trace_settings(settings))

    def ask(self, times: int) -> int:
        """How many of so many requests are traced."""
        traced = 0
        for _ in range(times):
            trace = self.tracer.begin(REQUEST, "1") if self.tracer.on else None
            if trace is not None:
                traced += 1
                self.tracer.end(trace, succeeded=True)
        return traced

    def documents(self) -> list[dict[str, Any]]:
        return [orjson.loads(line.removeprefix("trace ")) for line in self.written]


def test_nothing_is_traced_unless_it_is_asked_for() -> None:
    assert Tracer("fake").on is False


def test_a_trace_is_one_line() -> None:
    lines = Lines()
    assert lines.ask(1) == 1
    assert lines.documents() == [
        {
            "id": 1,
            "model_name": "fake",
            "model_version": "1",
            "request_id": "a1",
            "succeeded": True,
            "timestamps": [{"name": "REQUEST_START", "ns": 0}, {"name": "REQUEST_END", "ns": 1}],
        }
    ]


def test_one_of_so_many_is_traced_and_only_so_many() -> None:
    lines = Lines(trace_count="2")
    lines.change(trace_rate="10")
    assert (lines.ask(9), lines.ask(1), lines.tracer.settings()["trace_count"]) == (0, 1, "1")
    assert lines.ask(100) == 1
    assert lines.tracer.on is False
    assert lines.tracer.settings()["trace_count"] == "0"
    lines.change(trace_count="3")
    assert lines.ask(100) == 3


def test_so_many_are_written_at_a_time_and_none_is_lost() -> None:
    lines = Lines(log_frequency="3")
    lines.ask(2)
    assert lines.written == []
    lines.ask(1)
    assert len(lines.written) == 3
    lines.ask(1)
    lines.change(trace_level="OFF")
    assert len(lines.written) == 4


def test_the_models_own_settings_go_before_those_of_the_server() -> None:
    tracer = Tracer("fake")
    tracer.change({}, {"trace_level": ["TIMESTAMPS"], "trace_rate": "7"})
    assert tracer.on
    tracer.change({"trace_level": ["OFF"]})
    assert not tracer.on
    assert tracer.settings()["trace_rate"] == "7"
    tracer.change({"trace_level": None})
    assert tracer.on
    tracer.change({}, {})
    assert not tracer.on


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        ({"trace_rate": 5}, {"trace_rate": "5"}),
        ({"trace_rate": "005"}, {"trace_rate": "5"}),
        ({"trace_level": "OFF"}, {"trace_level": ["OFF"]}),
        ({"trace_level": []}, {"trace_level": None}),
        ({"trace_file": ""}, {"trace_file": None}),
    ],
)
def test_settings_are_kept_in_one_form(change: TraceSettings, kept: TraceSettings) -> None:
    assert checked_trace_settings(change) == kept


async def test_the_way_through_a_model_has_its_timestamps() -> None:
    model = FakeModel()
    model.load()
    version = ModelVersion("1", model, queue_size=8)
    lines = Lines()
    traces = [lines.tracer.begin(REQUEST, "1") for _ in range(2)]
    requests = [InferenceRequest("fake", {"x": np.ones((1, 3), np.float32)}) for _ in traces]
    await asyncio.gather(*map(version.infer, requests, traces))
    await version.close()
    names = [
        *("REQUEST_START", "QUEUE_START", "COMPUTE_START", "COMPUTE_INPUT_END"),
        *("COMPUTE_OUTPUT_START", "COMPUTE_END"),
    ]
    for trace in traces:
        assert trace is not None
        assert [name for name, _ in trace.marks] == names
        assert [ns for _, ns in trace.marks] == sorted(ns for _, ns in trace.marks)


async def test_a_request_that_fails_is_traced_as_well() -> None:
    model = FakeModel()
    model.load()
    version = ModelVersion("1", model, queue_size=8)
    lines = Lines()
    trace = lines.tracer.begin(REQUEST, "1")
    wrong = InferenceRequest("fake", {"x": np.ones((1, 4), np.float32)})
    with pytest.raises(InvalidInput):
        await version.infer(wrong, trace)
    await version.close()
    assert trace is not None
    lines.tracer.end(trace, succeeded=False)
    assert lines.documents()[0]["succeeded"] is False


class Told(FakeHandle):
    """Keeps what the server's settings are said to be."""

    for_all: TraceSettings | None = None

    async def trace_settings(
        self, own: TraceSettings, for_all: TraceSettings | None = None
    ) -> TraceSettings:
        self.for_all = for_all
        return own


async def test_settings_of_the_server_reach_models_that_come_later() -> None:
    early, late = Told(), Told()
    dataplane = DataPlane({"early": early})
    await dataplane.trace_settings(None, {"trace_rate": "2"})
    dataplane.add("late", late)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert early.for_all == late.for_all == {"trace_rate": "2"}


def test_a_request_id_cannot_forge_a_line(caplog: pytest.LogCaptureFixture) -> None:
    tracer = Tracer("fake")
    tracer.change({"trace_level": ["TIMESTAMPS"], "trace_rate": "1"})
    logger = logging.getLogger("app.telemetry.tracing")
    logger.addHandler(caplog.handler)
    logger.setLevel(logging.INFO)
    trace = tracer.begin(InferenceRequest("fake", {}, id="x\n2026 ERROR forged"), "1")
    assert trace is not None
    tracer.end(trace, succeeded=True)
    logger.removeHandler(caplog.handler)
    assert "\n" not in caplog.records[-1].getMessage()
