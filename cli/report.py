"""`manta validate`: what was found, one line for each problem."""

from collections.abc import Iterable
from pathlib import Path

import rich.table
from rich.console import Console
from rich.text import Text

from app.config.report import Report, Table
from app.errors import ConfigurationError


def show(report: Report, console: Console) -> None:
    """What was found to stdout, as other checkers do; tables where nothing is wrong or missing."""
    _lines(report.warnings, "warning: ", console)
    _lines(report.problems, "", console)
    _lines(report.missing, "not available on this machine: ", console)
    if report.problems or report.missing:
        return
    for table in report.tables:
        if table.rows:
            console.print(_table(table))


def _lines(errors: Iterable[ConfigurationError], prefix: str, console: Console) -> None:
    for error in errors:
        place, colon, reason = str(_nearby(error)).partition(": ")
        line = f"{place}{colon}{prefix}{reason}"
        console.print(Text(line), soft_wrap=True)


def _nearby(error: ConfigurationError) -> ConfigurationError:
    """The file as seen from here, so that an editor opens it with a click."""
    if not error.file:
        return error
    file = Path(error.file)
    here = Path.cwd()
    if file.is_absolute() and file.is_relative_to(here):
        file = file.relative_to(here)
    return ConfigurationError(error.reason, str(file), error.line, error.field)


def _table(table: Table) -> rich.table.Table:
    made = rich.table.Table(title=table.title, title_justify="left", title_style="bold")
    for column in table.columns:
        made.add_column(column, overflow="fold")
    for row in table.rows:
        made.add_row(*(Text(cell) for cell in row))
    return made
