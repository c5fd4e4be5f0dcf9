"""A gateway with one model, control of others, and pipelines of pictures, for tests."""

from collections.abc import Mapping, Sequence

from starlette.types import ASGIApp

from app.api.dataplane import DataPlane
from app.api.http.gateway import build_gateway_app
from app.config.limits import Limits
from app.types import JsonValue
from tests.fakes.control import FakeControl
from tests.fakes.models import FakeHandle
from tests.fakes.nodes import ManualClock
from tests.fakes.pipelines import PipelineBench

PIPELINES = """
pipelines:
  - {id: echo, nodes: [{id: a, type: scripted}]}
  - {id: size, nodes: [{id: image, type: image.decode}, {id: a, type: scripted, params: SIZE}],
     edges: [{from: image, to: a}]}
  - {id: document, nodes: [{id: a, type: scripted, params: {model: fake}}]}
  - {id: look, nodes: [{id: image, type: image.decode}, {id: a, type: scripted, params: SEEN}],
     edges: [{from: image, to: a}]}
""".replace("SIZE", "{result: seen}").replace("SEEN", "{result: looked, model: fake}")


async def statuses() -> Sequence[Mapping[str, JsonValue]]:
    return []


async def gateway(
    limits: Limits, control: FakeControl | None, state: str = "ready", **others: FakeHandle
) -> ASGIApp:
    handle = FakeHandle(state=state)
    host = PipelineBench(models={"fake": handle}, clock=ManualClock()).host(PIPELINES)
    await host.open()
    dataplane = DataPlane({"fake": handle, **others}, control)
    return build_gateway_app(dataplane, host, statuses, 5.0, limits)
