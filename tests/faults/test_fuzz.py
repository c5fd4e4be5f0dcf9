"""A short run of each fuzzer; `python -m tests.faults.fuzz_http` or `fuzz_grpc` is a long one."""

import pytest

from tests.faults import fuzz_grpc, fuzz_http
from tests.faults.server import InferencePlane
from tests.faults.wire import Answer

pytestmark = pytest.mark.integration


def test_damaged_http_requests(plane: InferencePlane) -> None:
    report = fuzz_http.run(plane, start=0, count=5000, seed=0)
    report.check()
    assert report.answers["200"] > 500, "nearly everything is refused: too much damage to find much"
    assert report.answers["400"] > 500


def test_damaged_grpc_messages(plane: InferencePlane) -> None:
    report = fuzz_grpc.run(plane, start=0, count=5000, seed=0)
    report.check()
    assert report.answers["OK"] > 500
    assert report.answers["INVALID_ARGUMENT"] > 500


JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    "answer",
    [
        Answer(500, JSON, b'{"error": "internal error"}'),
        Answer(503, {"content-type": "text/plain"}, b"Service Unavailable"),
        Answer(400, JSON, b"Bad Request"),
        Answer(400, JSON, b'{"detail": "wrong"}'),
        Answer(400, JSON, b'{"error": "no file /var/lib/model.onnx"}'),
        Answer(302, JSON, b""),
    ],
)
def test_a_bad_answer_is_found(answer: Answer) -> None:
    assert fuzz_http.problem_of(answer, "POST")
