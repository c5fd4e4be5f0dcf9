"""What each process tells of itself."""

import os
from collections.abc import Mapping

from ray import serve

from app.types import JsonValue


def process_status(
    models: Mapping[str, JsonValue],
    pipelines: Mapping[str, JsonValue] | None = None,
    connectors: Mapping[str, JsonValue] | None = None,
) -> dict[str, JsonValue]:
    """Who this process is and what it holds, as plain data."""
    context = serve.get_replica_context()
    return {
        "application": context.app_name,
        "replica": context.replica_id.unique_id,
        "pid": os.getpid(),
        "models": models,
        "pipelines": pipelines or {},
        "connectors": connectors or {},
    }
