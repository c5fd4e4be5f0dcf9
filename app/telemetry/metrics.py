"""The metrics catalogue: what `/metrics` shows, made from the status of every process.

Nothing is observed on the hot path but the counters that the status is read from.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from app.types import JsonValue

Status = Mapping[str, JsonValue]


@dataclass(frozen=True, slots=True)
class _Row:
    """One metric: the field of the status it is read from, and what it means."""

    name: str
    field: str
    help: str
    gauge: bool = False


_MODEL_ROWS = (
    _Row("manta_model_requests_succeeded", "succeeded", "Requests answered with a result."),
    _Row("manta_model_requests_failed", "failed", "Requests that the model failed on."),
    _Row("manta_model_requests_shed", "shed", "Requests refused because the queue was full."),
    _Row("manta_model_requests_expired", "expired", "Requests whose deadline could not be met."),
    _Row("manta_model_requests_cancelled", "cancelled", "Requests whose caller went away."),
    _Row("manta_model_runs", "runs", "Batches run."),
    _Row("manta_model_rows", "rows", "Rows in the batches run."),
    _Row("manta_model_queue_seconds", "queue_seconds", "Time that requests waited for a run."),
    _Row("manta_model_run_seconds", "run_seconds", "Time spent in runs."),
    _Row("manta_model_waiting", "waiting", "Requests that wait now.", gauge=True),
)
_PIPELINE_ROWS = (
    _Row("manta_pipeline_processed", "processed", "Messages processed."),
    _Row("manta_pipeline_downgraded", "downgraded", "Late messages given to the fallback."),
    _Row("manta_pipeline_dropped", "dropped", "Messages dropped."),
    _Row("manta_pipeline_failed", "failed", "Messages in which a node failed."),
    _Row("manta_pipeline_seconds", "seconds", "Time from a message's start to its end."),
)
_STREAM_ROWS = (
    _Row("manta_stream_captured", "captured", "Messages read from the source."),
    _Row("manta_stream_processed", "processed", "Messages processed."),
    _Row("manta_stream_downgraded", "downgraded", "Late messages given to the fallback."),
    _Row("manta_stream_in_flight", "in_flight", "Messages read and not done yet.", gauge=True),
)


def render_metrics(statuses: Iterable[Status]) -> bytes:
    """Prometheus text, one scrape for all processes."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_StatusCollector(list(statuses)))
    return generate_latest(registry)


class _StatusCollector(Collector):
    def __init__(self, statuses: list[Status]) -> None:
        self._statuses = statuses

    def collect(self) -> Iterator[Metric]:
        yield from self._family("model", "models", _MODEL_ROWS, "ready")
        yield from self._family("pipeline", "pipelines", _PIPELINE_ROWS, "ready")
        yield from self._family("connector", "connectors", (), "running")
        yield from self._streams()

    def _family(
        self, kind: str, section: str, rows: tuple[_Row, ...], good_state: str
    ) -> Iterator[Metric]:
        labels = (kind, "application", "replica")
        ready = GaugeMetricFamily(
            f"manta_{kind}_ready", f"1 while the {kind} is {good_state}.", labels=labels
        )
        families = [_family(row, labels) for row in rows]
        for status in self._statuses:
            for name, entry in _entries(status.get(section)):
                values = (name, str(status["application"]), str(status["replica"]))
                ready.add_metric(values, float(entry.get("state") == good_state))
                for row, family in zip(rows, families, strict=True):
                    family.add_metric(values, _number(entry.get(row.field)))
        yield ready
        yield from families

    def _streams(self) -> Iterator[Metric]:
        labels = ("connector", "source", "application", "replica")
        families = [_family(row, labels) for row in _STREAM_ROWS]
        dropped = CounterMetricFamily(
            "manta_stream_dropped", "Messages dropped, by reason.", labels=(*labels, "reason")
        )
        for status in self._statuses:
            who = (str(status["application"]), str(status["replica"]))
            for connector, entry in _entries(status.get("connectors")):
                counts = entry.get("counts")
                sources = counts.get("sources") if isinstance(counts, Mapping) else None
                for source, tally in _entries(sources):
                    values = (connector, source, *who)
                    for row, family in zip(_STREAM_ROWS, families, strict=True):
                        family.add_metric(values, _number(tally.get(row.field)))
                    reasons = tally.get("dropped")
                    for reason, count in reasons.items() if isinstance(reasons, Mapping) else ():
                        dropped.add_metric((*values, reason), _number(count))
        yield from families
        yield dropped


def _family(row: _Row, labels: tuple[str, ...]) -> CounterMetricFamily | GaugeMetricFamily:
    kind = GaugeMetricFamily if row.gauge else CounterMetricFamily
    return kind(row.name, row.help, labels=labels)


def _entries(section: JsonValue) -> Iterator[tuple[str, Mapping[str, JsonValue]]]:
    if isinstance(section, Mapping):
        for name, entry in section.items():
            if isinstance(entry, Mapping):
                yield name, entry


def _number(value: JsonValue) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
