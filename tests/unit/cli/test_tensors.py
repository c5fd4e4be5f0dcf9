import numpy as np
import pytest

from app.errors import InvalidInput
from app.types import Array, TensorSpec
from cli.tensors import fitted


@pytest.mark.parametrize(
    ("wanted", "given", "fits_as"),
    [
        ((-1, 5), (2, 5), (2, 5)),
        ((-1, 5), (5,), (1, 5)),
        ((-1, 5), (10,), (2, 5)),
        ((-1, 1, 8, 8), (8, 8), (1, 1, 8, 8)),
        ((-1, 3, -1, -1), (3, 4, 6), (1, 3, 4, 6)),
        ((-1,), (4,), (4,)),
        ((2, 3), (6,), (2, 3)),
        ((-1, 1), (), (1, 1)),
    ],
)
def test_shapes_that_fit(
    wanted: tuple[int, ...], given: tuple[int, ...], fits_as: tuple[int, ...]
) -> None:
    array = np.arange(np.prod(given, dtype=int), dtype=np.float32).reshape(given)
    fitting = fitted(TensorSpec("x", "FP32", wanted), array)
    assert fitting.shape == fits_as
    np.testing.assert_array_equal(fitting.ravel(), array.ravel())


@pytest.mark.parametrize(
    ("wanted", "given"),
    [((-1, 5), (4,)), ((-1, 3, -1, -1), (3, 24)), ((2, 3), (2, 2)), ((-1, 5), (0, 3))],
)
def test_shapes_that_do_not(wanted: tuple[int, ...], given: tuple[int, ...]) -> None:
    with pytest.raises(InvalidInput, match="'x' takes shape"):
        fitted(TensorSpec("x", "FP32", wanted), np.zeros(given, np.float32))


@pytest.mark.parametrize(
    ("datatype", "values"),
    [
        ("UINT8", np.array([0.0, 255.0])),
        ("FP16", np.array([1, 2])),
        ("BOOL", np.array([0, 1])),
        ("BYTES", np.array(["a", "b"])),
    ],
)
def test_values_that_a_type_holds(datatype: str, values: Array) -> None:
    assert fitted(TensorSpec("x", datatype, (2,)), values).tolist() == values.tolist()


@pytest.mark.parametrize(
    ("datatype", "values"),
    [
        ("UINT8", np.array([0.5])),
        ("UINT8", np.array([256])),
        ("INT64", np.array([np.nan])),
        ("FP32", np.array(["a"])),
        ("BYTES", np.array([1])),
    ],
)
def test_values_that_a_type_does_not_hold(datatype: str, values: Array) -> None:
    with pytest.raises(InvalidInput, match=f"'x' takes ({datatype}|text)"):
        fitted(TensorSpec("x", datatype, (1,)), values)
