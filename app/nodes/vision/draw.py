"""Showing people what was found."""

import asyncio

import numpy as np
from pydantic import Field

from app.errors import ConfigurationError, InvalidInput
from app.imaging.annotate import annotate
from app.imaging.codec import DEFAULT_MAX_PIXELS, decode_image
from app.imaging.values import Image
from app.interfaces import NodeContext
from app.registry import NODES, ComponentConfig
from app.types import Message


class DrawConfig(ComponentConfig):
    """`max_pixels` bounds a picture that has to be decoded here."""

    max_pixels: int = Field(DEFAULT_MAX_PIXELS, gt=0)


class Draw:
    """A copy of the picture, as uint8 (height, width, 3) blue-green-red, with the results on it.

    Inputs are one or more results and at most one picture, in any order. Without one among them
    the message's content is the picture, so that a chain which ends in a decoder can be drawn.
    Raises ConfigurationError when built without inputs.
    """

    def __init__(self, config: DrawConfig, context: NodeContext) -> None:
        if not context.inputs:
            raise ConfigurationError(f"node {context.id!r} needs a result to draw as its input")
        self._config = config
        self._context = context

    async def open(self) -> None:
        """Nothing to open."""

    async def process(self, message: Message) -> Message | None:
        values = self._context.values(message)
        pictures = [value for value in values if isinstance(value, np.ndarray)]
        results = [value for value in values if not isinstance(value, np.ndarray)]
        if len(pictures) > 1 or not results:
            raise InvalidInput("draw needs at least one result and at most one picture as inputs")
        picture = pictures[0] if pictures else message.content
        drawn = await asyncio.to_thread(self._draw, picture, results)
        return message.with_result(self._context.id, drawn)

    async def close(self) -> None:
        """Nothing to close."""

    def _draw(self, picture: object, results: list[object]) -> Image:
        image = decode_image(picture, self._config.max_pixels)
        for result in results:
            image = annotate(image, result)
        return image


NODES.register("draw", DrawConfig, Draw, aliases=("Visualizer",))
