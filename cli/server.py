"""A running Manta, as the command line sees it."""

from collections.abc import Mapping
from typing import cast
from urllib.parse import quote

import httpx
import orjson

from app.errors import MantaError, ModelNotFound, NotConnected
from app.types import JsonValue

TIMEOUT_S = 60.0
CONNECT_TIMEOUT_S = 3.0

Json = Mapping[str, JsonValue]


class Server:
    """Every call raises NotConnected where no server can be reached, and another MantaError with
    the server's own words where it refuses."""

    def __init__(self, url: str, transport: httpx.BaseTransport | None = None) -> None:
        self.url = url.rstrip("/")
        # Proxies of the environment are for the way out; a server at the edge is never there.
        self._client = httpx.Client(
            timeout=httpx.Timeout(TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
            transport=transport,
            trust_env=False,
        )

    def status(self) -> Json:
        """`{"version", "processes": [...]}`"""
        return _json(self._call("GET", "/v1/status"))

    def pipelines(self) -> Json:
        """The status of those that may be called, by name."""
        return mapping(_json(self._call("GET", "/v1/pipelines")).get("pipelines"))

    def model(self, name: str) -> Json:
        """The model's metadata. Raises ModelNotFound."""
        return _json(self._call("GET", f"/v2/models/{quote(name, safe='')}"))

    def infer(self, name: str, request: bytes) -> Json:
        """`request` and the answer are the protocol's JSON."""
        path = f"/v2/models/{quote(name, safe='')}/infer"
        return _json(self._call("POST", path, request, "application/json"))

    def run(self, pipeline: str, content: bytes, media_type: str) -> Json:
        """`{"id", "pipeline", "result"}`"""
        path = f"/v1/pipelines/{quote(pipeline, safe='')}"
        return _json(self._call("POST", path, content, media_type))

    def annotate(self, pipeline: str, content: bytes) -> bytes:
        """The picture as a JPEG, with what the pipeline found drawn on it."""
        path = f"/v1/pipelines/{quote(pipeline, safe='')}?annotate=1"
        return self._call("POST", path, content, "application/octet-stream").content

    def _call(
        self, method: str, path: str, content: bytes | None = None, media_type: str = ""
    ) -> httpx.Response:
        headers = {"content-type": media_type} if media_type else {}
        try:
            response = self._client.request(
                method, self.url + path, content=content, headers=headers
            )
        except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
            raise MantaError(f"{self.url!r} is no address of a server: {error}") from error
        except (httpx.ReadTimeout, httpx.WriteTimeout) as error:
            raise NotConnected(f"{self.url} did not answer within {TIMEOUT_S:g} s") from error
        except httpx.HTTPError as error:
            raise NotConnected(
                f"no server answers at {self.url}; start one with: manta run"
            ) from error
        if response.is_success:
            return response
        raise _refusal(response)


def mapping(value: JsonValue) -> Json:
    """The value if it is a JSON object, otherwise an empty one."""
    return value if isinstance(value, Mapping) else {}


def _json(response: httpx.Response) -> Json:
    try:
        document = orjson.loads(response.content)
    except orjson.JSONDecodeError:
        document = None
    if not isinstance(document, dict):
        raise MantaError(f"the answer of {response.url} is not Manta's: no JSON object")
    return cast(Json, document)


def _refusal(response: httpx.Response) -> MantaError:
    """The server's reason; without one it is something else that answers at this address."""
    try:
        reason = _json(response).get("error")
    except MantaError:
        reason = None
    if not isinstance(reason, str):
        text = f"{response.url} answers HTTP {response.status_code}: is that a Manta server?"
        return MantaError(text)
    kind = ModelNotFound if response.status_code == 404 else MantaError
    return kind(f"{reason} (HTTP {response.status_code})")
