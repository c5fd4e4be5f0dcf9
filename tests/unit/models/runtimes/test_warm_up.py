from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from app.errors import ConfigurationError
from app.types import Arrays, TensorSpec
from models.repository.model_yaml import ModelConfig
from models.runtimes.warm_up import warm_up
from tests.fakes.models import METADATA, FakeModel, doubled


def loaded(refused: set[float], datatype: str = "FP32") -> FakeModel:
    """A model that fails where the first value of its input is one of `refused`."""

    def answer(inputs: Arrays) -> Arrays:
        first = float(inputs["x"].astype(np.float64).flat[0])
        if first in refused:
            raise OSError(f"no {first:g}")
        return doubled(inputs)

    metadata = replace(METADATA, inputs=(TensorSpec("x", datatype, (-1, 3)),))
    model = FakeModel(answer, metadata=metadata)
    model.load()
    return model


@pytest.mark.parametrize(("refused", "runs"), [(set[float](), [1]), ({1.0}, [1, 0])])
def test_ones_are_tried_first_and_then_zeros(refused: set[float], runs: list[int]) -> None:
    model = loaded(refused)
    probe = warm_up(model, ModelConfig()).inputs
    assert probe is not None
    assert probe["x"].tolist() == [[runs[-1]] * 3]
    first = [batch["x"].tolist() for batch in model.batches]
    assert first == [[[run] * 3] for run in runs]


def test_fault_074_a_model_that_runs_neither_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="warm_up: the warm-up run failed: no 1"):
        warm_up(loaded({0.0, 1.0}), ModelConfig())


def of_sizes(shape: tuple[int, ...], fits: Callable[[tuple[int, ...]], bool]) -> FakeModel:
    """A model that runs inputs of `shape` only where they are of sizes that fit."""

    def answer(inputs: Arrays) -> Arrays:
        if not fits(inputs["x"].shape):
            raise ValueError("another size")
        return doubled(inputs)

    metadata = replace(METADATA, inputs=(TensorSpec("x", "FP32", shape),), max_batch_size=0)
    model = FakeModel(answer, metadata=metadata)
    model.load()
    return model


@pytest.mark.parametrize(
    ("shape", "fits", "found"),
    [
        ((-1, 3, -1, -1), lambda s: s[2] % 32 == 0 == s[3] % 32, (1, 3, 32, 32)),
        ((-1, -1, -1, 3), lambda s: s[1:3] == (224, 224), (1, 224, 224, 3)),
        ((-1, -1, -1, -1), lambda s: s[1] == 1 and s[2] >= 320, (1, 1, 320, 320)),
        ((1, 3, 640, -1), lambda s: s[3] == 640, (1, 3, 640, 640)),
        ((-1,), lambda s: s[0] >= 16000, (16000,)),
        ((-1, 80, -1), lambda s: s[2] >= 400, (1, 80, 640)),
    ],
)
def test_sizes_that_make_sense_are_tried_where_the_file_leaves_them_open(
    shape: tuple[int, ...], fits: Callable[[tuple[int, ...]], bool], found: tuple[int, ...]
) -> None:
    ran = warm_up(of_sizes(shape, fits), ModelConfig())
    assert ran.inputs is not None
    assert ran.inputs["x"].shape == found
    assert ran.outputs is not None
    assert ran.reason == ""


def test_a_model_of_no_size_that_was_tried_is_ready_and_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ran = warm_up(of_sizes((-1, 3, -1, -1), lambda s: s[2] == 37), ModelConfig(name="m"))
    assert ran.inputs is None
    assert ran.reason.startswith("not tried: no size that was tried can be run, the last being x [")
    assert "'m' is served without a warm-up: not tried" in caplog.text


@pytest.mark.parametrize(
    ("shape", "given"), [((-1, 3), {}), ((1, 3), {}), ((-1, 3, -1), {"x": (1, 3, 8)})]
)
def test_a_model_that_fails_where_no_size_is_open_is_broken(
    shape: tuple[int, ...], given: dict[str, tuple[int, ...]]
) -> None:
    model = of_sizes(shape, lambda _: False)
    with pytest.raises(ConfigurationError, match="the warm-up run failed: another size"):
        warm_up(model, ModelConfig(warm_up=given))


@pytest.mark.parametrize("datatype", ["INT32", "INT64"])
def test_values_that_may_be_sizes_cannot_be_guessed(
    datatype: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert warm_up(loaded({0.0, 1.0}, datatype), ModelConfig(name="m")).inputs is None
    assert "'m' is served without a warm-up: not tried: the warm-up run failed: no 1" in caplog.text
    assert "under `warm_up` in model.yaml" in caplog.text
