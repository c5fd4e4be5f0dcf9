"""What `serve run` shows once everything is ready: where it is and what to try."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence

from app.api.http.direct_server import DirectConfig
from app.types import JsonValue
from deployments.addresses import api_url, dashboard_url

POLL_SECONDS = 0.25
PATIENCE_SECONDS = 120.0

Status = Mapping[str, JsonValue]


async def banner_when_ready(
    statuses: Callable[[], Awaitable[Sequence[Status]]], others: int, direct: DirectConfig | None
) -> None:
    """Wait for the other processes, then print the banner once; it goes to Ray's driver."""
    waited = 0.0
    known: Sequence[Status] = []
    while waited < PATIENCE_SECONDS:
        known = await statuses()
        if len({str(status["application"]) for status in known}) > others:
            break
        await asyncio.sleep(POLL_SECONDS)
        waited += POLL_SECONDS
    _show(banner(known, api_url(direct), dashboard_url()))


def _show(text: str) -> None:
    """Serve sends a replica's `print` to its log file; Ray forwards what the real stream gets."""
    if sys.__stdout__ is not None:
        sys.__stdout__.write(text)
        sys.__stdout__.flush()


def banner(statuses: Sequence[Status], url: str, dashboard: str | None) -> str:
    """A few lines: addresses, what is served, what streams, and a command to paste."""
    models = _names(statuses, "models")
    pipelines = _names(statuses, "pipelines")
    connectors = _names(statuses, "connectors")
    return "\n".join(
        (
            "",
            f"  Manta is ready    {url}/v2   (API)",
            f"                    {url}/docs (what can be called)",
            f"                    {dashboard or 'no Ray dashboard'}",
            f"  models            {models}",
            f"  pipelines         {pipelines}",
            f"  streams           {connectors}",
            "  try               manta status --watch",
            f"                    curl --data-binary @config/samples/sign.jpg"
            f" {url}/v1/pipelines/read-text",
            "",
        )
    )


def _names(statuses: Sequence[Status], section: str) -> str:
    """Every entry once; one that is not in its good state with that state."""
    states: dict[str, str] = {}
    for status in statuses:
        entries = status.get(section)
        if isinstance(entries, Mapping):
            for name, entry in entries.items():
                state = entry.get("state") if isinstance(entry, Mapping) else None
                states[name] = "" if state in ("ready", "running") else f" ({state})"
    return ", ".join(f"{name}{state}" for name, state in sorted(states.items())) or "none"
