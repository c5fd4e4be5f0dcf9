"""What is read from the output of load generators. The texts are shortened, and in their form."""

import pytest

from benchmarks.h2load import read_result
from benchmarks.load import LoadFailed
from benchmarks.perf_analyzer import read_table

H2LOAD = """\
finished in {finished}, 2021.00 req/s, 208.09KB/s
requests: {done} total, 2025 started, {done} done, {done} succeeded, 0 failed, 0 errored, 0 timeout
status codes: {done} 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 208.09KB (213087) total, 6.21KB (6363) headers (space savings 96.11%), 1KB ({data}) data
"""
LOG = ["1795237810853793\t200\t1000", "1795237810853774\t200\t3000", "1795237810853800\t200\t2000"]
REPLY_BYTES = 41
"""With the five of its frame 46."""


def test_answers_over_grpc_are_counted_with_their_latencies() -> None:
    output = H2LOAD.format(finished="2.00s", done=100, data=4600)
    result = read_result(output, LOG, REPLY_BYTES)
    assert (result.rate, result.failed, result.p50) == (50.0, 0, 2.0)
    assert 2.0 < result.p90 < result.p99 < 3.0


def test_answers_without_a_message_are_failures_though_their_status_is_200() -> None:
    output = H2LOAD.format(finished="500.00ms", done=100, data=4600 - 25 * 46)
    result = read_result(output, LOG, REPLY_BYTES)
    assert (result.rate, result.failed) == (150.0, 25)


def test_bytes_of_an_answer_that_was_cut_off_make_no_request_more() -> None:
    output = H2LOAD.format(finished="1.00s", done=100, data=4600 + 46)
    assert read_result(output, LOG, REPLY_BYTES).rate == 100.0


@pytest.mark.parametrize("log", [[], LOG[:1]])
def test_without_answers_there_is_no_result(log: list[str]) -> None:
    with pytest.raises(LoadFailed):
        read_result(H2LOAD.format(finished="1.00s", done=0, data=0), log, REPLY_BYTES)
    with pytest.raises(LoadFailed):
        read_result("", LOG, REPLY_BYTES)


def test_the_last_line_of_perf_analyzers_table_counts() -> None:
    text = (
        "Concurrency,Inferences/Second,Client Send,p50 latency,p90 latency,p95 latency,p99 latency"
        "\n1,900.5,1,1000,1500,1700,2000\n16,2000.25,1,8000,9000,9500,10000\n"
    )
    result = read_table(text)
    assert (result.rate, result.p50, result.p90, result.p99) == (2000.25, 8.0, 9.0, 10.0)
    with pytest.raises(LoadFailed):
        read_table(text.splitlines()[0])
