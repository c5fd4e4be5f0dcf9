"""Bad requests over HTTP: every row is refused as it says, and the server is well after it."""

import json
import time
from pathlib import Path

import pytest

from tests.faults.answers import identified, refused
from tests.faults.http_rows import (
    ALIASES,
    FORM,
    GOOD,
    JSON_LENGTH,
    NAMES,
    TENSORS,
    Row,
    body,
    of,
    tensor,
)
from tests.faults.server import InferencePlane
from tests.faults.wire import request

pytestmark = pytest.mark.integration

GROWTH_MIB = 10.0
"""Of what is refused before memory is taken for it; the request itself is smaller."""


@pytest.mark.parametrize("row", [*FORM, *TENSORS, *NAMES, *ALIASES], ids=str)
def test_fault(plane: InferencePlane, row: Row) -> None:
    started = time.monotonic()
    answer = plane.http(row.data)
    assert time.monotonic() - started < 1.0
    refused(answer, row.path, row.status, *row.words)
    identified(answer)
    plane.well()


@pytest.mark.parametrize("row", [row for row in TENSORS if row.number in (15, 16)], ids=str)
def test_fault_015_016_no_memory_is_taken_for_a_shape(plane: InferencePlane, row: Row) -> None:
    with plane.peak_within(GROWTH_MIB):
        plane.http(row.data)
    plane.well()


def test_fault_006_the_last_of_equal_keys_counts(plane: InferencePlane) -> None:
    twice = b'{"inputs": [], ' + GOOD[1:]
    answer = plane.http(request("POST", of("identity"), twice))
    assert answer.status == 200
    plane.well()


def test_fault_018_no_elements_for_a_model_that_allows_it(plane: InferencePlane) -> None:
    content = body(tensor(shape=[0], data=[]))
    answer = plane.http(request("POST", of("vector"), content))
    assert json.loads(answer.body)["outputs"][0] == {
        "name": "y",
        "datatype": "FP32",
        "shape": [0],
        "data": [],
    }
    plane.well()


def test_fault_020_zero_bytes_in_a_text_come_back(plane: InferencePlane) -> None:
    raw = b"\x03\0\0\0a\0b\x02\0\0\0\0c"
    header = body(
        {
            "name": "x",
            "shape": [1, 2],
            "datatype": "BYTES",
            "parameters": {"binary_data_size": len(raw)},
        },
        outputs=[{"name": "y", "parameters": {"binary_data": True}}],
    )
    data = request("POST", of("text"), header + raw, {JSON_LENGTH: str(len(header))})
    answer = plane.http(data)
    assert answer.status == 200
    assert answer.body.endswith(raw)
    plane.well()


def test_fault_026_nothing_on_disk_is_touched_and_no_log_line_is_forged(
    plane: InferencePlane,
) -> None:
    def files() -> dict[Path, int]:
        root = plane.log_file.parent
        found = (path for path in root.rglob("*") if path != plane.log_file)
        # The locks of models that are there are opened for writing, and stay empty.
        return {
            path: path.stat().st_size if path.suffix == ".changing" else path.stat().st_mtime_ns
            for path in found
        }

    before = files()
    for row in NAMES:
        plane.http(row.data)
    assert files() == before
    assert not [line for line in plane.log().splitlines() if line.startswith(("forged", "ERROR"))]
    plane.well()


@pytest.mark.parametrize("content_type", ["text/plain", "image/png", "", "application/xml"])
def test_fault_039_a_tensor_body_is_json_whatever_its_type_says(
    plane: InferencePlane, content_type: str
) -> None:
    data = request("POST", of("identity"), GOOD, {"content-type": content_type})
    assert plane.http(data).status == 200
    plane.well()


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "ä"])
def test_a_request_id_that_is_none_is_replaced(plane: InferencePlane, given: str) -> None:
    data = request("GET", "/v2", b"", {"x-request-id": given})
    assert len(plane.http(data).headers["x-request-id"]) == 32
