"""One model as its own Serve application."""

from collections.abc import Mapping, Sequence
from typing import cast

from ray import serve
from ray.serve import Application
from starlette.types import ASGIApp

from app.api.dataplane import DataPlane
from app.api.http.direct_server import direct_servers
from app.api.http.rest import build_model_app
from app.remote.shared_calls import Answer, Asked, infer_each
from app.telemetry.logging import configure_logging
from app.telemetry.tracing import TraceSettings
from app.types import (
    JsonValue,
    ModelMetadata,
    ModelState,
    ModelStatistics,
)
from deployments.args import ModelArgs, resolved, shared_memory
from deployments.fast_route import answer_in_front, answers_in_front
from deployments.handles import MODEL_DEPLOYMENT
from deployments.internal_port import listen_on_node_address
from deployments.local_socket import LocalSocket, SocketAddress
from deployments.options import deploy
from deployments.repositories import open_repository
from deployments.status import process_status
from models.repository.loaded_file import LoadedFile
from models.serving.service import LocalModelService


class ModelReplica:
    """Answers HTTP clients and other processes alike. A model that fails to load stays visible,
    and says why, instead of being restarted in a loop."""

    async def __init__(self, args: ModelArgs) -> None:  # type: ignore[misc]  # Serve awaits it
        listen_on_node_address()
        configure_logging()
        repository = open_repository(args)
        self._service = LocalModelService(repository, args.model)
        memory = shared_memory(args)
        self._dataplane = DataPlane({args.model: self._service}, memory=memory)
        self._app = build_model_app(
            self._dataplane, args.timeout_s, args.limits, args.origins, args.hosts
        )
        self._servers = direct_servers(self._app, args.direct, args.limits)
        self._socket = LocalSocket(self._service.infer)
        await self._service.load(_override(args) or None)
        for server in self._servers:
            await server.start()
        answer_in_front(self._app, args.limits)
        if answers_in_front():
            await self._socket.open()

    def __serve_build_asgi_app__(self) -> ASGIApp:
        return self._app

    async def socket_address(self) -> SocketAddress:
        return self._socket.address

    async def infer_each(self, asked: Sequence[Asked]) -> list[Answer]:
        return await infer_each(self._service.infer, asked)

    async def ready(self) -> bool:
        return await self._service.ready()

    async def metadata(self, version: str | None) -> ModelMetadata:
        return await self._service.metadata(version)

    async def statistics(self, version: str | None) -> tuple[ModelStatistics, ...]:
        return await self._service.statistics(version)

    async def trace_settings(
        self, own: TraceSettings, for_all: TraceSettings | None
    ) -> TraceSettings:
        return await self._service.trace_settings(own, for_all)

    async def states(self) -> tuple[ModelState, ...]:
        return self._service.states()

    async def reload(self, model: str, override: Mapping[str, JsonValue] | None) -> None:
        """As in the gateway: what was unloaded is known again once it is loaded."""
        await self._service.reload(override)
        self._dataplane.add(model, self._service)

    async def unload(self, model: str) -> None:
        self._dataplane.remove(model)
        await self._service.close()

    async def check_health(self) -> None:
        """Raises where only a new process helps; Serve then replaces this one."""
        if fault := self._service.fault:
            raise RuntimeError(fault)

    async def status(self) -> dict[str, JsonValue]:
        return process_status(models={self._service.name: self._service.status()})

    async def __del__(self) -> None:
        for server in self._servers:
            await server.stop()
        await self._socket.close()
        await self._service.close()


def _override(args: ModelArgs) -> Mapping[str, JsonValue]:
    """What the model was last loaded with: a process that is replaced must not undo a rollback."""
    declared = cast(Mapping[str, JsonValue], args.override)
    if args.loaded_models_file is None:
        return declared
    return LoadedFile(resolved(args.loaded_models_file)).read().get(args.model, declared)


def build(args: ModelArgs) -> Application:
    return application(args)


def application(args: ModelArgs, **options: object) -> Application:
    return deploy(serve.ingress()(ModelReplica), MODEL_DEPLOYMENT, args, **options)
