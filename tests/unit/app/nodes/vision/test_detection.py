import re
from collections.abc import Callable
from functools import cache
from typing import TypeAlias

import numpy as np
import onnxruntime
import pytest

from app.errors import InferenceFailed, InvalidInput
from app.imaging.boxes import iou_matrix
from app.imaging.coco import COCO_LABELS
from app.imaging.heads import Asked, decode_fastestdet
from app.imaging.values import Floats
from app.nodes.vision.detection import (
    AutoConfig,
    DetectionConfig,
    FastestDetConfig,
    detect_auto,
    detect_fastestdet,
    detect_yolov5,
    detect_yolov8,
)
from app.nodes.vision.image import ToTensorConfig, to_tensor
from app.registry import NODES
from app.types import Array, Detections, ImageTransform, Tensors
from tests.paths import SHARED_DATA

# A picture of 1280 x 720 letterboxed into 640 x 640.
TRANSFORM = ImageTransform((720, 1280), (640, 640), 0.5, 0.5, pad_x=0, pad_y=140)
Detector: TypeAlias = Callable[[DetectionConfig, object], Detections]
FASTESTDET = SHARED_DATA / "models" / "fastestdet" / "model.onnx"
needs_photographs = pytest.mark.skipif(
    not FASTESTDET.exists(), reason="the shared weights and photographs are not beside the checkout"
)


def yolov5_output(*objects: tuple[float, float, float, float, float, int, float]) -> Floats:
    """Rows of (cx, cy, w, h, objectness, class, probability) among 25,200 candidates."""
    output = np.zeros((1, 25200, 85), np.float32)
    output[0, :, :4] = 50
    for row, (x, y, w, h, objectness, class_id, probability) in enumerate(objects):
        output[0, 1000 + row, :5] = x, y, w, h, objectness
        output[0, 1000 + row, 5 + class_id] = probability
    return output


def yolov8_output(*objects: tuple[float, float, float, float, float, int, float]) -> Floats:
    """The same objects as YOLOv8 would say it: objectness is part of the probability."""
    five = yolov5_output(*objects)
    eight = np.concatenate([five[..., :4], five[..., 5:] * five[..., 4:5]], axis=2)
    return np.ascontiguousarray(eight.transpose(0, 2, 1)[:, :, :8400])


OBJECTS = (
    (320.0, 320.0, 100.0, 60.0, 0.9, 5, 0.8),  # a bus
    (322.0, 321.0, 100.0, 60.0, 0.8, 5, 0.8),  # the same bus again, weaker
    (321.0, 320.0, 100.0, 60.0, 0.8, 0, 0.7),  # a person in the same place
    (10.0, 150.0, 60.0, 40.0, 1.0, 2, 0.95),  # a car across the left and the upper edge
    (500.0, 300.0, 30.0, 30.0, 0.4, 7, 0.5),  # 0.2: under the threshold
    (300.0, 60.0, 30.0, 30.0, 1.0, 7, 0.9),  # in the padding: outside the picture
)


def run(detector: Detector, output: Array, config: DetectionConfig | None = None) -> Detections:
    return detector(config or DetectionConfig(), Tensors({"output0": output}, TRANSFORM))


@pytest.mark.parametrize(
    ("detector", "output"),
    [
        (detect_yolov5, yolov5_output(*OBJECTS)),
        (detect_yolov8, yolov8_output(*OBJECTS)),
        (detect_auto, yolov5_output(*OBJECTS)),
        (detect_auto, yolov8_output(*OBJECTS)),
    ],
    ids=["yolov5", "yolov8", "auto v5", "auto v8"],
)
def test_known_objects_are_found_in_original_pixels(detector: Detector, output: Array) -> None:
    found = run(detector, output)
    assert found.classes.tolist() == [2, 5, 0]
    assert found.scores.tolist() == pytest.approx([0.95, 0.72, 0.56])
    assert found.boxes.tolist() == [
        [0, 0, 80, 60],
        [540, 300, 740, 420],
        [542, 300, 742, 420],
    ]
    assert [found.labels[c] for c in found.classes.tolist()] == ["car", "bus", "person"]
    dtypes = [str(array.dtype) for array in (found.boxes, found.scores, found.classes)]
    assert dtypes == ["float32", "float32", "int32"]


def test_fastestdet_cell_by_hand() -> None:
    output = np.full((1, 85, 22, 22), -20, np.float32)
    output[0, 0], output[0, 5:] = 0, 0
    # Cell row 10, column 5: centre half a cell to the right, a quarter and half of the picture.
    output[0, :5, 10, 5] = 0.9, np.arctanh(0.5), 0, np.log(0.25 / 0.75), 0
    output[0, 5 + 16, 10, 5] = 0.8
    boxes, scores, classes = decode_fastestdet(output, Asked((352, 352), 0.5, 80))
    assert classes.tolist() == [16]
    assert scores.tolist() == pytest.approx([0.9**0.6 * 0.8**0.4])
    assert boxes[0].tolist() == pytest.approx([88 - 44, 160 - 88, 88 + 44, 160 + 88], abs=1e-3)


def test_nothing_found_gives_empty_arrays() -> None:
    found = run(detect_yolov8, yolov8_output())
    assert found.boxes.shape == (0, 4)
    assert found.scores.shape == found.classes.shape == (0,)


def test_nan_and_infinity_are_dropped() -> None:
    output = yolov5_output(*OBJECTS[:1])
    output[0, 5, :5] = np.nan
    output[0, 6, :6] = np.inf, 1, 1, 1, 1, 1
    output[0, 7, :6] = 1, 1, 1, 1, np.inf, 1
    assert run(detect_yolov5, output).classes.tolist() == [5]


def test_a_flood_of_candidates_is_bounded() -> None:
    rng = np.random.default_rng(0)
    output = rng.random((1, 84, 8400), np.float32)
    output[0, :2] *= 600
    output[0, 2:4] = 4
    config = DetectionConfig(max_candidates=500, max_detections=40)
    found = run(detect_yolov8, output, config)
    assert len(found.boxes) == 40
    assert np.all(np.diff(found.scores.astype(float)) <= 0)


def test_half_precision_outputs_are_read() -> None:
    found = run(detect_yolov8, yolov8_output(*OBJECTS).astype(np.float16))
    assert found.classes.tolist() == [2, 5, 0]


@pytest.mark.parametrize(
    ("detector", "shape"),
    [
        (detect_yolov5, (2, 100, 85)),
        (detect_yolov5, (1, 100, 5)),
        (detect_yolov8, (1, 4, 8400)),
        (detect_fastestdet, (1, 84, 8400)),
        (detect_auto, (85,)),
        (detect_yolov5, (1, 8400, 85)),
        (detect_yolov8, (1, 84, 8401)),
    ],
)
def test_other_shapes_are_refused(detector: Detector, shape: tuple[int, ...]) -> None:
    with pytest.raises(InferenceFailed):
        run(detector, np.zeros(shape, np.float32))


OTHER_HEADS = {
    "end to end": (1, 300, 6),
    "pose": (1, 56, 8400),
    "segment": (1, 116, 8400),
    "oriented": (1, 20, 8400),
    "yolox": (1, 8400, 85),
}


@pytest.mark.parametrize("labels", [80, 15, 1, 0])
@pytest.mark.parametrize("head", OTHER_HEADS)
@pytest.mark.parametrize("detector", [detect_auto, detect_yolov5, detect_fastestdet])
def test_fault_166_other_heads_are_refused_with_their_shape(
    detector: Detector, head: str, labels: int
) -> None:
    shape = OTHER_HEADS[head]
    output = np.full(shape, 0.9, np.float32)
    config = DetectionConfig(labels=COCO_LABELS[:labels])
    with pytest.raises(InferenceFailed, match=re.escape(str(list(shape)))):
        run(detector, output, config)


@pytest.mark.parametrize("detector", [detect_yolov5, detect_yolov8, detect_auto])
def test_fault_166_a_score_that_is_no_probability_is_never_answered(detector: Detector) -> None:
    five, eight = yolov5_output(*OBJECTS), yolov8_output(*OBJECTS)
    five[0, 7, 4], five[0, 7, 6] = 0.9, 14.4
    eight[0, 6, 7] = 280
    for output in (five, eight):
        if detector is detect_auto or output.shape[1] == (
            84 if detector is detect_yolov8 else 25200
        ):
            with pytest.raises(InferenceFailed, match="no probability"):
                run(detector, output)


def test_classes_without_names_are_numbers() -> None:
    found = run(detect_yolov8, yolov8_output(*OBJECTS), DetectionConfig(labels=()))
    assert (found.classes.tolist(), found.labels) == ([2, 5, 0], ())


def test_inputs_that_cannot_be_decoded_are_named() -> None:
    output = yolov8_output()
    with pytest.raises(InvalidInput, match="transform"):
        detect_yolov8(DetectionConfig(), Tensors({"output0": output}))
    with pytest.raises(InvalidInput, match="tensors"):
        detect_yolov8(DetectionConfig(), "nothing")
    with pytest.raises(InferenceFailed, match="a, b"):
        detect_yolov8(DetectionConfig(), Tensors({"a": output, "b": output}, TRANSFORM))
    with pytest.raises(InferenceFailed, match="'boxes'"):
        run(detect_yolov8, output, DetectionConfig(output="boxes"))


def test_labels_and_names() -> None:
    assert len(COCO_LABELS) == len(set(COCO_LABELS)) == 80
    assert NODES.get("vision.yolo_nms").names[0] == "detection.yolov5"
    assert NODES.get("DetectionPost").names[0] == "detection.auto"
    assert NODES.get("DetectionPost").config.model_validate({"thresh": 0.5}) == AutoConfig()


@cache
def fastestdet(photograph: str) -> Detections:
    session = onnxruntime.InferenceSession(FASTESTDET, providers=["CPUExecutionProvider"])
    config = ToTensorConfig(width=352, height=352, letterbox=False, color="bgr", input="input.1")
    tensors = to_tensor(config, (SHARED_DATA / "images" / photograph).read_bytes())
    output = session.run(None, dict(tensors.arrays))[0]
    return detect_fastestdet(FastestDetConfig(), Tensors({"758": output}, tensors.transform))


@needs_photographs
@pytest.mark.parametrize(
    ("photograph", "label", "expected"),
    [
        ("0.jpg", "person", [(337, 198, 113, 224), (182, -20, 57, 138), (271, 296, 206, 151)]),
        ("1.jpg", "bus", [(46, 82, 534, 334)]),
        ("2.jpg", "person", [(353, 47, 123, 376), (81, 77, 139, 392), (235, 57, 107, 320)]),
    ],
)
def test_photographs(
    photograph: str, label: str, expected: list[tuple[float, float, float, float]]
) -> None:
    found = fastestdet(photograph)
    of_label = found.boxes[found.classes == COCO_LABELS.index(label)]
    corners = np.array([(x, max(0, y), x + w, y + h) for x, y, w, h in expected], np.float32)
    best = iou_matrix(corners, of_label.astype(np.float32)).max(axis=1)
    assert best.min() > 0.95


@needs_photographs
def test_the_bus_has_its_known_score() -> None:
    assert fastestdet("1.jpg").scores.tolist() == pytest.approx([0.96], abs=0.01)
