"""Where this cluster can be reached, asked of Ray and Serve themselves."""

from ray.experimental.internal_kv import _internal_kv_get
from ray.serve.context import _get_global_client

from app.api.http.direct_server import DirectConfig
from deployments.fast_route import has_haproxy

_ANY_INTERFACE = ("0.0.0.0", "::", "")  # noqa: S104 - only compared with


def api_url(direct: DirectConfig | None) -> str:
    """The address of the HTTP API, as someone on this machine would type it: HAProxy's where Serve
    has one, otherwise that of the process itself."""
    client = _get_global_client()
    if client is None:
        raise RuntimeError("asked for its address outside of Serve")
    served = client.http_config if direct is None or has_haproxy() else direct
    host = "127.0.0.1" if served.host in _ANY_INTERFACE else served.host
    return f"http://{host}:{served.port}"


def dashboard_url() -> str | None:
    """The address of Ray's dashboard; None where it was left out."""
    address: bytes | None = _internal_kv_get("dashboard", namespace="dashboard")
    return None if address is None else f"http://{address.decode()}"
