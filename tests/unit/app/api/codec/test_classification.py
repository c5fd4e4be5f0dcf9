"""The best classes of an output, as text."""

import numpy as np
import numpy.typing as npt
import pytest

from app.api.codec.classification import classified
from app.errors import InvalidInput
from app.types import Array, InferenceResponse
from tests.fakes.models import METADATA


def best(scores: Array) -> list[list[bytes]]:
    response = InferenceResponse("m", "1", {"y": scores})
    told: list[list[bytes]] = classified(response, {"y": 2}, METADATA).outputs["y"].tolist()
    return told


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.uint16, np.uint64])
def test_whole_numbers_have_no_decimals(dtype: npt.DTypeLike) -> None:
    rows = np.array([[3, 9, 4], [100, 1, 0]], dtype)
    assert best(rows) == [[b"9:1", b"4:2"], [b"100:0", b"1:1"]]


def test_whole_numbers_that_are_one_as_floats_are_told_apart() -> None:
    assert best(np.array([[2**62, 2**62 + 1]])) == [
        [b"4611686018427387905:1", b"4611686018427387904:0"]
    ]


def test_whole_numbers_are_told_in_full() -> None:
    assert best(np.array([[-(2**63), 2**63 - 1]])) == [
        [b"9223372036854775807:1", b"-9223372036854775808:0"]
    ]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_other_numbers_have_six_decimals(dtype: npt.DTypeLike) -> None:
    rows = np.array([[0.25, 9, -np.inf]], dtype)
    assert best(rows) == [[b"9.000000:1", b"0.250000:0"]]


@pytest.mark.parametrize("scores", [np.array([[True]]), np.array([[b"a"]], np.object_)])
def test_what_is_no_number_has_no_classes(scores: Array) -> None:
    with pytest.raises(InvalidInput, match="'y' cannot be classified"):
        best(scores)
