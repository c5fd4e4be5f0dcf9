"""`manta status`: what the server holds and what became of its work, as tables."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from app.types import JsonValue
from cli.columns import legend, narrowed, new_table
from cli.server import Json, mapping

GOOD = ("ready", "running", "finished")
ACCOUNT = "captured = processed + downgraded + dropped + in flight"
WAITING = ("loading", "connecting", "backing_off")


@dataclass
class Rates:
    """Turns counters into rates per second, from one look to the next.

    A counter that is new, or lower than before because its process started again, has no rate yet.
    """

    _before: dict[tuple[str, ...], float] = field(default_factory=dict)
    _now: dict[tuple[str, ...], float] = field(default_factory=dict)
    _looked_at: float | None = None
    _elapsed: float = 0.0

    def look(self, at: float) -> None:
        """A new look begins, `at` seconds of a clock that only goes forward."""
        self._elapsed = 0.0 if self._looked_at is None else at - self._looked_at
        self._looked_at = at
        self._before, self._now = self._now, {}

    def of(self, counter: tuple[str, ...], value: float) -> str:
        self._now[counter] = value
        before = self._before.get(counter)
        if before is None or value < before or self._elapsed <= 0:
            return "-"
        return f"{(value - before) / self._elapsed:.1f}"


def view(status: Json, rates: Rates | None = None, *, wide: bool = False) -> RenderableType:
    """Three tables and what their columns mean; with `rates` also how much of each happens in a
    second. Columns that say nothing are left out, unless it is to be `wide`."""
    processes = status.get("processes")
    known = [mapping(each) for each in processes] if isinstance(processes, list) else []
    tables = [_models(known, rates), _pipelines(known, rates), _connectors(known, rates)]
    models, pipelines, connectors = tables if wide else map(narrowed, tables)
    return Group(
        *_section(models, known, "models", "reason"),
        *_section(pipelines, known, "pipelines", "reason", "last_error"),
        *_section(connectors, known, "connectors", "last_error"),
        Text(ACCOUNT, style="dim"),
        legend((models, pipelines, connectors)),
    )


def _section(
    table: Table, processes: Sequence[Json], section: str, *fields: str
) -> Iterator[RenderableType]:
    """The table, and below it what its entries say of themselves: texts are too long for a cell."""
    if not table.row_count:
        yield Text.assemble((str(table.title), "bold"), "  none\n")
        return
    yield table
    for _, name, entry in _entries(processes, section):
        for field_name in fields:
            if text := _text(entry, field_name):
                what = field_name.replace("_", " ")
                yield Text.assemble((f"{name} ", "bold"), (f"{what}: ", "dim"), text)
    yield Text()


def _models(processes: Sequence[Json], rates: Rates | None) -> Table:
    table = _table("Models", "model", "state", "application", "replica")
    _numbers(table, "ok", "failed", "shed", "expired", *(["ok/s"] if rates else []))
    _numbers(table, "rows/run", "queue ms", "run ms")
    for process, name, entry in _entries(processes, "models"):
        ran = _count(entry, "succeeded") + _count(entry, "failed")
        table.add_row(
            name,
            _state(entry),
            *_place(process),
            *(_whole(entry, key) for key in ("succeeded", "failed", "shed", "expired")),
            *_rate(rates, process, name, entry, "succeeded"),
            _mean(_count(entry, "rows"), _count(entry, "runs")),
            _mean(1000 * _count(entry, "queue_seconds"), ran),
            _mean(1000 * _count(entry, "run_seconds"), _count(entry, "runs")),
        )
    return table


def _pipelines(processes: Sequence[Json], rates: Rates | None) -> Table:
    table = _table("Pipelines", "pipeline", "state", "application", "replica")
    _numbers(table, "processed", "downgraded", "dropped", "failed")
    _numbers(table, *(["processed/s"] if rates else []), "mean ms")
    for process, name, entry in _entries(processes, "pipelines"):
        outcomes = ("processed", "downgraded", "dropped")
        table.add_row(
            name,
            _state(entry),
            *_place(process),
            *(_whole(entry, key) for key in (*outcomes, "failed")),
            *_rate(rates, process, name, entry, "processed"),
            _mean(1000 * _count(entry, "seconds"), sum(_count(entry, key) for key in outcomes)),
        )
    return table


def _connectors(processes: Sequence[Json], rates: Rates | None) -> Table:
    """A row for each connector, all its sources together, and one for each of these."""
    table = _table("Connectors", "connector and its sources", "state")
    _numbers(table, "captured", "processed", "downgraded", "dropped", "in flight")
    _numbers(table, *(["captured/s"] if rates else []))
    table.add_column("dropped for", overflow="fold", min_width=11)
    for process, name, entry in _entries(processes, "connectors"):
        counts = mapping(entry.get("counts"))
        rows = {"": mapping(counts.get("total")), **_objects(counts.get("sources"))}
        for source, tally in rows.items():
            place = Text.assemble(name, (f" in {_text(process, 'application')}", "dim"))
            table.add_row(
                Text(f"  {source}", style="dim") if source else place,
                "" if source else _state(entry),
                *(_whole(tally, key) for key in ("captured", "processed", "downgraded")),
                f"{sum(_dropped(tally).values()):,}",
                _whole(tally, "in_flight"),
                *_rate(rates, process, f"{name}/{source}", tally, "captured"),
                ", ".join(f"{reason} {count:,}" for reason, count in _dropped(tally).items()),
            )
    return table


def _entries(processes: Sequence[Json], section: str) -> Iterator[tuple[Json, str, Json]]:
    """(process, name, entry), those with one name together."""
    found = [
        (process, name, mapping(entry))
        for process in processes
        for name, entry in mapping(process.get(section)).items()
    ]
    return iter(sorted(found, key=lambda each: (each[1], _text(each[0], "application"))))


def _table(title: str, *columns: str) -> Table:
    table = new_table(title)
    for column in columns:
        table.add_column(column, no_wrap=True)
    return table


def _numbers(table: Table, *columns: str) -> None:
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)


def _state(entry: Json) -> Text:
    state = _text(entry, "state")
    style = "green" if state in GOOD else "yellow" if state in WAITING else "red"
    return Text(state, style=style)


def _place(process: Json) -> tuple[str, str]:
    return _text(process, "application"), _text(process, "replica")


def _rate(rates: Rates | None, process: Json, name: str, entry: Json, key: str) -> list[str]:
    if rates is None:
        return []
    return [rates.of((*_place(process), name, key), _count(entry, key))]


def _objects(value: JsonValue) -> dict[str, Json]:
    return {name: mapping(entry) for name, entry in sorted(mapping(value).items())}


def _dropped(tally: Json) -> dict[str, int]:
    """How many, by reason."""
    reasons = sorted(mapping(tally.get("dropped")).items())
    return {reason: count for reason, count in reasons if isinstance(count, int)}


def _count(entry: Json, key: str) -> float:
    value = entry.get(key)
    return value if isinstance(value, int | float) else 0.0


def _whole(entry: Json, key: str) -> str:
    """A count; "-" where there is none, as for a model that failed to load."""
    value = entry.get(key)
    return f"{value:,}" if isinstance(value, int) else "-"


def _mean(total: float, number: float) -> str:
    return f"{total / number:,.1f}" if number else "-"


def _text(entry: Json, key: str) -> str:
    value = entry.get(key)
    return value if isinstance(value, str) else ""
