from pathlib import Path

import numpy as np
import pytest

from app.errors import ConfigurationError
from app.types import ModelMetadata, TensorSpec
from models.repository.metadata import describe, warm_up_inputs
from models.repository.model_yaml import ModelConfig

DYNAMIC = (TensorSpec("x", "FP32", (-1, 3, -1)),)
FIXED = (TensorSpec("x", "FP32", (1, 3, 8)),)
SCALAR = (TensorSpec("x", "FP32", ()),)


def described(config: ModelConfig, inputs: tuple[TensorSpec, ...]) -> ModelMetadata:
    outputs = (TensorSpec("y", "FP32", (-1, 2)),)
    return describe(config, "1", platform="p", inputs=inputs, outputs=outputs, custom={})


def configured(directory: Path, text: str, **fields: object) -> ModelConfig:
    (directory / "model.yaml").write_text(text)
    return ModelConfig.model_validate({"name": "m", "directory": directory, **fields})


@pytest.mark.parametrize(
    ("inputs", "asked", "expected"),
    [
        (DYNAMIC, None, 32),
        (DYNAMIC, 4, 4),
        (DYNAMIC, 0, 0),
        (FIXED, None, 0),
        (FIXED, 0, 0),
        (SCALAR, None, 0),
        (DYNAMIC + FIXED, None, 0),
    ],
)
def test_a_model_is_stacked_if_all_its_tensors_can_be(
    inputs: tuple[TensorSpec, ...], asked: int | None, expected: int
) -> None:
    assert described(ModelConfig(max_batch_size=asked), inputs).max_batch_size == expected


def test_stacking_a_fixed_batch_is_refused(tmp_path: Path) -> None:
    config = configured(tmp_path, "\nmax_batch_size: 2\n", max_batch_size=2)
    with pytest.raises(ConfigurationError, match=r":2: max_batch_size: must be 0: .*\[1, 3, 8\]"):
        described(config, FIXED)


def test_labels_are_kept_under_their_output() -> None:
    config = ModelConfig(labels={"y": ("a", "b")})
    assert described(config, DYNAMIC).labels == {"y": ("a", "b")}


def test_labels_of_no_output_are_refused(tmp_path: Path) -> None:
    config = configured(tmp_path, "labels:\n  z: [a]\n", labels={"z": ("a",)})
    with pytest.raises(ConfigurationError, match=r":2: labels\.z: .*no such output; it has: y"):
        described(config, DYNAMIC)


@pytest.mark.parametrize(
    ("name", "shape", "reason"),
    [
        ("z", (1,), "no such input; it has: x"),
        ("x", (1, 3), r"\[1, 3\] does not fit the input's shape \[-1, 3, -1\]"),
        ("x", (1, 4, 5), r"\[1, 4, 5\] does not fit"),
    ],
)
def test_a_warm_up_that_does_not_fit_is_refused(
    tmp_path: Path, name: str, shape: tuple[int, ...], reason: str
) -> None:
    config = configured(tmp_path, f"warm_up:\n  {name}: {list(shape)}\n", warm_up={name: shape})
    with pytest.raises(ConfigurationError, match=rf":2: warm_up\.{name}: .*{reason}"):
        described(config, DYNAMIC)


def test_warm_up_fills_the_dynamic_dimensions() -> None:
    inputs = (*DYNAMIC, TensorSpec("s", "BYTES", (-1, 2)))
    config = ModelConfig(warm_up={"x": (2, 3, 7)})
    arrays = warm_up_inputs(config, described(config, inputs))
    assert (arrays["x"].shape, arrays["x"].dtype) == ((2, 3, 7), np.dtype(np.float32))
    assert arrays["s"].tolist() == [[b"", b""]]
