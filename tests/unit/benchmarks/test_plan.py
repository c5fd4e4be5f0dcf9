from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.environments import Unavailable
from benchmarks.plan import Journal, Unit, work_through


@dataclass(frozen=True)
class Count:
    value: int
    each: tuple[float, ...] = ()


class Clock:
    """Goes on by as much as it is told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def after(self, seconds: float, result: Count) -> Callable[[], Count]:
        def measure() -> Count:
            self.now += seconds
            return result

        return measure


def never() -> Count:
    raise AssertionError("it was measured before")


def missing() -> Count:
    raise Unavailable("no such server")


def units(*measures: Callable[[], Count]) -> list[Unit[Count]]:
    return [Unit(f"unit {i}", 60.0, Count, measure) for i, measure in enumerate(measures)]


def test_a_run_that_was_ended_goes_on_with_what_it_had_not_measured(tmp_path: Path) -> None:
    file, clock = tmp_path / "journal", Clock()
    first = units(clock.after(1, Count(7, (0.5, 1.5))))
    work_through(first, Journal(file, "options", resume=False), clock, lambda _: None)
    file.write_text(file.read_text() + '["unit 1", "{\\"val')

    journal = Journal(file, "options", resume=True)
    both = units(never, clock.after(1, Count(8)))
    assert work_through(both, journal, clock, lambda _: None) == []
    assert [journal.read(unit) for unit in both] == [Count(7, (0.5, 1.5)), Count(8)]
    again = Journal(file, "options", resume=True)
    assert [again.read(unit) for unit in both] == [Count(7, (0.5, 1.5)), Count(8)]


def test_a_journal_of_other_options_counts_as_empty(tmp_path: Path) -> None:
    file, clock = tmp_path / "journal", Clock()
    [unit] = units(clock.after(1, Count(7)))
    work_through([unit], Journal(file, "quick", resume=False), clock, lambda _: None)
    assert unit in Journal(file, "quick", resume=True)
    assert unit not in Journal(file, "long", resume=True)


def test_what_cannot_be_measured_does_not_end_the_run_and_is_tried_again(tmp_path: Path) -> None:
    said: list[str] = []
    clock = Clock()
    both = units(missing, clock.after(1, Count(8)))
    journal = Journal(tmp_path / "journal", "options", resume=False)
    assert work_through(both, journal, clock, said.append) == ["unit 0"]
    assert "  not measured: no such server" in said
    assert both[0] not in journal
    assert both[1] in journal


def test_the_time_left_is_foretold_from_the_units_so_far(tmp_path: Path) -> None:
    said: list[str] = []
    clock = Clock()
    three = units(*(clock.after(120, Count(i)) for i in range(3)))
    work_through(three, Journal(tmp_path / "journal", "", resume=False), clock, said.append)
    assert [text.split(",")[1].split("]")[0] for text in said] == [
        " 3 min left",
        " 4 min left",
        " 2 min left",
    ]
