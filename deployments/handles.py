"""Models and processes that live elsewhere in the cluster."""

import asyncio
import time
from collections.abc import Awaitable, Sequence
from typing import Any, cast

import grpc
from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle

from app.errors import DeadlineExceeded, ModelNotReady
from app.remote.local_replicas import Found, LocalReplicas
from app.remote.shared_calls import Answer, Asked, SharedCalls
from app.telemetry.tracing import TraceSettings
from app.types import InferenceRequest, InferenceResponse, JsonValue, ModelMetadata, ModelStatistics
from deployments.local_socket import SocketAddress, found

GATEWAY_DEPLOYMENT = "Gateway"
MODEL_DEPLOYMENT = "Model"
STATUS_TIMEOUT_S = 2.0


class RemoteModelHandle:
    """The ModelHandle of a model in its own application.

    Every call is bounded by `timeout_s`: a handle without a replica would wait for ever.
    """

    def __init__(self, name: str, timeout_s: float) -> None:
        self.name = name
        self._timeout_s = timeout_s
        self._shared_calls = SharedCalls(self._carry)
        self._handle = deployment_handle(MODEL_DEPLOYMENT, name)
        self._replicas = LocalReplicas(name, self._look)

    async def infer(self, request: InferenceRequest) -> InferenceResponse:
        latest = time.monotonic() + self._timeout_s
        deadline = latest if request.deadline is None else min(latest, request.deadline)
        channel = self._replicas.channel(self._shared_calls.waiting)
        return await (channel or self._shared_calls).infer(request, deadline)

    def admit(self, deadline: float, version: str | None = None) -> None:
        """Only the model's own process knows how much is waiting there."""

    async def ready(self) -> bool:
        try:
            return cast(bool, await self._call("ready", STATUS_TIMEOUT_S))
        except (ModelNotReady, DeadlineExceeded):
            return False

    async def metadata(self, version: str | None = None) -> ModelMetadata:
        return cast(ModelMetadata, await self._call("metadata", self._timeout_s, version))

    async def statistics(self, version: str | None = None) -> tuple[ModelStatistics, ...]:
        answer = await self._call("statistics", self._timeout_s, version)
        return cast(tuple[ModelStatistics, ...], answer)

    async def trace_settings(
        self, own: TraceSettings, for_all: TraceSettings | None = None
    ) -> TraceSettings:
        """Of all replicas; one that is started later begins without them."""
        answers = self._handle.broadcast("trace_settings", dict(own), for_all).results_async()
        settings = cast(list[TraceSettings], await self._answered(answers, STATUS_TIMEOUT_S))
        if not settings:
            raise ModelNotReady(f"model {self.name!r} is away")
        return settings[0]

    async def _look(self) -> Found:
        addresses = self._handle.broadcast("socket_address").results_async()
        return found(cast(list[SocketAddress], await self._answered(addresses, STATUS_TIMEOUT_S)))

    async def _carry(self, asked: Sequence[Asked]) -> Sequence[Answer]:
        budget = max(each.budget_s for each in asked)
        return cast(Sequence[Answer], await self._call("infer_each", budget, asked))

    async def _call(self, method: str, timeout_s: float, *arguments: object) -> object:
        return await self._answered(getattr(self._handle, method).remote(*arguments), timeout_s)

    async def _answered(self, answer: Awaitable[object], timeout_s: float) -> object:
        try:
            return await asyncio.wait_for(answer, timeout_s)
        except asyncio.TimeoutError:
            raise DeadlineExceeded(
                f"model {self.name!r} did not answer within {max(0.0, timeout_s):.3g} s"
            ) from None
        except (RayError, RayServeException, grpc.RpcError) as error:
            raise _own_error(error, self.name) from error


class RemoteProcesses:
    """All replicas of one deployment, asked for their status at once."""

    def __init__(self, application: str, deployment: str) -> None:
        self.application = application
        self._deployment = deployment
        self._handle: DeploymentHandle[Any] | None = None

    async def statuses(self) -> list[dict[str, JsonValue]]:
        """One for each live replica; none while there is no replica."""
        try:
            if self._handle is None:
                self._handle = deployment_handle(self._deployment, self.application)
            answer = await asyncio.wait_for(
                self._handle.broadcast("status").results_async(), STATUS_TIMEOUT_S
            )
        except (ModelNotReady, asyncio.TimeoutError, RayError, RayServeException, grpc.RpcError):
            return []
        return cast(list[dict[str, JsonValue]], answer)


def deployment_handle(deployment: str, application: str) -> DeploymentHandle[Any]:
    """Raises ModelNotReady where Serve knows no such deployment, or no more."""
    try:
        return serve.get_deployment_handle(deployment, application)
    except KeyError as error:
        raise ModelNotReady(f"application {application!r} is away") from error


def _own_error(error: Exception, model: str) -> Exception:
    """The error that the model's process raised, or that the process is away."""
    cause = getattr(error, "cause", None)
    return cause if isinstance(cause, Exception) else ModelNotReady(f"model {model!r} is away")
