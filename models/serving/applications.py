"""What a ModelController needs of others: models here and elsewhere, and those who must hear."""

from typing import Protocol

from app.interfaces import ModelHandle
from app.types import ModelState
from models.repository.loaded_file import Override


class Service(ModelHandle, Protocol):
    """A model in this process."""

    def states(self) -> tuple[ModelState, ...]: ...

    async def reload(self, override: Override | None = None) -> None: ...

    async def close(self) -> None: ...


class Applications(Protocol):
    """The models that live in other processes, and the other gateways."""

    async def deploy(self, name: str, override: Override) -> ModelHandle:
        """Give the model a process; returns once it has loaded or failed to."""
        ...

    async def delete(self, name: str) -> None:
        """End the process of a deployed model, after what it runs."""
        ...

    async def running(self) -> frozenset[str]:
        """The models that were deployed, by whichever gateway, and not deleted.

        Raises ModelNotReady while that cannot be known.
        """
        ...

    def handle(self, name: str) -> ModelHandle: ...

    async def states(self, name: str) -> tuple[ModelState, ...]:
        """What its process says; nothing while there is none."""
        ...

    async def reload(self, name: str, override: Override | None) -> None:
        """Tell every process that holds it, and the other gateways: see `hear_load`.

        Raises as the service in the process does.
        """
        ...

    async def unload(self, name: str) -> None:
        """As `reload`: see `hear_unload`."""
        ...


class Known(Protocol):
    """Those who must hear of models that come and go."""

    def add(self, name: str, handle: ModelHandle) -> None: ...

    def remove(self, name: str) -> None: ...
