"""Reading lines of text with a PP-OCR recogniser: upright crops in, characters out.

The recogniser answers, for every eighth column, a probability per character, index 0 meaning none
(the blank of Connectionist Temporal Classification, Graves et al., ICML 2006).
"""

import asyncio
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field

from app.errors import ConfigurationError, InferenceFailed, InvalidInput
from app.imaging.codec import decode_image
from app.imaging.tensor import Normalisation, write_planes
from app.imaging.text import (
    RECOGNISER_HEIGHT,
    edge_lengths,
    recogniser_widths,
    recognition_order,
    require_polygons,
)
from app.imaging.values import Floats, Image, pick_output, require_tensors
from app.interfaces import NodeContext
from app.nodes.flow.function import register_function
from app.registry import NODES, ComponentConfig
from app.types import Array, Message, Tensors, TextLine

_NORMALISATION = Normalisation(scale=1 / 255, mean=(0.5,) * 3, std=(0.5,) * 3, rgb=False)
# Columns around a line that cubic interpolation may look at.
_MARGIN = 2


class TextCropsConfig(ComponentConfig):
    """How lines become batches.

    A batch is as wide as its widest line, at least `min_width`; lines over `max_width` columns
    are squeezed. A new batch starts where padding would make up more than `max_padding` of it,
    where it holds `max_batch` lines, or where its lines together exceed `max_columns`.

    On a processor PP-OCR recognisers take a fifth to a half longer per line in one large batch
    than at about 1500 columns, where they fit its caches; an accelerator wants several times as
    many. The answer takes about 10 kB a column with an alphabet of 18,710.
    """

    min_width: int = Field(320, gt=0)
    max_width: int = Field(3200, gt=0)
    max_batch: int = Field(32, gt=0)
    max_columns: int = Field(1536, gt=0)
    max_padding: float = Field(0.15, ge=0, lt=1)
    input: str = ""


def text_crops(config: TextCropsConfig, content: object, value: object) -> list[Tensors]:
    """The lines of a picture (or its bytes) as batches (n, 3, 48, width) float32.

    Rows come in `recognition_order` of the polygons, batch after batch. No lines, no batches.
    """
    polygons = require_polygons(value)
    if not len(polygons):
        return []
    image = decode_image(content)
    order = recognition_order(polygons)
    widths = recogniser_widths(polygons, config.max_width)[order]
    lines = polygons[order]
    return [
        Tensors({config.input: _batch(image, lines[rows], widths[rows], config.min_width)})
        for rows in _split(widths, config)
    ]


def _split(widths: npt.NDArray[np.intp], config: TextCropsConfig) -> list[slice]:
    """Cut ascending widths into batches, each as wide as its last line."""
    starts = [0]
    for index, width in enumerate(np.maximum(widths, config.min_width)):
        start = starts[-1]
        columns = int(width) * (index - start + 1)
        filled = int(np.maximum(widths[start : index + 1], config.min_width).sum())
        if index > start and (
            index - start >= config.max_batch
            or columns > config.max_columns
            or 1 - filled / columns > config.max_padding
        ):
            starts.append(index)
    return [slice(a, b) for a, b in zip(starts, [*starts[1:], len(widths)], strict=True)]


def _batch(image: Image, polygons: Floats, widths: npt.NDArray[np.intp], min_width: int) -> Floats:
    shape = (len(polygons), 3, RECOGNISER_HEIGHT, max(min_width, int(widths.max())))
    batch = np.zeros(shape, np.float32)
    for row, polygon, width in zip(batch, polygons, widths, strict=True):
        line = cv2.resize(_rectify(image, polygon), (int(width), RECOGNISER_HEIGHT))
        write_planes(np.asarray(line, np.uint8), row[:, :, :width], _NORMALISATION)
    return batch


def _rectify(image: Image, polygon: Floats) -> Image:
    along, across = edge_lengths(polygon[None])
    width, height = max(1, int(along[0])), max(1, int(across[0]))
    # Only the part around the line is handed over: OpenCV warps no picture over 32767 pixels.
    left, top = np.maximum(np.floor(polygon.min(axis=0)).astype(int) - _MARGIN, 0)
    right, bottom = np.ceil(polygon.max(axis=0)).astype(int) + _MARGIN + 1
    target = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    matrix = cv2.getPerspectiveTransform((polygon - (left, top)).astype(np.float32), target)
    crop = cv2.warpPerspective(
        image[top:bottom, left:right],
        matrix,
        (width, height),
        flags=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(crop, np.uint8)


class TextLinesConfig(ComponentConfig):
    """`model` and `version` are those of the `infer` node; the model's labels are the characters.

    Lines whose mean probability per character is under `min_score` are dropped.
    """

    model: str
    version: str | None = None
    min_score: float = Field(0.5, ge=0, le=1)
    output: str = ""


class TextLines:
    """Reads the recogniser's answers; inputs are those answers, then the polygons.

    Gives list[TextLine] in the order of the polygons. Raises ConfigurationError when built with
    other than two inputs.
    """

    def __init__(self, config: TextLinesConfig, context: NodeContext) -> None:
        if len(context.inputs) != 2:
            raise ConfigurationError(
                f"node {context.id!r} needs two inputs: the recogniser's answers, then the polygons"
            )
        self._config = config
        self._context = context
        self._characters: tuple[str, ...] = ()

    async def open(self) -> None:
        """Nothing yet: the model may still be loading."""

    async def process(self, message: Message) -> Message | None:
        answers, value = self._context.values(message)
        polygons = require_polygons(value)
        outputs = self._outputs(answers)
        if outputs and len(self._characters) != outputs[0].shape[2]:
            self._characters = await self._alphabet(outputs[0].shape[2])
        lines = await asyncio.to_thread(
            read_lines, outputs, polygons, self._characters, self._config.min_score
        )
        return message.with_result(self._context.id, lines)

    async def close(self) -> None:
        """Nothing to close."""

    def _outputs(self, answers: object) -> list[Array]:
        batches = answers if isinstance(answers, list) else [answers]
        outputs = [
            pick_output(require_tensors(batch).arrays, self._config.output) for batch in batches
        ]
        for output in outputs:
            if output.ndim != 3:
                raise InferenceFailed(
                    f"a recogniser answers (n, columns, characters), this one {output.shape}"
                )
        return outputs

    async def _alphabet(self, size: int) -> tuple[str, ...]:
        """The recogniser's labels, to which the blank and the space may have to be added."""
        metadata = await self._context.model(self._config.model).metadata(self._config.version)
        labels = metadata.labels
        characters = labels.get(self._config.output) or next(iter(labels.values()), ())
        # PP-OCR's own lists leave out the blank before and the space after the characters.
        missing = {0: ((), ()), 1: (("",), ()), 2: (("",), (" ",))}
        if size - len(characters) not in missing:
            raise InferenceFailed(
                f"model {self._config.model!r} answers {size} characters and has "
                f"{len(characters)} labels"
            )
        before, after = missing[size - len(characters)]
        return (*before, *characters, *after)


def read_lines(
    outputs: Sequence[Array], polygons: Floats, characters: Sequence[str], min_score: float
) -> list[TextLine]:
    """Join answers (rows, columns, characters), in `recognition_order`, to their polygons.

    Raises InvalidInput when there are not as many rows as polygons.
    """
    texts = [text for output in outputs for text in decode_ctc(output, characters)]
    if len(texts) != len(polygons):
        raise InvalidInput(f"{len(texts)} recognised lines for {len(polygons)} polygons")
    by_polygon = dict(zip(recognition_order(polygons).tolist(), texts, strict=True))
    return [
        TextLine(tuple((float(x), float(y)) for x, y in polygon), text, score)
        for polygon, (text, score) in zip(
            polygons, (by_polygon[index] for index in range(len(polygons))), strict=True
        )
        if text.strip() and score >= min_score
    ]


def decode_ctc(output: Array, characters: Sequence[str]) -> list[tuple[str, float]]:
    """The best character per column, repeats and blanks dropped, and their mean probability."""
    best = output.argmax(axis=2)
    chances = np.take_along_axis(output, best[..., None], axis=2)[..., 0]
    kept = best != 0
    kept[:, 1:] &= best[:, 1:] != best[:, :-1]
    return [
        ("".join(characters[i] for i in row[mask]), float(chance[mask].mean()) if mask.any() else 0)
        for row, chance, mask in zip(best, chances, kept, strict=True)
    ]


register_function("text.crops", TextCropsConfig, text_crops, blocking=True)
NODES.register("text.lines", TextLinesConfig, TextLines)
