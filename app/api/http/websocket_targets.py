"""What the messages of a stream are, and who answers them.

A pipeline takes binary messages as pictures, and text as JSON: a reading, or
`{"image": {"b64": ...}}`. It answers `{"id", "pipeline", "result"}`.

A model takes inference requests of the Open Inference Protocol: JSON as text or, with the Binary
Tensor Data extension, binary messages: the length of the JSON as four little-endian bytes, then the
JSON, then the raw tensors in the order of the inputs that announce them. It answers in the same
form: binary where outputs are wanted as raw bytes, else text.
"""

import time
from struct import Struct
from typing import NamedTuple, Protocol

import orjson

from app.api.codec.fields import decode_json
from app.api.codec.requests import decode_request
from app.api.dataplane import DataPlane
from app.api.http.content import picture_or_document
from app.api.http.infer_route import answer_call
from app.api.http.pipelines import answer_of, run_content
from app.config.limits import Limits
from app.pipeline.host import PipelineHost

HEADER = Struct("<I")


class Misframed(Exception):
    """A binary message has no JSON of the length that it begins with."""


class Answer(NamedTuple):
    """A JSON object, and the raw tensors that follow it; None where it is all there is."""

    json: bytes
    raw: bytes | None = None


class Target(Protocol):
    async def answer(self, message: bytes | str) -> Answer:
        """Raises Misframed where the stream cannot go on, and anything else for one message."""
        ...


class PipelineStream:
    def __init__(
        self, pipelines: PipelineHost, name: str, timeout_s: float, limits: Limits
    ) -> None:
        self._pipelines = pipelines
        self._name = name
        self._timeout_s = timeout_s
        self._limits = limits

    async def answer(self, message: bytes | str) -> Answer:
        content: object = message
        if isinstance(message, str):
            document = decode_json(message.encode(), self._limits.json_depth)
            content = picture_or_document(document)
        ran = await run_content(self._pipelines, self._name, content, self._timeout_s)
        answer = answer_of(self._pipelines, *ran)
        return Answer(orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY))


class ModelStream:
    def __init__(
        self,
        dataplane: DataPlane,
        model: str,
        version: str | None,
        timeout_s: float,
        limits: Limits,
    ) -> None:
        self._dataplane = dataplane
        self._model = model
        self._version = version
        self._timeout_s = timeout_s
        self._limits = limits

    async def answer(self, message: bytes | str) -> Answer:
        body, length = _unframed(message)
        call = decode_request(
            self._model,
            self._version,
            body,
            time.monotonic() + self._timeout_s,
            header_length=length,
            limits=self._limits,
            memory=self._dataplane.memory,
        )
        body, header_length = await answer_call(self._dataplane, call)
        if header_length is None:
            return Answer(body.removesuffix(b"\n"))
        return Answer(body[:header_length], body[header_length:])


def _unframed(message: bytes | str) -> tuple[bytes, int | None]:
    """A body as over HTTP, and how much of it is JSON; None for all of it."""
    if isinstance(message, str):
        return message.encode(), None
    length = HEADER.unpack_from(message)[0] if len(message) >= HEADER.size else 0
    if not 0 < length <= len(message) - HEADER.size:
        raise Misframed("a binary message begins with the length of its JSON, in four bytes")
    return message[HEADER.size :], length
