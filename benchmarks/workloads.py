"""What is asked of every server, and with which client."""

from dataclasses import dataclass
from typing import Literal

Client = Literal["wrk", "h2load", "perf_analyzer http", "perf_analyzer grpc"]
Part = Literal["http", "grpc", "neutral"]

PARTS: tuple[Part, ...] = ("http", "grpc", "neutral")
_PART: dict[Client, Part] = {
    "wrk": "http",
    "h2load": "grpc",
    "perf_analyzer http": "neutral",
    "perf_analyzer grpc": "neutral",
}


@dataclass(frozen=True)
class Workload:
    """Requests for one model in a closed loop, `connections` of them in flight.

    Over HTTP, `binary` sends bytes where the server takes them, else JSON; over gRPC and from
    perf_analyzer tensors are always bytes.
    """

    model: str
    connections: int
    client: Client = "wrk"
    binary: bool = False

    @property
    def part(self) -> Part:
        return _PART[self.client]

    @property
    def is_grpc(self) -> bool:
        return self.client in ("h2load", "perf_analyzer grpc")

    @property
    def title(self) -> str:
        form = {"h2load": "gRPC", "wrk": "binary" if self.binary else "JSON"}
        return f"{self.model}, {form.get(self.client, self.client)}, c={self.connections}"


TINY_JSON = Workload("mlp", 16)
TINY_JSON_ALONE = Workload("mlp", 1)
TINY_GRPC = Workload("mlp", 16, "h2load")
CNN_BINARY = Workload("cnn", 8, binary=True)
CNN_UINT8_BINARY = Workload("cnn-uint8", 8, binary=True)

WORKLOADS = (
    TINY_JSON_ALONE,
    TINY_JSON,
    Workload("digits", 1),
    Workload("digits", 16),
    Workload("cnn", 8),
    CNN_BINARY,
    CNN_UINT8_BINARY,
    Workload("mlp", 1, "h2load"),
    TINY_GRPC,
    Workload("cnn", 8, "h2load"),
    Workload("mlp", 1, "perf_analyzer http"),
    Workload("mlp", 16, "perf_analyzer http"),
    Workload("mlp", 1, "perf_analyzer grpc"),
    Workload("mlp", 16, "perf_analyzer grpc"),
)
