"""How much one caller may ask of a process, in one place for every door."""

from pydantic import Field

from app.registry import ComponentConfig

MIB = 1024 * 1024


class Limits(ComponentConfig):
    """Everything above is refused, and before memory is taken for it.

    body_bytes: of a body as it comes over the wire.
    decompressed_bytes: of a body that came compressed.
    json_depth: how deep arrays and objects may be nested in one another.
    elements: of one tensor.
    tensors: inputs of one request, and outputs asked for.
    rank: dimensions of a tensor.
    headers: of one request.
    parts: of a multipart body.
    batch_requests: inference requests in one call of `/api/v1/batch`.
    sockets: WebSockets open at once.
    head_bytes: of a request line and its headers.
    receive_seconds: from the first byte of a request, or from when its connection was made, to its
        last byte. Over gRPC to the end of the connection's opening only: messages take their time.
    idle_seconds: of a connection on which nothing is asked any more, or whose client takes nothing
        of an answer.
    connections: at once, for each door of each process; HAProxy has its own limit.
    message_bytes: of one WebSocket message.
    """

    body_bytes: int = Field(default=64 * MIB, ge=1)
    decompressed_bytes: int = Field(default=64 * MIB, ge=1)
    json_depth: int = Field(default=100, ge=1, le=1000)
    elements: int = Field(default=64 * MIB, ge=1)
    tensors: int = Field(default=256, ge=1)
    rank: int = Field(default=32, ge=1, le=32)
    headers: int = Field(default=128, ge=1)
    parts: int = Field(default=16, ge=1)
    batch_requests: int = Field(default=256, ge=1)
    sockets: int = Field(default=64, ge=0)
    head_bytes: int = Field(default=64 * 1024, ge=1024)
    receive_seconds: float = Field(default=30.0, gt=0)
    idle_seconds: int = Field(default=60, ge=1)
    connections: int = Field(default=1000, ge=1)
    message_bytes: int = Field(default=8 * MIB, ge=1, le=16 * MIB)


DEFAULT = Limits()
