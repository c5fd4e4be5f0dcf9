"""What checking the files of a site found."""

from dataclasses import dataclass

from app.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text under `columns`."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Report:
    """`problems` are mistakes in the files; `missing` is what they name rightly, but this machine
    does not have; `warnings` may be meant. `tables` sum up what the files say."""

    problems: tuple[ConfigurationError, ...] = ()
    missing: tuple[ConfigurationError, ...] = ()
    tables: tuple[Table, ...] = ()
    warnings: tuple[ConfigurationError, ...] = ()

    @property
    def good(self) -> bool:
        return not self.problems and not self.missing
