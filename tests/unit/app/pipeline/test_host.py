"""The pipelines of one process."""

import logging

import pytest

from app.errors import ConfigurationError, PipelineNotFound
from app.types import Message
from tests.fakes.models import FakeHandle
from tests.fakes.pipelines import PipelineBench

TWO = """
pipelines:
  - {id: works, nodes: [{id: a, type: scripted}]}
  - {id: lacks, model: absent}
"""


def to(pipeline: str) -> Message:
    return Message("7", "cam", "content", captured_at=0.0, pipeline=pipeline)


async def test_messages_go_to_the_pipeline_that_they_name() -> None:
    host = PipelineBench().host(TWO)
    await host.open()
    outcome = await host.process(to("works"))
    assert outcome.kind == "processed"
    for name in ("lacks", "unknown", ""):
        outcome = await host.process(to(name))
        assert (outcome.kind, outcome.reason) == ("dropped", "no_pipeline")


async def test_a_pipeline_that_cannot_run_here_does_not_stop_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        host = PipelineBench().host(TWO)
    reason = "model 'absent' is not served here"
    assert [record.getMessage() for record in caplog.records] == [
        f"pipeline 'lacks' cannot run here: {reason}"
    ]
    assert host.status()["lacks"] == {"state": "unavailable", "reason": reason}
    with pytest.raises(PipelineNotFound, match=f"pipeline 'lacks' cannot run here: {reason}"):
        host.get("lacks")
    with pytest.raises(PipelineNotFound, match="there is no pipeline 'unknown'"):
        host.get("unknown")


THREE = """
pipelines:
  - id: stuck
    nodes:
      - {id: first, type: scripted}
      - {id: second, type: scripted, params: {cannot_be_opened: true}}
    edges: [{from: first, to: second}]
  - {id: leans, nodes: [{id: a, type: scripted}], fallback: stuck}
  - {id: works, nodes: [{id: b, type: scripted}]}
"""


async def test_a_pipeline_that_cannot_be_opened_does_not_stop_the_others(
    journal: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    host = PipelineBench().host(THREE)
    await host.open()
    assert journal == ["open first", "close first", "open b"]
    assert (await host.process(to("works"))).kind == "processed"
    assert (await host.process(to("stuck"))).reason == "no_pipeline"
    reason = "opening it raised OSError"
    assert host.status()["stuck"] == {"state": "unavailable", "reason": reason}
    with pytest.raises(
        PipelineNotFound, match=f"'leans' cannot run here: pipeline 'stuck'.*{reason}"
    ):
        host.get("leans")
    assert "no device /dev/video7" in caplog.text
    journal.clear()
    await host.close()
    assert journal == ["close b"]


async def test_the_status_counts(journal: list[str]) -> None:
    host = PipelineBench().host(TWO)
    await host.open()
    await host.process(to("works"))
    status = host.status()["works"]
    assert isinstance(status, dict)
    assert (status["state"], status["processed"], status["dropped"]) == ("ready", 1, 0)


def test_only_the_named_pipelines_and_their_fallbacks_are_built() -> None:
    text = """
pipelines:
  - {id: a, model: fake, fallback: b}
  - {id: b, nodes: [{id: n, type: scripted}]}
  - {id: c, nodes: [{id: n, type: scripted}]}
"""
    bench = PipelineBench(models={"fake": FakeHandle()})
    assert list(bench.host(text, ["a"]).status()) == ["b", "a"]
    assert list(bench.host(text, ["c", "c"]).status()) == ["c"]
    assert list(bench.host(text, []).status()) == []


def test_a_pipeline_whose_fallback_cannot_run_here_says_so() -> None:
    text = """
pipelines:
  - {id: a, nodes: [{id: n, type: scripted}], fallback: b}
  - {id: b, model: absent}
"""
    host = PipelineBench().host(text)
    assert host.unavailable["a"].startswith("pipeline 'b' cannot run here: model 'absent'")


def test_a_name_that_no_pipeline_has_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="there is no pipeline 'typo'"):
        PipelineBench().host(TWO, ["works", "typo"])


def test_a_bug_in_a_node_is_not_taken_for_a_missing_pipeline() -> None:
    text = "pipelines: [{id: p, nodes: [{id: a, type: scripted, params: {cannot_be_built: true}}]}]"
    with pytest.raises(KeyError, match="a bug in the node"):
        PipelineBench().host(text)


def test_a_node_with_inputs_that_it_does_not_take_cannot_run() -> None:
    text = """
pipelines:
  - id: p
    nodes: [{id: a, type: scripted}, {id: b, type: scripted}, {id: image, type: image.decode}]
    edges: [{from: a, to: image}, {from: b, to: image}]
"""
    host = PipelineBench().host(text)
    assert host.unavailable["p"] == "node 'image': image.decode does not take 2 inputs (a, b)"


async def test_all_are_opened_and_closed(journal: list[str]) -> None:
    host = PipelineBench().host(TWO)
    await host.open()
    await host.close()
    assert journal == ["open a", "close a"]
