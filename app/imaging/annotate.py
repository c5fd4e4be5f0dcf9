"""Drawing results onto pictures, for people.

OpenCV 5 carries outline fonts for most scripts. Older versions draw ASCII only: there, every other
character becomes a question mark.
"""

import colorsys

import cv2
import numpy as np

from app.errors import InvalidInput
from app.imaging.text import edge_lengths
from app.imaging.values import Floats, Image, require_image
from app.types import Detections, TextLine

Color = tuple[int, int, int]
"""Blue, green, red."""

_GOLDEN_RATIO = 0.618034
_SHADES = ((0.75, 0.95), (0.4, 1.0), (0.9, 0.65))
_WEIGHT = 500
_BLACK: Color = (20, 20, 20)
_WHITE: Color = (255, 255, 255)
_TEXT_LINE: Color = (80, 170, 40)
_HAS_OUTLINE_FONTS = hasattr(cv2, "FontFace")


def annotate(image: Image, result: object) -> Image:
    """A copy of the picture with `result` on it, Detections or a list of TextLine.

    Objects are boxed, in one colour per track, or per class where nothing is tracked. Lines of
    text are outlined and the picture becomes twice as wide: to its right is what was read, each
    line where it was found, because there is seldom room for it in between. Raises InvalidInput
    for any other result.
    """
    canvas: Image = require_image(image).copy()
    if isinstance(result, Detections):
        _draw_detections(canvas, result)
        return canvas
    if isinstance(result, list) and all(isinstance(line, TextLine) for line in result):
        sides = [_outlined(canvas, result), _page(canvas, result)]
        return np.asarray(np.concatenate(sides, axis=1), np.uint8)
    raise InvalidInput(f"expected detections or lines of text to draw, got {type(result).__name__}")


def color_of(index: int) -> Color:
    """The same colour for the same index; neighbouring indices are far apart on the wheel."""
    # Steps of the golden ratio nearly meet again after 13, so the shade changes there.
    saturation, value = _SHADES[index // 13 % len(_SHADES)]
    red, green, blue = colorsys.hsv_to_rgb(index * _GOLDEN_RATIO % 1, saturation, value)
    return round(blue * 255), round(green * 255), round(red * 255)


def _draw_detections(canvas: Image, detections: Detections) -> None:
    boxes = np.rint(np.asarray(detections.boxes, np.float32)).astype(int).tolist()
    classes = np.asarray(detections.classes, np.int64).tolist()
    scores = np.asarray(detections.scores, np.float32).tolist()
    tracks: list[int | None] = [None] * len(boxes)
    if detections.track_ids is not None:
        tracks = np.asarray(detections.track_ids, np.int64).tolist()
    # The best come first in the result and last onto the picture, so that nothing covers them.
    for box, class_id, score, track in reversed(
        list(zip(boxes, classes, scores, tracks, strict=True))
    ):
        named = 0 <= class_id < len(detections.labels)
        name = detections.labels[class_id] if named else f"class {class_id}"
        label = f"{name} {score:.2f}" if track is None else f"#{track} {name} {score:.2f}"
        color = color_of(class_id if track is None else track)
        left, top, right, bottom = box
        cv2.rectangle(canvas, (left, top), (right, bottom), color, _thickness(canvas))
        _draw_label(canvas, label, (left, top), color)


def _outlined(canvas: Image, lines: list[TextLine]) -> Image:
    for line in lines:
        corners = np.rint(np.array(line.polygon, np.float32)).astype(np.int32)
        cv2.polylines(canvas, [corners], True, _TEXT_LINE, _thickness(canvas), cv2.LINE_AA)
    return canvas


def _page(canvas: Image, lines: list[TextLine]) -> Image:
    """White paper of the picture's size with every line written where it was found."""
    page = np.full_like(canvas, 255)
    for line in lines:
        polygon = np.array(line.polygon, np.float32)
        left, top = np.maximum(np.floor(polygon.min(axis=0)).astype(int), 0)
        right, bottom = np.ceil(polygon.max(axis=0)).astype(int) + 1
        part = page[top:bottom, left:right]
        if not part.size:
            continue
        written = _written(line.text, polygon)
        height, width = written.shape[:2]
        corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
        matrix = cv2.getPerspectiveTransform(corners, (polygon - (left, top)).astype(np.float32))
        size = (part.shape[1], part.shape[0])
        np.minimum(part, cv2.warpPerspective(written, matrix, size, borderValue=_WHITE), out=part)
    return page


def _written(text: str, polygon: Floats) -> Image:
    """The text on white paper as large as the polygon, drawn to fill it."""
    along, across = (max(4, round(float(edge[0]))) for edge in edge_lengths(polygon[None]))
    paper = np.full((across, along, 3), 255, np.uint8)
    height = max(4, round(across * 0.62))
    width = _text_width(text, height)
    if width > along:
        height = max(4, height * along // width)
        width = along
    baseline = (across + round(height * 0.7)) // 2
    _put_text(paper, text, (min(across // 6, (along - width) // 2), baseline), height, _BLACK)
    return paper


def _thickness(canvas: Image) -> int:
    return int(1 + min(canvas.shape[:2]) // 600)


def _draw_label(canvas: Image, text: str, corner: tuple[int, int], color: Color) -> None:
    """Text on a filled background whose bottom left is at `corner`, moved to fit the picture."""
    height = int(np.clip(min(canvas.shape[:2]) / 32, 12, 48))
    pad = max(2, height // 6)
    width = _text_width(text, height)
    box_height = round(height * 1.25) + pad
    left = max(0, min(corner[0], canvas.shape[1] - width - 2 * pad))
    top = max(0, corner[1] - box_height)
    right, bottom = left + width + 2 * pad, top + box_height
    cv2.rectangle(canvas, (left, top), (right, bottom), color, cv2.FILLED)
    blue, green, red = color
    ink = _BLACK if 0.114 * blue + 0.587 * green + 0.299 * red > 140 else _WHITE
    _put_text(canvas, text, (left + pad, top + height), height, ink)


def _text_width(text: str, height: int) -> int:
    if _HAS_OUTLINE_FONTS:
        face = cv2.FontFace("sans")
        return int(cv2.getTextSize((0, 0), text, (0, 0), face, height, _WEIGHT)[2])
    return int(cv2.getTextSize(_ascii(text), cv2.FONT_HERSHEY_SIMPLEX, height / 30, 1)[0][0])


def _put_text(canvas: Image, text: str, origin: tuple[int, int], height: int, color: Color) -> None:
    """`origin` is where the base line starts."""
    if _HAS_OUTLINE_FONTS:
        cv2.putText(canvas, text, origin, color, cv2.FontFace("sans"), height, _WEIGHT)
    else:
        font = cv2.FONT_HERSHEY_SIMPLEX
        cv2.putText(canvas, _ascii(text), origin, font, height / 30, color, 1, cv2.LINE_AA)


def _ascii(text: str) -> str:
    return text.encode("ascii", "replace").decode("ascii")
