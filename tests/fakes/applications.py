"""Models in processes of their own, without processes."""

from app.errors import ModelNotReady
from app.interfaces import ModelHandle
from app.types import ModelState
from models.repository.loaded_file import Override
from models.repository.repository import ModelRepository
from models.serving.service import LocalModelService


class FakeApplications:
    """Gives each deployed model a service of its own, and keeps what it was told.

    `away` are models whose process does not answer. One that is being deleted has none to ask.
    """

    def __init__(self, repository: ModelRepository, *declared: str) -> None:
        self.services = {name: LocalModelService(repository, name) for name in declared}
        self.declared = declared
        self.told: list[tuple[str, str]] = []
        self.away: set[str] = set()
        self._repository = repository

    async def deploy(self, name: str, override: Override) -> ModelHandle:
        assert name not in self.services, "deployed twice"
        self.told.append(("deploy", name))
        self.services[name] = LocalModelService(self._repository, name)
        await self.services[name].load(override or None)
        return self.services[name]

    async def delete(self, name: str) -> None:
        self.told.append(("delete", name))
        await self.services.pop(name).close()

    async def running(self) -> frozenset[str]:
        return frozenset(self.services.keys() - set(self.declared))

    def handle(self, name: str) -> ModelHandle:
        return self.services[name]

    async def states(self, name: str) -> tuple[ModelState, ...]:
        here = name in self.services and name not in self.away
        return self.services[name].states() if here else ()

    async def reload(self, name: str, override: Override | None) -> None:
        self.told.append(("reload", name))
        if name in self.away:
            raise ModelNotReady(f"application {name!r} is away")
        if name in self.services:
            await self.services[name].reload(override)

    async def unload(self, name: str) -> None:
        self.told.append(("unload", name))
        if name in self.services:
            await self.services[name].close()
