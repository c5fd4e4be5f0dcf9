"""The application of real, tiny models, for tests."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from app.api.dataplane import DataPlane
from app.api.http.rest import build_model_app
from app.interfaces import ModelHandle
from models.repository.repository import ModelRepository
from models.serving.service import LocalModelService
from tests.fakes.http import client_of

INFER = "/v2/models/identity/infer"


def client_for(timeout_s: float = 5.0, **models: ModelHandle) -> httpx.AsyncClient:
    return client_of(build_model_app(DataPlane(models), timeout_s))


@asynccontextmanager
async def serving(repository: ModelRepository, *names: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of real models, as they are after an attempt to load them."""
    services = {name: LocalModelService(repository, name) for name in names}
    for service in services.values():
        await service.load()
    async with client_of(build_model_app(DataPlane(services), 5.0)) as made:
        yield made
    for service in services.values():
        await service.close()


def tensor(**changes: object) -> dict[str, object]:
    good: dict[str, object] = {"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}
    return good | changes


def body(**changes: object) -> dict[str, object]:
    return {"inputs": [tensor(**changes)]}
