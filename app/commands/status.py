"""`manta status`: what the server holds and what became of its work, as tables."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from app.commands.server import Json, mapping
from app.types import JsonValue

GOOD = ("ready", "running", "finished")
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


def view(status: Json, rates: Rates | None = None) -> RenderableType:
    """Three tables; with `rates` also how much of each happens in a second."""
    processes = status.get("processes")
    known = [mapping(each) for each in processes] if isinstance(processes, list) else []
    return Group(
        _models(known, rates),
        Text(),
        _pipelines(known, rates),
        Text(),
        _connectors(known, rates),
        Text(
            "Counts and means since start. captured = processed + downgraded + dropped + in "
            "flight.",
            style="dim",
        ),
    )


def _models(processes: Sequence[Json], rates: Rates | None) -> Table:
    table = _table("Models", "model", "state", "application", "replica")
    _numbers(table, "ok", "failed", "shed", "expired", *(["ok/s"] if rates else []))
    _numbers(table, "rows/run", "queue ms", "run ms")
    table.add_column("reason", overflow="fold")
    for process, name, entry in _entries(processes, "models"):
        ran = _count(entry, "succeeded") + _count(entry, "failed")
        table.add_row(
            name,
            *_state(entry),
            *_place(process),
            *(_whole(entry, key) for key in ("succeeded", "failed", "shed", "expired")),
            *_rate(rates, process, name, entry, "succeeded"),
            _mean(_count(entry, "rows"), _count(entry, "runs")),
            _mean(1000 * _count(entry, "queue_seconds"), ran),
            _mean(1000 * _count(entry, "run_seconds"), _count(entry, "runs")),
            _text(entry, "reason"),
        )
    return table


def _pipelines(processes: Sequence[Json], rates: Rates | None) -> Table:
    table = _table("Pipelines", "pipeline", "state", "application", "replica")
    _numbers(table, "processed", "downgraded", "dropped", "failed")
    _numbers(table, *(["processed/s"] if rates else []), "mean ms")
    table.add_column("reason or last error", overflow="fold")
    for process, name, entry in _entries(processes, "pipelines"):
        outcomes = ("processed", "downgraded", "dropped")
        table.add_row(
            name,
            *_state(entry),
            *_place(process),
            *(_whole(entry, key) for key in (*outcomes, "failed")),
            *_rate(rates, process, name, entry, "processed"),
            _mean(1000 * _count(entry, "seconds"), sum(_count(entry, key) for key in outcomes)),
            _text(entry, "reason") or _text(entry, "last_error"),
        )
    return table


def _connectors(processes: Sequence[Json], rates: Rates | None) -> Table:
    table = _table("Connectors", "connector", "state", "application", "source")
    _numbers(table, "captured", "processed", "downgraded")
    table.add_column("dropped", overflow="fold", justify="right")
    _numbers(table, "in flight", *(["captured/s"] if rates else []), "reconnects")
    table.add_column("last error", overflow="fold")
    for process, name, entry in _entries(processes, "connectors"):
        sources = mapping(mapping(entry.get("counts")).get("sources"))
        for index, (source, value) in enumerate(sources.items() or [("-", {})]):
            counts = mapping(value)
            first = index == 0
            table.add_row(
                name if first else "",
                *(_state(entry) if first else [Text()]),
                _text(process, "application") if first else "",
                source,
                *(_whole(counts, key) for key in ("captured", "processed", "downgraded")),
                _reasons(mapping(counts.get("dropped"))),
                _whole(counts, "in_flight"),
                *_rate(rates, process, f"{name}/{source}", counts, "captured"),
                _whole(entry, "reconnects") if first else "",
                _text(entry, "last_error") if first else "",
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
    table = Table(title=title, title_justify="left", title_style="bold", expand=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _numbers(table: Table, *columns: str) -> None:
    for column in columns:
        table.add_column(column, justify="right")


def _state(entry: Json) -> list[Text]:
    state = _text(entry, "state")
    style = "green" if state in GOOD else "yellow" if state in WAITING else "red"
    return [Text(state, style=style)]


def _place(process: Json) -> tuple[str, str]:
    return _text(process, "application"), _text(process, "replica")


def _rate(rates: Rates | None, process: Json, name: str, entry: Json, key: str) -> list[str]:
    if rates is None:
        return []
    return [rates.of((*_place(process), name, key), _count(entry, key))]


def _reasons(dropped: Mapping[str, JsonValue]) -> str:
    """The sum, and how it comes about: "7 (late 5, queue_full 2)"."""
    if not dropped:
        return "0"
    reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(dropped.items()))
    return f"{sum(_count(dropped, reason) for reason in dropped):,.0f} ({reasons})"


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
