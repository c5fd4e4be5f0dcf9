import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.imaging.boxes import iou_matrix, suppress, to_original
from app.types import ImageTransform


def test_iou_of_known_boxes() -> None:
    boxes = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30], [5, 5, 5, 5]], np.float32)
    overlaps = iou_matrix(boxes[:1], boxes)[0]
    assert overlaps.tolist() == pytest.approx([1, 1 / 3, 0, 0])


@given(st.integers(0, 2**32 - 1), st.integers(0, 60))
def test_suppression_agrees_with_the_textbook(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    corner = rng.random((count, 2)) * 100
    boxes = np.hstack([corner, corner + 5 + rng.random((count, 2)) * 60]).astype(np.float32)
    scores = rng.permutation(np.linspace(0.1, 1, max(count, 1)))[:count].astype(np.float32)
    classes = rng.integers(0, 3, count).astype(np.int32)
    overlap = iou_matrix(boxes, boxes)
    kept: list[int] = []
    for index in np.argsort(-scores):
        if all(classes[index] != classes[k] or overlap[index, k] <= 0.45 for k in kept):
            kept.append(int(index))
    assert suppress(boxes, scores, classes, 0.45).tolist() == kept


def test_mapping_back_undoes_the_transform_and_clips() -> None:
    transform = ImageTransform((480, 640), (320, 320), 0.5, 0.5, pad_x=0, pad_y=40)
    boxes = np.array([[10, 50, 60, 90], [-20, 0, 400, 400]], np.float32)
    assert to_original(boxes, transform).tolist() == [[20, 20, 120, 100], [0, 0, 640, 480]]
