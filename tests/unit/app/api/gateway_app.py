"""A gateway with scripted pipelines and the statuses of two processes, for tests."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import httpx

from app.api.dataplane import DataPlane
from app.api.http.gateway import build_gateway_app
from app.interfaces import ModelHandle
from app.types import JsonValue
from tests.fakes.http import client_of
from tests.fakes.models import FakeHandle
from tests.fakes.nodes import ManualClock
from tests.fakes.pipelines import PipelineBench

PIPELINES = """
pipelines:
  - {id: echo, nodes: [{id: a, type: scripted}]}
  - {id: size, nodes: [{id: image, type: image.decode}, {id: a, type: scripted, params: SIZE}],
     edges: [{from: image, to: a}]}
  - {id: find, nodes: [{id: image, type: image.decode}, {id: dog, type: scripted.box}],
     edges: [{from: image, to: dog}]}
  - {id: infer, model: fake}
  - {id: lacks, model: absent}
  - {id: fails, nodes: [{id: a, type: scripted, params: {fails: model down}}]}
  - {id: filters, nodes: [{id: a, type: scripted, params: {filters: true}}]}
  - {id: late, model: fake, deadline_ms: 1}
  - {id: cheaper, model: fake, deadline_ms: 1, fallback: guess}
  - {id: guess, nodes: [{id: b, type: scripted, params: {result: cheap}}]}
""".replace("SIZE", "{result: seen}")


STATUSES: list[dict[str, JsonValue]] = [
    {
        "application": "gateway",
        "replica": "r1",
        "models": {"digits": {"state": "ready", "reason": "", "succeeded": 3, "waiting": 2}},
        "pipelines": {
            "air": {"state": "ready", "processed": 5, "seconds": 1.5},
            "door": {"state": "unavailable", "reason": "model 'x' is not served here"},
        },
        "connectors": {},
    },
    {
        "application": "streams",
        "replica": "r2",
        "models": {"digits": {"state": "failed", "reason": "why"}},
        "pipelines": {},
        "connectors": {
            "hall": {
                "state": "running",
                "counts": {
                    "total": {},
                    "sources": {
                        'a"\n\\': {
                            "captured": 9,
                            "processed": 4,
                            "downgraded": 1,
                            "dropped": {"late": 2, "invalid": 1},
                            "in_flight": 1,
                        }
                    },
                },
            },
            "yard": {"state": "backing_off", "counts": {"sources": {}}},
        },
    },
]


async def statuses() -> Sequence[Mapping[str, JsonValue]]:
    return STATUSES


def client_for(
    models: Mapping[str, ModelHandle] | None = None, clock: ManualClock | None = None
) -> httpx.AsyncClient:
    """A gateway with the pipelines above; their nodes are not opened."""
    known = {"fake": FakeHandle()} if models is None else models
    bench = PipelineBench(models={"fake": FakeHandle(), **known}, clock=clock or ManualClock())
    return client_of(build_gateway_app(DataPlane(known), bench.host(PIPELINES), statuses, 5.0))


@asynccontextmanager
async def opened() -> AsyncIterator[httpx.AsyncClient]:
    """A gateway with the pipelines above, opened, and the model `fake`."""
    models = {"fake": FakeHandle()}
    host = PipelineBench(models=models, clock=ManualClock()).host(PIPELINES)
    await host.open()
    async with client_of(build_gateway_app(DataPlane(models), host, statuses, 5.0)) as made:
        yield made
    await host.close()
