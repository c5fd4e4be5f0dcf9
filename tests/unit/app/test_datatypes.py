import numpy as np
import pytest

from app.datatypes import DTYPES, bytes_to_text, datatype_of, dtype_of, text_to_bytes


@pytest.mark.parametrize("datatype", DTYPES)
def test_each_datatype_is_its_dtype_and_back(datatype: str) -> None:
    assert datatype_of(dtype_of(datatype)) == datatype


def test_byte_order_and_text_do_not_matter() -> None:
    assert datatype_of(">f4") == "FP32"
    assert datatype_of("U7") == datatype_of("S3") == "BYTES"


def test_what_has_no_name_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown datatype 'BF16'; known are: BOOL, UINT8"):
        dtype_of("BF16")
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
