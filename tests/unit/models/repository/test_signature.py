"""Which outputs a new version may have: what is said of their shapes may have been corrected."""

from dataclasses import replace

import pytest

from app.errors import ConfigurationError
from app.types import ModelMetadata, TensorSpec
from models.repository.signature import check_takes_over
from tests.fakes.models import METADATA


def answering(*shape: int) -> ModelMetadata:
    return replace(METADATA, outputs=(TensorSpec("y", "FP32", shape),))


@pytest.mark.parametrize(
    ("old", "new"), [((), (-1, 5)), ((-1, 5), ()), ((-1, -1), (-1, 5)), ((-1, 5), (-1, 3))]
)
def test_fault_153_an_output_of_any_shape_takes_over(
    old: tuple[int, ...], new: tuple[int, ...]
) -> None:
    check_takes_over(answering(*old), answering(*new))


def test_an_output_of_other_dimensions_does_not() -> None:
    with pytest.raises(ConfigurationError, match="output 'y' is not what it is"):
        check_takes_over(answering(-1, 5), answering(-1, 5, 5))
