import numpy as np
import pytest

from app.errors import InvalidInput
from app.imaging.text import (
    reading_order,
    recogniser_widths,
    recognition_order,
    require_polygons,
    start_reading,
)
from app.imaging.values import Floats


def line(x: float, y: float, width: float, height: float) -> Floats:
    return np.array([[x, y], [x + width, y], [x + width, y + height], [x, y + height]], np.float32)


def turned(polygons: Floats, degrees: float) -> Floats:
    """Clockwise as seen, about the origin."""
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return np.asarray(polygons @ turn, np.float32)


TWO_COLUMNS = np.stack(
    [
        line(0, 0, 80, 20),
        line(200, 4, 90, 18),
        line(0, 40, 60, 20),
        line(200, 37, 90, 20),
        line(0, 80, 70, 20),
    ]
)


@pytest.mark.parametrize("degrees", [-70, -25, -8, 0, 8, 25, 60, 90])
def test_rows_are_read_left_to_right_even_on_a_turned_page(degrees: float) -> None:
    shuffled = np.array([3, 0, 4, 2, 1])
    page = turned(TWO_COLUMNS, degrees)[shuffled]
    assert shuffled[reading_order(page)].tolist() == [0, 1, 2, 3, 4]


def test_order_of_no_and_of_one_line() -> None:
    assert reading_order(TWO_COLUMNS[:0]).tolist() == []
    assert reading_order(TWO_COLUMNS[:1]).tolist() == [0]


@pytest.mark.parametrize("start", range(4))
@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("degrees", [-70, -30, 0, 30, 70])
def test_reading_starts_at_the_left_end_of_a_line(
    start: int, mirrored: bool, degrees: float
) -> None:
    expected = turned(line(10, 10, 100, 20), degrees)
    corners = np.roll(expected, start, axis=0)
    found = start_reading(corners[::-1] if mirrored else corners)
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("start", range(4))
@pytest.mark.parametrize("degrees", [-5, 0, 5])
def test_upright_lines_are_read_downwards(start: int, degrees: float) -> None:
    upright = turned(line(10, 10, 20, 100), degrees)
    found = start_reading(np.roll(upright, start, axis=0))
    assert found == pytest.approx(np.roll(upright, -1, axis=0))


def test_squarish_boxes_start_at_the_top_left() -> None:
    square = line(10, 10, 20, 25)
    assert start_reading(np.roll(square, 3, axis=0)) == pytest.approx(square)


def test_widths_follow_the_aspect_ratio_up_to_the_limit() -> None:
    polygons = np.stack([line(0, 0, 200, 20), line(0, 0, 10, 40), line(0, 0, 9000, 10)])
    assert recogniser_widths(polygons, 3200).tolist() == [480, 12, 3200]
    assert recognition_order(polygons).tolist() == [1, 0, 2]


@pytest.mark.parametrize("value", [None, [], np.zeros((3, 4)), np.zeros((1, 5, 2))])
def test_other_values_are_no_polygons(value: object) -> None:
    with pytest.raises(InvalidInput, match="polygons"):
        require_polygons(value)
