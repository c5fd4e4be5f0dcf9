"""The reference pages say what the registries hold."""

from pathlib import Path

import pytest

from app.registry import NODES, SINKS, SOURCES
from tools.reference import GUIDES, pages, write_pages

PAGES = pages()


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_current(name: str) -> None:
    written = (GUIDES / name).read_text(encoding="utf-8")
    assert written == PAGES[name], "run: python -m tools.reference"


def test_every_type_and_alias_is_on_its_page() -> None:
    for page, registries in (("nodes.md", (NODES,)), ("connectors.md", (SOURCES, SINKS))):
        for registry in registries:
            for registration in registry:
                assert f"### `{registration.names[0]}`\n" in PAGES[page]
                assert all(f"`{name}`" in PAGES[page] for name in registration.names)


def test_a_table_names_values_bounds_and_defaults() -> None:
    assert "| `threshold` | number | *required* |" in PAGES["nodes.md"]
    assert "| `iou` | number, over 0, to 1 | `0.45` |" in PAGES["nodes.md"]
    assert "| `direction` | `above`, `below` | `above` |" in PAGES["nodes.md"]
    assert "| `topics[].qos` | `0`, `1` | `1` |" in PAGES["connectors.md"]
    assert "| `password` | text, secret |  |" in PAGES["connectors.md"]


def test_pages_are_written_where_they_belong(tmp_path: Path) -> None:
    write_pages(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(PAGES)
