import cv2
import numpy as np
import pytest

from app.errors import InferenceFailed, InvalidInput
from app.imaging.values import Floats
from app.nodes.vision.text_detection import (
    DetectInputConfig,
    TextBoxesConfig,
    detect_input,
    text_boxes,
)
from app.types import ImageTransform, Tensors

IDENTITY = ImageTransform((320, 480), (320, 480))


def shape_of(height: int, width: int) -> tuple[int, ...]:
    return (
        detect_input(DetectInputConfig(), np.zeros((height, width, 3), np.uint8)).arrays[""].shape
    )


def probability_map(*rectangles: tuple[tuple[float, float], tuple[float, float], float]) -> Tensors:
    """Rectangles of (centre, size, degrees) marked as text in a map of 320 x 480."""
    drawn = np.full((320, 480), 0.02, np.float32)
    for rectangle in rectangles:
        corners = np.rint(cv2.boxPoints(rectangle)).astype(np.int32)
        cv2.fillPoly(drawn, [corners], (0.9,))
    return Tensors({"": drawn[None, None]}, IDENTITY)


def sides(polygon: Floats) -> list[float]:
    return [float(s) for s in np.linalg.norm(np.roll(polygon, -1, axis=0) - polygon, axis=1)[:2]]


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((191, 384), (736, 1472)),  # grown to the shorter side, as the detector's trainers do
        ((1000, 1500), (992, 1504)),  # large enough: only made whole multiples of 32
        ((3000, 4000), (1504, 2016)),  # shrunk to the longer side
        ((20, 100), (736, 1216)),  # a strip is padded to 60 rows first
        ((100, 2000), (736, 2944)),  # and a long one to a quarter of its length
        ((2000, 100), (2944, 736)),
        ((1, 1), (736, 736)),
    ],
)
def test_size_the_detector_sees(size: tuple[int, int], expected: tuple[int, int]) -> None:
    height, width = expected
    found = shape_of(*size)
    assert found[:2] == (1, 3)
    assert abs(found[2] - height) <= 32
    assert abs(found[3] - width) <= 32
    assert found[2] % 32 == found[3] % 32 == 0


def test_values_are_normalised_and_strips_are_padded_with_black() -> None:
    picture = np.full((40, 800, 3), (255, 127.5, 0), np.uint8)
    tensors = detect_input(DetectInputConfig(input="x"), picture)
    array, transform = tensors.arrays["x"], tensors.transform
    assert transform is not None
    assert transform.pad_y > 0
    middle = array[0, :, array.shape[2] // 2, 10]
    assert middle.tolist() == pytest.approx([1, -0.004, -1], abs=0.005)
    assert array[0, :, 0, 10].tolist() == [-1, -1, -1]


def test_a_line_is_found_and_grown_by_the_unclip_distance() -> None:
    polygons = text_boxes(TextBoxesConfig(), probability_map(((240, 160), (200, 20), 0)))
    assert polygons.shape == (1, 4, 2)
    grown = 2 * (200 * 20 * 1.6 / (2 * (200 + 20)))
    assert sides(polygons[0]) == pytest.approx([200 + grown, 20 + grown], abs=3)
    assert polygons[0].mean(axis=0).tolist() == pytest.approx([240, 160], abs=1)


def test_growing_is_what_polygon_offsetting_gives() -> None:
    pyclipper = pytest.importorskip("pyclipper", reason="the extra `ocr` is not installed")
    rectangle = ((240.0, 160.0), (180.0, 24.0), 20.0)
    polygon = text_boxes(TextBoxesConfig(), probability_map(rectangle))[0]
    drawn = (probability_map(rectangle).arrays[""][0, 0] > 0.3).astype(np.uint8)
    drawn = np.asarray(cv2.dilate(drawn, np.ones((2, 2), np.uint8)), np.uint8)
    contour = cv2.findContours(drawn, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)[0][0]
    core = cv2.minAreaRect(np.asarray(contour, np.int32))
    width, height = core[1]
    offset = pyclipper.PyclipperOffset()
    path = pyclipper.scale_to_clipper(cv2.boxPoints(core).tolist(), 1024)
    offset.AddPath(path, pyclipper.JT_ROUND, pyclipper.ET_CLOSEDPOLYGON)
    distance = width * height * 1.6 / (2 * (width + height))
    grown = np.array(offset.Execute(distance * 1024)[0], np.float32) / 1024
    expected = sorted(cv2.minAreaRect(grown)[1])
    assert sorted(sides(polygon)) == pytest.approx(expected, abs=0.1)


def test_boxes_come_in_reading_order_and_original_pixels() -> None:
    tensors = probability_map(
        ((350, 60), (120, 14), 0), ((90, 62), (120, 14), 0), ((90, 200), (90, 14), 0)
    )
    transform = ImageTransform((160, 960), (320, 480), 0.5, 2.0, pad_x=0, pad_y=0)
    polygons = text_boxes(TextBoxesConfig(), Tensors(tensors.arrays, transform))
    centres = polygons.mean(axis=1)
    assert centres == pytest.approx(np.array([[180, 31], [700, 30], [180, 100]]), abs=2)


def test_boxes_stay_in_the_picture() -> None:
    polygons = text_boxes(TextBoxesConfig(), probability_map(((20, 6), (200, 16), 0)))
    assert polygons.min() >= 0


def test_specks_and_weak_regions_are_dropped() -> None:
    tensors = probability_map(((50, 50), (1, 1), 0))
    weak = tensors.arrays[""].copy()
    weak[0, 0, 100:120, 100:300] = 0.4
    assert text_boxes(TextBoxesConfig(), Tensors({"": weak}, IDENTITY)).shape == (0, 4, 2)


def test_an_empty_map_gives_no_boxes() -> None:
    assert text_boxes(TextBoxesConfig(), probability_map()).shape == (0, 4, 2)


def test_other_outputs_are_refused() -> None:
    with pytest.raises(InferenceFailed, match="text detector"):
        text_boxes(TextBoxesConfig(), Tensors({"": np.zeros((1, 2, 32, 32))}, IDENTITY))
    with pytest.raises(InvalidInput, match="transform"):
        text_boxes(TextBoxesConfig(), Tensors({"": np.zeros((1, 1, 32, 32))}))
