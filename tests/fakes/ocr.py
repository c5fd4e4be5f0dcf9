"""The packaged PP-OCR models, called directly, for tests that need real answers."""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from app.imaging.values import Floats, Image
from app.nodes.vision.text_detection import (
    DetectInputConfig,
    TextBoxesConfig,
    detect_input,
    text_boxes,
)
from app.types import Array, Tensors

_PACKAGE = find_spec("rapidocr")
needs_ocr = pytest.mark.skipif(_PACKAGE is None, reason="the extra `ocr` is not installed")


@cache
def session(part: str) -> onnxruntime.InferenceSession:
    """`part` is det or rec."""
    assert _PACKAGE is not None
    assert _PACKAGE.origin is not None
    weights = Path(_PACKAGE.origin).parent / "models" / f"PP-OCRv6_{part}_small.onnx"
    return onnxruntime.InferenceSession(weights, providers=["CPUExecutionProvider"])


def answer(part: str, batch: Array) -> Array:
    return np.asarray(session(part).run(None, {"x": batch})[0])


def listed_characters() -> tuple[str, ...]:
    """As the model file lists them: without the blank and the space."""
    return tuple(session("rec").get_modelmeta().custom_metadata_map["character"].splitlines())


def find_text(image: Image) -> Floats:
    found = detect_input(DetectInputConfig(), image)
    probabilities = answer("det", found.arrays[""])
    return text_boxes(TextBoxesConfig(), Tensors({"p": probabilities}, found.transform))
