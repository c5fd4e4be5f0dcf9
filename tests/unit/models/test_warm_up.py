from dataclasses import replace

import numpy as np
import pytest

from app.errors import ConfigurationError
from app.types import Arrays, TensorSpec
from models.config import ModelConfig
from models.warm_up import warm_up
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
    probe = warm_up(model, ModelConfig())
    assert probe is not None
    assert probe["x"].tolist() == [[runs[-1]] * 3]
    assert [batch["x"].tolist() for batch in model.batches] == [[[run] * 3] for run in runs]


def test_fault_074_a_model_that_runs_neither_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="warm_up: the warm-up run failed: no 1"):
        warm_up(loaded({0.0, 1.0}), ModelConfig())


@pytest.mark.parametrize("datatype", ["INT32", "INT64"])
def test_values_that_may_be_sizes_cannot_be_guessed(
    datatype: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert warm_up(loaded({0.0, 1.0}, datatype), ModelConfig(name="m")) is None
    assert "'m' is served without a warm-up: the warm-up run failed: no 1" in caplog.text
    assert "under `warm_up` in model.yaml" in caplog.text
