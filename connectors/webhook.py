"""Actions as HTTP POST requests."""

import asyncio
from collections.abc import Mapping
from typing import Annotated, Literal
from urllib.parse import quote

import httpx
from pydantic import AnyHttpUrl, BaseModel, Field, SecretStr, UrlConstraints

from app.config.connectors import ActionConfig
from app.errors import ConnectorRejected, NotConnected
from app.formats.actions import action_json
from app.registry import SINKS
from app.types import Action

MAX_ANSWER_BYTES = 64 * 1024
MAX_RETRY_AFTER_S = 300.0


class WebhookConfig(ActionConfig):
    """`timeout_s` bounds a whole request, so a receiver that answers byte by byte holds up nothing.

    `headers` are sent as they are; they may hold credentials and are therefore never shown.
    """

    type: Literal["webhook"] = "webhook"
    url: Annotated[AnyHttpUrl, UrlConstraints(max_length=2048)]
    headers: Mapping[str, SecretStr] = Field(default_factory=dict)
    timeout_s: float = Field(default=5.0, gt=0, le=300)


class WebhookSink:
    """Posts each action as JSON, with its id as Idempotency-Key. Redirects are not followed.

    2xx is delivered; 5xx, 408, 429 and no answer are NotConnected, so that the caller tries
    again; anything else is ConnectorRejected. An action's target is part of the document only.
    `transport` is for tests.
    """

    def __init__(
        self, config: WebhookConfig, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._config = config
        self._transport = transport
        self._client: httpx.AsyncClient | None = None

    async def connect(self) -> None:
        await self.close()
        headers = {name: value.get_secret_value() for name, value in self._config.headers.items()}
        self._client = httpx.AsyncClient(
            headers={**headers, "Content-Type": "application/json"},
            timeout=self._config.timeout_s,
            follow_redirects=False,
            transport=self._transport,
            trust_env=False,
        )

    async def write(self, action: Action) -> None:
        if self._client is None:
            raise NotConnected("the webhook is not connected")
        try:
            response = await asyncio.wait_for(
                _post(self._client, str(self._config.url), action), self._config.timeout_s
            )
        except asyncio.TimeoutError as error:
            seconds = self._config.timeout_s
            raise NotConnected(f"the webhook did not answer within {seconds:g} s") from error
        except httpx.TransportError as error:
            detail = str(error) or type(error).__name__
            raise NotConnected(f"the webhook cannot be reached: {detail}") from error
        _check(response)

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()


async def _post(client: httpx.AsyncClient, url: str, action: Action) -> httpx.Response:
    headers = {"Idempotency-Key": quote(action.id)}
    content = action_json(action)
    async with client.stream("POST", url, content=content, headers=headers) as response:
        # A short answer is read so that the connection can be used again; a long one is left.
        size = 0
        async for chunk in response.aiter_raw():
            size += len(chunk)
            if size > MAX_ANSWER_BYTES:
                break
    return response


def _check(response: httpx.Response) -> None:
    if response.is_success:
        return
    text = f"the webhook answered {response.status_code}"
    if response.is_server_error or response.status_code in {408, 429}:
        raise NotConnected(text, _retry_after(response))
    raise ConnectorRejected(text)


def _retry_after(response: httpx.Response) -> float:
    """Seconds of the Retry-After header; 0 where it is absent, or a date (RFC 9110, 10.2.3)."""
    value = response.headers.get("Retry-After", "")
    return min(float(value), MAX_RETRY_AFTER_S) if value.isdecimal() else 0.0


def _make_sink(config: WebhookConfig, _connectors: Mapping[str, BaseModel]) -> WebhookSink:
    return WebhookSink(config)


SINKS.register("webhook", WebhookConfig, _make_sink)
