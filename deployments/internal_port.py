"""Serve's port between replicas, on the address of this node alone.

Every replica opens a gRPC server for calls from other replicas, on all interfaces, whatever the
configuration says (Ray 2.60, `ray/serve/_private/replica.py`). Others find it by the node's
address, so that is where it needs to listen.
"""

from typing import Any

import ray
import ray.serve._private.replica

_serve: Any = ray.serve._private.replica
_open_port = _serve.add_port_to_grpc_server


def listen_on_node_address() -> None:
    """To be called by a replica as it starts: Serve opens the port once its constructor is done."""
    node = str(ray.util.get_node_ip_address())  # type: ignore[no-untyped-call]  # Ray has no types
    host = f"[{node}]" if ":" in node else node

    def open_port(server: object, address: str) -> int:
        port: int = _open_port(server, address.replace("[::]", host))
        return port

    _serve.add_port_to_grpc_server = open_port
