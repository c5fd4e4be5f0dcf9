"""How the gRPC door is opened. Knows nothing of gRPC, so that configurations load without it."""

from pathlib import Path

from pydantic import Field

from app.registry import ComponentConfig


class TlsConfig(ComponentConfig):
    """PEM files: the server's certificate chain and its key.

    With `client_ca`, only clients whose certificate one of these authorities signed are let in.
    """

    cert: Path
    key: Path
    client_ca: Path | None = None


class GrpcConfig(ComponentConfig):
    """Where the gRPC server listens.

    Port 0 takes any free one. A connection on which nothing was heard for `keepalive_s` is asked
    whether it is still there, and closed after `keepalive_timeout_s` without an answer. At most
    `calls` calls run at once; those above are refused. A quarter of them may be on one connection;
    what is above that waits in its client.

    A connection that is `connection_age_s` old takes no more calls: clients open another, unseen.
    What still runs on it then has `limits.receive_seconds` and the time of a request to end. That
    ends messages that never come whole, which nothing else does, and also streams that are long.
    """

    host: str = "127.0.0.1"
    port: int = Field(default=8001, ge=0, le=65535)
    tls: TlsConfig | None = None
    keepalive_s: float = Field(default=60.0, gt=0)
    keepalive_timeout_s: float = Field(default=20.0, gt=0)
    connection_age_s: float | None = Field(default=None, gt=0)
    calls: int = Field(default=4096, ge=1)
    reflection: bool = True
