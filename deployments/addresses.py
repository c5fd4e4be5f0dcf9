"""Where this cluster can be reached, asked of Ray and Serve themselves."""

from ray.experimental.internal_kv import _internal_kv_get
from ray.serve.context import _get_global_client

_ANY_INTERFACE = ("0.0.0.0", "::", "")  # noqa: S104 - only compared with


def api_url() -> str:
    """The address of the HTTP door, as someone on this machine would type it."""
    client = _get_global_client()
    if client is None:
        raise RuntimeError("asked for its address outside of Serve")
    options = client.http_config
    host = "127.0.0.1" if options.host in _ANY_INTERFACE else options.host
    return f"http://{host}:{options.port}"


def dashboard_url() -> str | None:
    """The address of Ray's dashboard; None where it was left out."""
    address: bytes | None = _internal_kv_get("dashboard", namespace="dashboard")
    return None if address is None else f"http://{address.decode()}"
