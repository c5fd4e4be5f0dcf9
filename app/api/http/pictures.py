"""Pictures sent to a model by its name: they go through a pipeline that asks the model."""

import asyncio
from collections.abc import Sequence

from starlette.requests import Request

from app.api.codec.fields import is_object
from app.api.dataplane import DataPlane
from app.api.http.answers import read_body
from app.api.http.content import files_of, media_type_of, picture_of
from app.api.http.pipelines import answer_of, run_content
from app.config.limits import Limits
from app.errors import InvalidInput
from app.pipeline.host import PipelineHost
from app.types import JsonValue


class Pictures:
    """What the routes of a model do with JPEG and PNG files.

    They go to the first pipeline of the file that runs here, begins with a picture and asks that
    model; or to the pipeline of that name.
    """

    def __init__(
        self, dataplane: DataPlane, pipelines: PipelineHost, timeout_s: float, limits: Limits
    ) -> None:
        self._dataplane = dataplane
        self._pipelines = pipelines
        self._timeout_s = timeout_s
        self._limits = limits

    def check(self, name: str) -> None:
        """Raises ModelNotFound where this is neither a model nor a pipeline of pictures."""
        if self._pipelines.for_pictures(name) is None:
            self._dataplane.model(name)

    async def in_body(self, request: Request) -> list[bytes]:
        """The picture that a body is, or those that are its parts; none of any other body."""
        media_type = media_type_of(request.headers)
        is_form = media_type == "multipart/form-data"
        if not is_form and not media_type.startswith("image/"):
            return []
        body = await read_body(request.scope, request.receive, self._limits)
        return await files_of(request.headers, body, self._limits) if is_form else [body]

    def in_json(self, value: object, where: str) -> list[bytes]:
        """Those of `{"b64": ...}`, `{"image": {"b64": ...}}`, or a list of either; else none."""
        if not isinstance(value, list):
            picture = picture_of(value, where) if is_object(value) else None
            return [] if picture is None else [picture]
        found = [picture_of(each, f"{where}[{n}]") for n, each in enumerate(value)]
        pictures = [picture for picture in found if picture is not None]
        if pictures and len(pictures) != len(value):
            raise InvalidInput(f"{where}: not every element is a picture")
        if len(pictures) > self._limits.batch_requests:
            raise InvalidInput(f"{where}: more than {self._limits.batch_requests}")
        return pictures

    async def answers(self, name: str, pictures: Sequence[bytes]) -> list[dict[str, JsonValue]]:
        """One for each picture. Raises what the first that fails raises."""
        return list(await asyncio.gather(*(self.answer(name, picture) for picture in pictures)))

    async def answer(self, name: str, picture: bytes) -> dict[str, JsonValue]:
        """`id`, `pipeline` and `result`. Raises InvalidInput where no pipeline takes pictures."""
        pipeline = self._pipelines.for_pictures(name)
        if pipeline is None:
            self.check(name)
            raise InvalidInput(
                f"model {name!r} has no pipeline here that takes pictures; send it tensors"
            )
        ran = await run_content(self._pipelines, pipeline, picture, self._timeout_s)
        return answer_of(self._pipelines, *ran)
