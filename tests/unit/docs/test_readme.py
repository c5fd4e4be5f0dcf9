"""The examples of README.md do what the text around them says."""

import re

import pytest

import app.nodes.flow.function
import app.registry
from app.interfaces import Node, Source
from app.registry import Registry
from app.types import Message
from tests.fakes.context import StillClock, context
from tests.paths import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def example(name: str) -> str:
    """The Python block that holds `name`."""
    blocks: list[str] = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    [found] = [block for block in blocks if name in block]
    return found


async def test_the_node_works(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes: Registry[Node] = Registry("node")
    monkeypatch.setattr(app.nodes.flow.function, "NODES", nodes)
    exec(example("env.dew_point"), {"__name__": "example"})  # noqa: S102 - the example
    registered = nodes.get("env.dew_point")
    node = registered.factory(registered.config(), context("dew"))
    done = await node.process(Message("1", "s", {"temperature": 24.0, "humidity": 70}, 0.0))
    assert done is not None
    assert done.results["dew"] == {"dew_point": 18.19}
    assert 'answers `{"dew_point":18.19}`' in README


async def test_the_connector_works(monkeypatch: pytest.MonkeyPatch) -> None:
    sources: Registry[Source] = Registry("connector")
    monkeypatch.setattr(app.registry, "SOURCES", sources)
    exec(example("host_load"), {"__name__": "example"})  # noqa: S102 - the example
    registered = sources.get("host_load")
    config = registered.config.model_validate(
        {"type": "host_load", "id": "this-machine", "pipeline": "load", "period_s": 2}
    )
    clock = StillClock()
    source = registered.factory(config, clock)
    await source.connect()
    message, ack = await source.read()
    await ack(True)
    await source.close()
    assert clock.slept == [2]
    assert (message.source, message.pipeline) == ("this-machine", "load")
    assert isinstance(message.content, dict)
    assert set(message.content) == {"cpu_percent", "memory_percent"}


def test_links_lead_somewhere() -> None:
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    for page in pages:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
