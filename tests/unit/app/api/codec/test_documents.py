"""JSON bodies that are refused as a whole. Rows are those of the project's table of faults."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import InvalidInput
from tests.unit.app.api.json_bodies import (
    decode,
    refused,
    tensor,
)


@pytest.mark.parametrize("body", [b"{", b'{"inputs": [', b"hello", b"{'inputs': []}"])
def test_fault_001_what_is_not_json(body: bytes) -> None:
    refused(body, "not valid JSON")


def test_fault_002_empty_body() -> None:
    refused(b"", "not valid JSON")


@pytest.mark.parametrize("body", [b"[]", b"1", b'"text"', b"null", b"true"])
def test_fault_003_json_that_is_no_object(body: bytes) -> None:
    refused(body, "the body: must be a JSON object")


@pytest.mark.parametrize("depth", [33, 101, 1000, 250_000])
def test_fault_004_deep_nesting(depth: int) -> None:
    nested = b"[" * depth + b"1" + b"]" * depth
    for datatype in (b"FP32", b"BYTES"):
        start = b'{"inputs": [{"name": "x", "shape": [1], "datatype": "' + datatype
        refused(start + b'", "data": ' + nested + b"}]}", "nested more than 32|depth limit")


@pytest.mark.parametrize("depth", [100, 101, 1000])
def test_fault_004_deep_nesting_where_nothing_is_read(depth: int) -> None:
    body = b'{"inputs": [], "other": ' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"
    if depth == 100:
        assert not decode(body).inputs
    else:
        refused(body, "nested more than 100 deep")


@pytest.mark.parametrize("text", [b"\xff", b"\xed\xa0\x80", b"\\ud800"])
def test_fault_005_text_that_is_not_unicode(text: bytes) -> None:
    refused(b'{"id": "' + text + b'"}', "not valid JSON")


def test_fault_006_the_last_of_equal_keys_counts_and_nan_is_no_json() -> None:
    assert decode(b'{"id": "a", "id": "b"}').id == "b"
    for literal in (b"NaN", b"Infinity", b"-Infinity", b"1e999"):
        body = b'{"inputs": [{"name":"x","datatype":"FP32","shape":[1],"data":[' + literal + b"]}]}"
        refused(body, "not valid JSON")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"inputs": {}}, "inputs: must be an array"),
        ({"inputs": [1]}, r"inputs\[0\]: must be a JSON object"),
        ({"inputs": [tensor(), None]}, r"inputs\[1\]: must be a JSON object"),
        ({"inputs": [tensor(name=5)]}, r"inputs\[0\]\.name: must be a string"),
        ({"inputs": [tensor(name="")]}, r"inputs\[0\]\.name: must be a string"),
        ({"outputs": [{}]}, r"outputs\[0\]\.name: must be a string"),
        ({"outputs": ["y"]}, r"outputs\[0\]: must be a JSON object"),
        ({"parameters": []}, "parameters: must be a JSON object"),
        ({"id": 5}, "id must be a string"),
    ],
)
def test_fault_007_fields_of_another_form(body: object, reason: str) -> None:
    refused(body, reason)


def test_fault_009_the_same_input_twice() -> None:
    refused({"inputs": [tensor(), tensor()]}, r"inputs\[1\]\.name: 'x' is there twice")


@pytest.mark.parametrize("field", ["inputs", "outputs"])
def test_fault_011_too_many_tensors(field: str) -> None:
    body = b'{"%s": [%s]}' % (field.encode(), b",".join([b'{"name": "x"}'] * 100_000))
    refused(body, f"{field}: more than 256")


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    with contextlib.suppress(InvalidInput):
        decode(body)
