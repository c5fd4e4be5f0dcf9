"""What models and pipelines answer, in a form to read."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from rich.console import Group, RenderableType
from rich.json import JSON
from rich.table import Table
from rich.text import Text

from app.formats.datatypes import dtype_of
from app.types import Array, JsonValue
from cli.server import Json, mapping

TOP = 5
FIRST_VALUES = 8
MAX_ROWS = 16


def pipeline_answer(answer: Json) -> RenderableType:
    """Text lines, detections or class scores as a table, anything else as JSON."""
    result = answer.get("result")
    if result == []:
        return Text("nothing was found")
    if not isinstance(result, list) or not all(isinstance(each, Mapping) for each in result):
        return JSON.from_data(result)
    found = [mapping(each) for each in result]
    keys = set(found[0])
    if {"text", "polygon"} <= keys:
        return _text_lines(found)
    if {"label", "score", "box"} <= keys:
        return _detections(found)
    if keys == {"label", "score"}:
        return _scores([(str(each["label"]), _number(each["score"])) for each in found])
    return JSON.from_data(result)


def model_answer(answer: Json, metadata: Json) -> RenderableType:
    """The top classes of outputs that are probabilities, of others their first values."""
    outputs = answer.get("outputs")
    found = [mapping(each) for each in outputs] if isinstance(outputs, list) else []
    labels = mapping(mapping(metadata.get("parameters")).get("labels"))
    return Group(*(_output(each, labels.get(str(each.get("name")))) for each in found))


def _output(output: Json, labels: JsonValue) -> RenderableType:
    array = _array(output)
    title = f"{output.get('name')}  {output.get('datatype')} {list(array.shape)}"
    if not _are_probabilities(array):
        values = ", ".join(_shown(value) for value in array.ravel()[:FIRST_VALUES].tolist())
        more = ", ..." if array.size > FIRST_VALUES else ""
        return Text(f"{title}: {values}{more}")
    names = [str(each) for each in labels] if isinstance(labels, list) else []
    tables: list[RenderableType] = []
    rows = array.reshape(-1, array.shape[-1])
    for number, row in enumerate(rows[:MAX_ROWS]):
        best = np.argsort(row)[::-1][:TOP].tolist()
        named = [(names[k] if k < len(names) else f"class {k}", float(row[k])) for k in best]
        tables.append(_scores(named, title if len(rows) == 1 else f"{title} row {number}"))
    if len(rows) > MAX_ROWS:
        tables.append(Text(f"... and {len(rows) - MAX_ROWS} rows more (--json has all of them)"))
    return Group(*tables)


def _array(output: Json) -> Array:
    """An output as an array. What is null in JSON was not finite."""
    shape, data = output.get("shape"), output.get("data")
    sizes = [size for size in shape if isinstance(size, int)] if isinstance(shape, list) else []
    values = data if isinstance(data, list) else []
    dtype = dtype_of(str(output.get("datatype")))
    if dtype.kind == "f":
        values = [math.nan if value is None else value for value in values]
    return np.asarray(values, dtype=dtype).reshape(sizes)


def _are_probabilities(array: Array) -> bool:
    """Whether every row of one or two dimensions is from 0 to 1 and sums up to 1."""
    if array.dtype.kind != "f" or array.ndim not in (1, 2) or not array.size:
        return False
    values = array.astype(np.float64)
    in_range = bool(((values >= 0) & (values <= 1)).all())
    sums_up = np.allclose(values.sum(axis=-1), 1.0, atol=5e-3)
    return in_range and values.shape[-1] > 1 and sums_up


def _text_lines(found: Sequence[Json]) -> Table:
    table = Table()
    table.add_column("text", overflow="fold")
    table.add_column("confidence", justify="right")
    table.add_column("from", justify="right")
    table.add_column("to", justify="right")
    for line in found:
        xs, ys = _corners(line.get("polygon"))
        table.add_row(
            Text(str(line["text"])),
            f"{_number(line.get('confidence')):.3f}",
            f"{min(xs):.0f}, {min(ys):.0f}",
            f"{max(xs):.0f}, {max(ys):.0f}",
        )
    return table


def _corners(polygon: JsonValue) -> tuple[list[float], list[float]]:
    points = polygon if isinstance(polygon, list) else []
    pairs = [[_number(each) for each in point] for point in points if isinstance(point, list)]
    return [pair[0] for pair in pairs] or [0.0], [pair[1] for pair in pairs] or [0.0]


def _detections(found: Sequence[Json]) -> Table:
    tracked = any("track_id" in each for each in found)
    table = Table()
    table.add_column("label", overflow="fold")
    for column in ("score", "x1, y1, x2, y2", *(["track"] if tracked else [])):
        table.add_column(column, justify="right")
    for each in found:
        box = each.get("box")
        edges = [_number(edge) for edge in box] if isinstance(box, list) else []
        track = [str(each.get("track_id", ""))] if tracked else []
        table.add_row(
            Text(str(each["label"])),
            f"{_number(each['score']):.3f}",
            ", ".join(f"{edge:.0f}" for edge in edges),
            *track,
        )
    return table


def _scores(named: Sequence[tuple[str, float]], title: str | None = None) -> Table:
    table = Table(title=title, title_justify="left", title_style="")
    table.add_column("class", overflow="fold")
    table.add_column("probability", justify="right")
    for name, score in named:
        table.add_row(Text(name), f"{score:.4f}")
    return table


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _number(value: JsonValue) -> float:
    return float(value) if isinstance(value, int | float) else math.nan
