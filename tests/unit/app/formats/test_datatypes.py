import numpy as np
import pytest

from app.formats.datatypes import (
    DTYPES,
    bf16_to_float32,
    bytes_to_text,
    datatype_of,
    dtype_of,
    float32_to_bf16,
    float64_to_bf16,
    text_to_bytes,
)


@pytest.mark.parametrize("datatype", DTYPES)
def test_each_datatype_is_its_dtype_and_back(datatype: str) -> None:
    assert datatype_of(dtype_of(datatype)) == datatype


def test_byte_order_and_text_do_not_matter() -> None:
    assert datatype_of(">f4") == "FP32"
    assert datatype_of("U7") == datatype_of("S3") == "BYTES"


def test_what_has_no_name_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown datatype 'FP33'; known are: BOOL, UINT8"):
        dtype_of("FP33")
    with pytest.raises(ValueError, match="complex64 has no v2 datatype"):
        datatype_of(np.complex64)


def test_text_survives_the_way_through_bytes() -> None:
    text = np.array([["é", ""], ["a\nb", "水"]], dtype=object)
    encoded = text_to_bytes(text)
    assert encoded[1, 1] == "水".encode()
    assert bytes_to_text(encoded).tolist() == text.tolist()


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(UnicodeDecodeError):
        bytes_to_text(np.array([b"\xff"], dtype=object))


def test_bf16_is_the_upper_half_of_float32() -> None:
    values = np.array([[0.0, -0.0, 1.0], [-2.5, np.inf, 3.389531389e38]], np.float32)
    assert bf16_to_float32(float32_to_bf16(values)).tobytes() == values.tobytes()
    assert float32_to_bf16(np.array([1.0], np.float32)).tobytes() == b"\x80\x3f"
    assert np.isnan(bf16_to_float32(float32_to_bf16(np.array([np.nan], np.float32)))).all()


def test_bf16_rounds_to_the_nearest_and_ties_to_even() -> None:
    one, step = 1.0, 2.0**-7
    values = np.array([one + step / 2, one + step * 1.5, one + step * 0.51], np.float32)
    rounded = bf16_to_float32(float32_to_bf16(values))
    assert rounded.tolist() == [one, one + 2 * step, one + step]


@pytest.mark.parametrize(
    ("value", "nearest"),
    [
        (1.0039062500009095, 1.0078125),
        (-1.0039062500009095, -1.0078125),
        (1.00390625, 1.0),
        (1.0117187499990905, 1.0078125),
        (1.01171875, 1.015625),
        (3.3895313892515355e38, 3.3895313892515355e38),
        (3.4e38, np.inf),
        (1e300, np.inf),
        (1e-300, 0.0),
        (5e-41, 9.183549615799121e-41),
        (4.5917748078995606e-41 * (1 + 2**-40), 9.183549615799121e-41),
        (4.5917748078995606e-41, 0.0),
    ],
)
def test_a_double_is_rounded_to_bf16_once(value: float, nearest: float) -> None:
    assert bf16_to_float32(float64_to_bf16(np.array([value]))).tolist() == [nearest]


def test_a_double_that_is_no_number_stays_none() -> None:
    values = bf16_to_float32(float64_to_bf16(np.array([np.nan, np.inf, -np.inf])))
    assert np.isnan(values[0])
    assert values[1:].tolist() == [np.inf, -np.inf]
