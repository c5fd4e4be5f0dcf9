"""Models in applications of their own, started and ended while the product runs."""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import grpc
from ray import serve
from ray.exceptions import RayError
from ray.serve.api import RunTarget
from ray.serve.context import _get_global_client
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle

from app.config.pipelines import GatewayConfig
from app.errors import MantaError, ModelNotReady
from app.interfaces import ModelHandle
from app.types import JsonValue, ModelState
from deployments.args import GatewayArgs, ModelArgs
from deployments.connector import STREAMS_DEPLOYMENT
from deployments.handles import (
    GATEWAY_DEPLOYMENT,
    MODEL_DEPLOYMENT,
    STATUS_TIMEOUT_S,
    RemoteModelHandle,
    deployment_handle,
)
from deployments.model import application
from models.repository.loaded_file import Override
from models.serving.applications import Applications

logger = logging.getLogger(__name__)

LOAD_TIMEOUT_S = 300.0
POLL_SECONDS = 0.1

_ON_REQUEST = "imperative"
"""How Serve marks what was deployed by a call and not by a configuration file."""

_INHERITED = ("RAY_SERVE_", "OMP_NUM_THREADS")


class _Away(Exception):
    """No replica answered."""


class ServeApplications(Applications):
    """Speaks to Serve for a ModelController. To be used on the event loop of a replica."""

    def __init__(
        self,
        args: GatewayArgs,
        remote: Callable[[str], RemoteModelHandle],
        config: GatewayConfig,
    ) -> None:
        self._args = args
        self._remote = remote
        self._config = config
        self._gateway = serve.get_replica_context().app_name
        self._handles: dict[tuple[str, str], DeploymentHandle[Any]] = {}

    async def deploy(self, name: str, override: Override) -> ModelHandle:
        """The new process has the environment of this one, since Serve's fast path is in that."""
        args = ModelArgs(
            repositories=self._args.repositories,
            max_model_size_mb=self._args.max_model_size_mb,
            model=name,
            timeout_s=self._config.timeout_s,
            limits=self._config.limits,
            origins=self._config.origins,
            hosts=self._config.hosts,
            override=dict(override),
            shared_memory=self._args.shared_memory,
            loaded_models_file=self._args.loaded_models_file,
        )
        environment = {k: v for k, v in os.environ.items() if k.startswith(_INHERITED)}
        options = {"num_cpus": 0.1, "runtime_env": {"env_vars": environment}}
        app = application(args, ray_actor_options=options)
        target = RunTarget(app, name, route_of(name))
        others = await asyncio.to_thread(served_applications)
        if name in others and others[name]["source"] != _ON_REQUEST:
            raise ModelNotReady(f"model {name!r} has the name of another application")
        try:
            await asyncio.to_thread(serve.run_many, [target], wait_for_applications_running=False)
            await self._until_running(name)
        except (RayError, RayServeException, RuntimeError, asyncio.TimeoutError) as error:
            logger.error("model %r was given no process: %s", name, error)
            await self.delete(name)
            raise ModelNotReady(f"model {name!r} was given no process") from error
        return self.handle(name)

    async def delete(self, name: str) -> None:
        self._handles.pop((name, MODEL_DEPLOYMENT), None)
        try:
            await asyncio.to_thread(serve.delete, name)
        except (RayError, RayServeException, TimeoutError) as error:
            raise ModelNotReady(f"the process of model {name!r} does not end") from error

    async def running(self) -> frozenset[str]:
        """What `serve_config.yaml` declares is not among them: Serve keeps apart who deployed."""
        try:
            applications = await asyncio.to_thread(served_applications)
        except (RayError, RayServeException) as error:
            raise ModelNotReady("Serve does not tell what runs") from error
        return frozenset(
            name
            for name, details in applications.items()
            if details["source"] == _ON_REQUEST
            and details["route_prefix"] == route_of(name)
            and details["status"] != "DELETING"
        )

    def handle(self, name: str) -> ModelHandle:
        return self._remote(name)

    async def states(self, name: str) -> tuple[ModelState, ...]:
        try:
            answers = await self._call(name, MODEL_DEPLOYMENT, "states", timeout_s=STATUS_TIMEOUT_S)
        except _Away:
            return ()
        return cast(tuple[ModelState, ...], answers[0]) if answers else ()

    async def reload(self, name: str, override: Override | None) -> None:
        config = None if override is None else dict(override)
        await self._tell_holders("reload", name, config)

    async def unload(self, name: str) -> None:
        await self._tell_holders("unload", name)

    async def _tell_holders(self, method: str, name: str, *arguments: JsonValue) -> None:
        """Tell the model's own application where it has one, otherwise those that host streams;
        then the gateways. One that is away will start with what the configuration declares."""
        if name not in self._args.inline:
            await self._tell(name, MODEL_DEPLOYMENT, method, name, *arguments)
        else:
            for streams in self._args.streams:
                await self._tell(streams, STREAMS_DEPLOYMENT, method, name, *arguments)
        try:
            await self._call(self._gateway, GATEWAY_DEPLOYMENT, method, name, *arguments)
        except _Away:
            logger.warning("a gateway could not be told of model %r", name)

    async def _until_running(self, name: str) -> None:
        """Raises RuntimeError if Serve gives up, asyncio.TimeoutError if it takes too long."""
        give_up = time.monotonic() + LOAD_TIMEOUT_S
        while time.monotonic() < give_up:
            details = (await asyncio.to_thread(served_applications)).get(name, {})
            if details.get("status") == "RUNNING":
                return
            if details.get("status") in ("DEPLOY_FAILED", "UNHEALTHY"):
                raise RuntimeError("it cannot be started")
            await asyncio.sleep(POLL_SECONDS)
        raise asyncio.TimeoutError

    async def _tell(
        self, app: str, deployment: str, method: str, *arguments: JsonValue
    ) -> Sequence[object]:
        """Call a method of every replica. Raises what it raised, or ModelNotReady."""
        try:
            return await self._call(app, deployment, method, *arguments)
        except _Away as error:
            raise ModelNotReady(f"application {app!r} is away") from error

    async def _call(
        self,
        app: str,
        deployment: str,
        method: str,
        *arguments: JsonValue,
        timeout_s: float = LOAD_TIMEOUT_S,
    ) -> Sequence[object]:
        handle = self._handles.get((app, deployment))
        if handle is None:
            try:
                handle = deployment_handle(deployment, app)
            except ModelNotReady as error:
                raise _Away from error
            self._handles[app, deployment] = handle
        try:
            answers = handle.broadcast(method, *arguments).results_async()
            return cast(Sequence[object], await asyncio.wait_for(answers, timeout_s))
        except (asyncio.TimeoutError, RayError, RayServeException, grpc.RpcError) as error:
            cause = getattr(error, "cause", None)
            if isinstance(cause, MantaError):
                raise cause from error
            raise _Away from error


def route_of(model: str) -> str:
    return f"/v2/models/{model}"


def served_applications() -> Mapping[str, Mapping[str, object]]:
    """Every application that Serve knows, by name. Blocks for the answer of Serve's controller."""
    client = _get_global_client()
    if client is None:
        raise RuntimeError("asked for its applications outside of Serve")
    return cast(Mapping[str, Mapping[str, object]], client.get_serve_details()["applications"])
