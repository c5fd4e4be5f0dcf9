import json
from collections.abc import Mapping
from typing import cast

from app.streams.counts import StreamCounts


def test_counts_by_source_and_in_total() -> None:
    counts = StreamCounts()
    counts.capture("a")
    counts.capture("a")
    counts.capture("b")
    counts.settle("a", "dropped", "late")
    counts.settle("b", "downgraded", "small_model")
    assert json.loads(json.dumps(counts.snapshot())) == {
        "total": {
            "captured": 3,
            "processed": 0,
            "downgraded": 1,
            "dropped": {"late": 1},
            "in_flight": 1,
        },
        "sources": {
            "a": {
                "captured": 2,
                "processed": 0,
                "downgraded": 0,
                "dropped": {"late": 1},
                "in_flight": 1,
            },
            "b": {
                "captured": 1,
                "processed": 0,
                "downgraded": 1,
                "dropped": {},
                "in_flight": 0,
            },
        },
    }


def test_sources_beyond_the_bound_share_one_key() -> None:
    counts = StreamCounts(max_sources=2)
    for number in range(1000):
        counts.capture(f"topic/{number}")
        counts.settle(f"topic/{number}", "processed")
    sources = cast(Mapping[str, Mapping[str, object]], counts.snapshot()["sources"])
    assert set(sources) == {"topic/0", "topic/1", "other"}
    assert sources["other"]["processed"] == 998
    assert sources["other"]["in_flight"] == 0


def test_reasons_beyond_the_bound_share_one_key() -> None:
    counts = StreamCounts(max_reasons=2)
    for number in range(10):
        counts.capture("s")
        counts.settle("s", "dropped", f"reason {number}")
    total = cast(Mapping[str, object], counts.snapshot()["total"])
    assert total["dropped"] == {"reason 0": 1, "reason 1": 1, "other": 8}
