"""Every server of the comparison, ours and the peers', as a context manager.

A server is given the same repository of ONNX files and one worker, listens on free ports of the
loopback address, and is ready when it has answered a request of every model correctly.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial

from benchmarks.bodies import Encoding
from benchmarks.peer_servers import litserve, mlserver, pytriton
from benchmarks.ray_config import peer_config, product_config
from benchmarks.ray_servers import ray_server
from benchmarks.serving import Models, RunningServer

BATCH_SIZE = 16


@dataclass(frozen=True)
class Server:
    """`name` is one way to run `product`; of several ways the best counts, workload by workload.

    `binary` is the form in which it takes the bytes of a tensor over HTTP, if it takes them.
    `has_grpc`: it speaks the protocol over gRPC. `is_neutral_ground`: perf_analyzer asks it, too.
    `start_seconds` is about what starting and ending it takes.
    """

    name: str
    product: str
    start: Callable[[Models], AbstractContextManager[RunningServer]]
    binary: Encoding | None = None
    has_grpc: bool = False
    is_neutral_ground: bool = False
    start_seconds: float = 12.0


SERVERS = (
    Server(
        "manta",
        "Manta",
        partial(ray_server, configure=product_config),
        "binary",
        has_grpc=True,
        is_neutral_ground=True,
        start_seconds=25.0,
    ),
    Server(
        "manta-own-application",
        "Manta, model as its own application",
        partial(ray_server, configure=partial(product_config, own_application=True)),
        "binary",
        start_seconds=30.0,
    ),
    Server(
        "manta-direct",
        "Manta, direct door",
        partial(ray_server, configure=product_config, direct=True),
        "binary",
        is_neutral_ground=True,
        start_seconds=25.0,
    ),
    Server(
        "ray-serve",
        "Ray Serve, default",
        partial(ray_server, configure=peer_config),
        "raw",
        has_grpc=True,
        start_seconds=20.0,
    ),
    Server(
        "mlserver",
        "MLServer",
        partial(mlserver, batch_size=0),
        has_grpc=True,
        is_neutral_ground=True,
    ),
    Server(
        "mlserver-batching", "MLServer", partial(mlserver, batch_size=BATCH_SIZE), has_grpc=True
    ),
    Server("pytriton", "pytriton", pytriton, "binary", has_grpc=True, is_neutral_ground=True),
    Server("litserve", "LitServe", partial(litserve, batch_size=1), "base64"),
    Server("litserve-batching", "LitServe", partial(litserve, batch_size=BATCH_SIZE), "base64"),
)
