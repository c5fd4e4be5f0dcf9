"""From a detector's raw output to objects in the original picture's pixels."""

from collections.abc import Callable

import numpy as np
from pydantic import Field

from app.imaging.boxes import suppress, to_original
from app.imaging.coco import COCO_LABELS
from app.imaging.heads import (
    Asked,
    Candidates,
    Decoder,
    decode_fastestdet,
    decode_yolov5,
    decode_yolov8,
    decoder_for,
)
from app.imaging.values import pick_output, require_tensors, require_transform
from app.nodes.flow.function import register_function
from app.registry import ComponentConfig
from app.types import Detections


class DetectionConfig(ComponentConfig):
    """Which candidates are kept, and what their classes are called.

    `thresh` is the least score, `iou` the overlap from which the weaker of two boxes of one class
    goes. Only the `max_candidates` best enter the suppression, whose cost grows with their
    square. `labels` are the names of the model's classes, all of them in its order: an output for
    more or fewer is refused; without any, classes are numbers. `output` names the model's output;
    empty means its only one.
    """

    thresh: float = Field(0.25, ge=0, lt=1)
    iou: float = Field(0.45, gt=0, le=1)
    max_candidates: int = Field(1000, gt=0)
    max_detections: int = Field(300, gt=0)
    labels: tuple[str, ...] = COCO_LABELS
    output: str = ""


class FastestDetConfig(DetectionConfig):
    """FastestDet's scores run higher than YOLO's."""

    thresh: float = Field(0.65, ge=0, lt=1)


class AutoConfig(DetectionConfig):
    """For any of the known outputs, told apart by their shape and the number of `labels`."""

    thresh: float = Field(0.5, ge=0, lt=1)


def _node(decoder: Decoder | None) -> Callable[[DetectionConfig, object], Detections]:
    def detect(config: DetectionConfig, value: object) -> Detections:
        """The model's output as Detections, best first, without doubles."""
        tensors = require_tensors(value)
        transform = require_transform(tensors)
        output = pick_output(tensors.arrays, config.output)
        asked = Asked(transform.model_size, config.thresh, len(config.labels))
        decode = decoder or decoder_for(output, asked)
        candidates = decode(output, asked)
        # Whatever lies wholly in the padding goes first, so that it takes nobody's place.
        mapped = to_original(candidates.boxes, transform)
        visible = np.flatnonzero((mapped[:, 2:] > mapped[:, :2]).all(axis=1))
        candidates = candidates.take(visible)
        best = _best(candidates, config)
        return Detections(
            boxes=to_original(best.boxes, transform),
            scores=best.scores,
            classes=best.classes,
            labels=config.labels,
        )

    return detect


def _best(candidates: Candidates, config: DetectionConfig) -> Candidates:
    strongest = np.argsort(-candidates.scores, kind="stable")[: config.max_candidates]
    candidates = candidates.take(strongest)
    kept = suppress(*candidates, config.iou)
    return candidates.take(kept[: config.max_detections])


detect_yolov5 = _node(decode_yolov5)
detect_yolov8 = _node(decode_yolov8)
detect_fastestdet = _node(decode_fastestdet)
detect_auto = _node(None)

register_function(
    "detection.yolov5", DetectionConfig, detect_yolov5, blocking=True, aliases=("vision.yolo_nms",)
)
register_function("detection.yolov8", DetectionConfig, detect_yolov8, blocking=True)
register_function("detection.fastestdet", FastestDetConfig, detect_fastestdet, blocking=True)
register_function(
    "detection.auto", AutoConfig, detect_auto, blocking=True, aliases=("DetectionPost",)
)
