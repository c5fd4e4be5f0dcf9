"""The Open Inference Protocol over gRPC: each call is one delegation to the DataPlane.

Handlers take and give serialized messages: tensors need not pass through message objects, and what
is no message gets an answer in our own words.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import NoReturn, Protocol, TypeVar

import grpc
from google.protobuf.json_format import ParseDict
from google.protobuf.message import DecodeError, Message

from app.api.codec.classification import classified
from app.api.codec.shared_memory import switched_on
from app.api.dataplane import DataPlane
from app.api.descriptions import encode_config, encode_metadata, encode_statistics
from app.api.grpc.codec import (
    decode_request,
    encode_response,
    parse_request,
    streamed,
    streamed_error,
)
from app.api.grpc.proto import inference_pb2 as pb
from app.api.http.answers import log_failure
from app.api.http.repository import config_of, control_of
from app.api.http.shared_memory_routes import NO_CUDA, no_cuda_regions
from app.api.status import status_of, text_of
from app.config.limits import DEFAULT, Limits
from app.errors import InvalidInput, ModelNotFound, ModelNotReady
from app.types import JsonValue

SERVICE = "inference.GRPCInferenceService"
STREAM_WINDOW = 64
"""Requests of one stream that are under way, unsent answers included; more are not read."""

RequestT = TypeVar("RequestT", bound=Message)


class Context(Protocol):
    """What is used of grpc.aio's ServicerContext."""

    def time_remaining(self) -> float | None:
        """Seconds until the caller gives up; None where it never does."""
        ...

    async def abort(self, code: grpc.StatusCode, details: str) -> NoReturn: ...


class GrpcServicer:
    """The calls of `inference.GRPCInferenceService`.

    A request has until `timeout_s` after its arrival, or until its caller's own deadline.
    """

    def __init__(self, dataplane: DataPlane, timeout_s: float, limits: Limits = DEFAULT) -> None:
        self._dataplane = dataplane
        self._timeout_s = timeout_s
        self._limits = limits

    def handler(self) -> grpc.GenericRpcHandler:
        unary = {
            "ServerLive": _unary(pb.ServerLiveRequest, self._server_live),
            "ServerReady": _unary(pb.ServerReadyRequest, self._server_ready),
            "ServerMetadata": _unary(pb.ServerMetadataRequest, self._server_metadata),
            "ModelReady": _unary(pb.ModelReadyRequest, self._model_ready),
            "ModelMetadata": _unary(pb.ModelMetadataRequest, self._model_metadata),
            "ModelConfig": _unary(pb.ModelConfigRequest, self._model_config),
            "ModelStatistics": _unary(pb.ModelStatisticsRequest, self._model_statistics),
            "RepositoryIndex": _unary(pb.RepositoryIndexRequest, self._repository_index),
            "RepositoryModelLoad": _unary(pb.RepositoryModelLoadRequest, self._load),
            "RepositoryModelUnload": _unary(pb.RepositoryModelUnloadRequest, self._unload),
            "LogSettings": _unary(pb.LogSettingsRequest, self._log_settings),
            "TraceSetting": _unary(pb.TraceSettingRequest, self._trace_setting),
            "SystemSharedMemoryStatus": _unary(
                pb.SystemSharedMemoryStatusRequest, self._memory_status
            ),
            "SystemSharedMemoryRegister": _unary(
                pb.SystemSharedMemoryRegisterRequest, self._memory_register
            ),
            "SystemSharedMemoryUnregister": _unary(
                pb.SystemSharedMemoryUnregisterRequest, self._memory_unregister
            ),
            "CudaSharedMemoryStatus": _unary(pb.SystemSharedMemoryStatusRequest, self._cuda_status),
            "CudaSharedMemoryRegister": _no_cuda,
            "CudaSharedMemoryUnregister": _unary(
                pb.SystemSharedMemoryUnregisterRequest, self._cuda_unregister
            ),
            "ModelInfer": self.infer,
        }
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(method) for name, method in unary.items()
        }
        handlers["ModelStreamInfer"] = grpc.stream_stream_rpc_method_handler(self.stream)
        return grpc.method_handlers_generic_handler(SERVICE, handlers)

    async def infer(self, data: bytes, context: Context) -> bytes:
        try:
            return await self._infer(parse_request(data), context)
        except Exception as error:  # noqa: BLE001 - every error becomes a status
            await _abort(context, error)

    async def stream(
        self, requests: AsyncIterator[bytes], context: Context
    ) -> AsyncIterator[bytes]:
        """Requests run at the same time, and are answered in their order: clients that send no ids
        know the answers by it. An error ends no stream."""
        answers: asyncio.Queue[asyncio.Task[bytes] | None] = asyncio.Queue()
        window = asyncio.Semaphore(STREAM_WINDOW)
        reader = asyncio.ensure_future(self._read(requests, context, window, answers))
        try:
            while (answer := await answers.get()) is not None:
                yield await answer
                window.release()
        finally:
            reader.cancel()
            while not answers.empty():
                if (unsent := answers.get_nowait()) is not None:
                    unsent.cancel()

    async def _read(
        self,
        requests: AsyncIterator[bytes],
        context: Context,
        window: asyncio.Semaphore,
        answers: "asyncio.Queue[asyncio.Task[bytes] | None]",
    ) -> None:
        try:
            async for data in requests:
                await window.acquire()
                answers.put_nowait(asyncio.create_task(self._stream_answer(data, context)))
        finally:
            answers.put_nowait(None)

    async def _stream_answer(self, data: bytes, context: Context) -> bytes:
        request_id = ""
        try:
            message = parse_request(data)
            request_id = message.id
            return streamed(await self._infer(message, context))
        except Exception as error:  # noqa: BLE001 - every error becomes an answer
            log_failure(status_of(error).http, error)
            return streamed_error(request_id, text_of(error))

    async def _infer(self, message: pb.ModelInferRequest, context: Context) -> bytes:
        remaining = context.time_remaining()
        budget = self._timeout_s if remaining is None else min(self._timeout_s, remaining)
        self._dataplane.model(message.model_name)
        memory = self._dataplane.memory
        deadline = time.monotonic() + budget
        request, classes, places = decode_request(message, deadline, self._limits, memory)
        response = await self._dataplane.infer(request)
        if classes:
            metadata = await self._dataplane.model_metadata(response.model, response.version)
            response = classified(response, classes, metadata)
        return encode_response(response, places, memory)

    async def _server_live(self, _: pb.ServerLiveRequest) -> Message:
        return pb.ServerLiveResponse(live=True)

    async def _server_ready(self, _: pb.ServerReadyRequest) -> Message:
        return pb.ServerReadyResponse(ready=await self._dataplane.ready())

    async def _server_metadata(self, _: pb.ServerMetadataRequest) -> Message:
        return ParseDict(self._dataplane.server_metadata(), pb.ServerMetadataResponse())

    async def _model_ready(self, request: pb.ModelReadyRequest) -> Message:
        """What is not there is not ready: the clients of Triton take a status for a failed call."""
        try:
            ready = await self._dataplane.model_ready(request.name, request.version or None)
        except (ModelNotFound, ModelNotReady):
            ready = False
        return pb.ModelReadyResponse(ready=ready)

    async def _model_metadata(self, request: pb.ModelMetadataRequest) -> Message:
        metadata = await self._dataplane.model_metadata(request.name, request.version or None)
        fields = encode_metadata(metadata)
        return ParseDict(fields, pb.ModelMetadataResponse(), ignore_unknown_fields=True)

    async def _model_config(self, request: pb.ModelConfigRequest) -> Message:
        metadata = await self._dataplane.model_metadata(request.name, request.version or None)
        return ParseDict({"config": encode_config(metadata)}, pb.ModelConfigResponse())

    async def _model_statistics(self, request: pb.ModelStatisticsRequest) -> Message:
        found = await self._dataplane.statistics(request.name or None, request.version or None)
        return ParseDict(encode_statistics(found), pb.ModelStatisticsResponse())

    async def _repository_index(self, request: pb.RepositoryIndexRequest) -> Message:
        index = pb.RepositoryIndexResponse()
        for state in await control_of(self._dataplane).index():
            if state.state == "READY" or not request.ready:
                index.models.add(
                    name=state.name, version=state.version, state=state.state, reason=state.reason
                )
        return index

    async def _load(self, request: pb.RepositoryModelLoadRequest) -> Message:
        await control_of(self._dataplane).load(request.model_name, _override(request, self._limits))
        return pb.RepositoryModelLoadResponse()

    async def _unload(self, request: pb.RepositoryModelUnloadRequest) -> Message:
        await control_of(self._dataplane).unload(request.model_name)
        return pb.RepositoryModelUnloadResponse()

    async def _log_settings(self, request: pb.LogSettingsRequest) -> Message:
        changes = {name: _chosen(value) for name, value in request.settings.items()}
        if changes:
            self._dataplane.logs.change(changes)
        answer = pb.LogSettingsResponse()
        for name, value in self._dataplane.logs.answer().items():
            field = {bool: "bool_param", int: "uint32_param"}.get(type(value), "string_param")
            setattr(answer.settings[name], field, value)
        return answer

    async def _trace_setting(self, request: pb.TraceSettingRequest) -> Message:
        name = request.model_name or None
        settings = await self._dataplane.trace_settings(name, _trace_change(request))
        answer = pb.TraceSettingResponse()
        for field, told in settings.items():
            values = told if isinstance(told, list) else [told]
            answer.settings[field].value.extend(map(str, values))
        return answer

    async def _memory_status(self, request: pb.SystemSharedMemoryStatusRequest) -> Message:
        answer = pb.SystemSharedMemoryStatusResponse()
        for region in switched_on(self._dataplane.memory).regions(request.name or None):
            told = answer.regions[region.name]
            told.name, told.key = region.name, region.key
            told.offset, told.byte_size = region.offset, region.byte_size
        return answer

    async def _memory_register(self, request: pb.SystemSharedMemoryRegisterRequest) -> Message:
        memory = switched_on(self._dataplane.memory)
        memory.register(request.name, request.key, request.offset, request.byte_size)
        return pb.SystemSharedMemoryRegisterResponse()

    async def _memory_unregister(self, request: pb.SystemSharedMemoryUnregisterRequest) -> Message:
        switched_on(self._dataplane.memory).unregister(request.name or None)
        return pb.SystemSharedMemoryUnregisterResponse()

    async def _cuda_status(self, request: pb.SystemSharedMemoryStatusRequest) -> Message:
        """Takes and gives the messages for the system's memory: those for CUDA name a region in the
        same field, and without any region they are as empty."""
        no_cuda_regions(self._dataplane.memory, request.name or None)
        return pb.SystemSharedMemoryStatusResponse()

    async def _cuda_unregister(self, _: pb.SystemSharedMemoryUnregisterRequest) -> Message:
        no_cuda_regions(self._dataplane.memory)
        return pb.SystemSharedMemoryUnregisterResponse()


def _trace_change(request: pb.TraceSettingRequest) -> dict[str, JsonValue]:
    """Every value is a list of texts; an empty one clears the setting."""
    change: dict[str, JsonValue] = {}
    for name, setting in request.settings.items():
        values: list[JsonValue] = list(setting.value)
        change[name] = values[0] if len(values) == 1 and name != "trace_level" else values
    return change


def _chosen(setting: pb.LogSettingsRequest.SettingValue) -> JsonValue:
    kind = setting.WhichOneof("parameter_choice")
    value: JsonValue = None if kind is None else getattr(setting, kind)
    return value


def _unary(
    request_class: type[RequestT], call: Callable[[RequestT], Awaitable[Message]]
) -> Callable[[bytes, Context], Awaitable[bytes]]:
    """A handler of serialized messages around one of typed ones."""

    async def handle(data: bytes, context: Context) -> bytes:
        try:
            return (await call(_parse(request_class, data))).SerializeToString()
        except Exception as error:  # noqa: BLE001 - every error becomes a status
            await _abort(context, error)

    return handle


def _parse(request_class: type[RequestT], data: bytes) -> RequestT:
    try:
        return request_class.FromString(data)
    except DecodeError:
        raise InvalidInput(f"the message is not a {request_class.DESCRIPTOR.name}") from None


async def _no_cuda(_: bytes, context: Context) -> bytes:
    await context.abort(grpc.StatusCode.UNIMPLEMENTED, NO_CUDA)


async def _abort(context: Context, error: Exception) -> NoReturn:
    status = status_of(error)
    log_failure(status.http, error)
    await context.abort(grpc.StatusCode[status.grpc], text_of(error))


def _override(
    request: pb.RepositoryModelLoadRequest, limits: Limits
) -> Mapping[str, JsonValue] | None:
    """The parameter `config`, a JSON object in a string. Others are refused: they carry files."""
    unknown = [name for name in request.parameters if name != "config"]
    if unknown:
        raise InvalidInput(f"parameters.{unknown[0]}: is not known; a load takes: config")
    if "config" not in request.parameters:
        return None
    text = request.parameters["config"].string_param
    return config_of(text, "parameters.config", limits)
