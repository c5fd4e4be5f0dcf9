"""Which columns of `manta status` a person is shown, and what they mean."""

from collections import Counter
from collections.abc import Iterable

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

MEANINGS = {
    "ok": "requests that were answered",
    "failed": "that ended in an error",
    "shed": "refused, since more waited than could be answered in time",
    "expired": "whose deadline passed while they waited",
    "rows/run": "mean size of a batch",
    "queue ms": "mean wait for a run",
    "run ms": "mean time of one run of the model",
    "mean ms": "mean time of one message through the pipeline",
    "captured": "messages that a source gave",
    "processed": "that went through their pipeline",
    "downgraded": "that went through it with a part left out",
    "dropped": "that were left out, with the reason",
    "in flight": "that wait or are being processed",
    "replica": "which process of the application",
}
SPARE = ("shed", "expired", "rows/run", "queue ms", "downgraded")
"""Shown where they say something, or with `--wide`."""

_NOTHING = ("0", "-", "1.0", "0.0")


def new_table(title: str) -> Table:
    return Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        show_edge=False,
    )


def narrowed(table: Table) -> Table:
    """Without the columns that say nothing here: spare ones of zeros, and the replica where every
    name has one."""
    made = new_table(str(table.title))
    kept = []
    for column in table.columns:
        header, cells = str(column.header), [str(cell) for cell in column.cells]
        if header in SPARE and all(cell in _NOTHING for cell in cells):
            continue
        if header == "replica" and not _repeated(str(cell) for cell in table.columns[0].cells):
            continue
        kept.append(column)
        made.add_column(
            header,
            justify=column.justify,
            no_wrap=column.no_wrap,
            overflow=column.overflow,
            min_width=column.min_width,
        )
    for row in zip(*(column.cells for column in kept), strict=True):
        made.add_row(*row)
    return made


def legend(tables: Iterable[Table]) -> Text:
    """What the columns that are shown mean, each once."""
    shown = [str(column.header) for table in tables if table.row_count for column in table.columns]
    told = [(name, MEANINGS[name]) for name in dict.fromkeys(shown) if name in MEANINGS]
    parts = [part for name, text in told for part in ((name, "dim bold"), (f" {text}; ", "dim"))]
    return Text.assemble(*parts, ("counts and means are since start.", "dim"))


def _repeated(names: Iterable[str]) -> bool:
    return any(count > 1 for count in Counter(names).values())
