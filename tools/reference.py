"""Writes the reference pages under docs/guides from the registries, so that they are true.

    python -m tools.reference

A test compares the pages with what this makes.
"""

import ast
import importlib
import inspect
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import deployments.catalogue  # noqa: F401 - fills the registries
from app.registry import NODES, SINKS, SOURCES, ComponentT, Registration, Registry
from app.types import JsonValue

GUIDES = Path(__file__).resolve().parents[1] / "docs" / "guides"
LONGEST_DEFAULT = 60

Schema = Mapping[str, JsonValue]

_NODES_INTRO = """# Nodes

Every node type that may stand in `config/pipelines.yaml`, and its `params`. Agents are nodes as
well: they are written under `agents:`, their fields beside `type`, and not under `params`. A node
marked *stateful* remembers something of each source, so its messages come one after the other.

Made by `python -m tools.reference`; change the components, not this page.
"""

_CONNECTORS_INTRO = """# Connectors and actions

Every connector type that may stand under `connectors:` in `config/pipelines.yaml`, and every type
that may stand under `actions:`. A connector is also allowed as a node of a graph; its `id` and
`pipeline` are then those of the graph. `${NAME}` in a value stands for an environment variable.

Where `max_queue_depth` has no default of its own, it is the environment variable
`VU_PIPELINE_QUEUE_SIZE` of the process, else 512. `on_full` says what happens when that many
messages wait: the oldest goes, the newest goes, or reading stops (`block`). Up to
`max_concurrency` messages are processed at once, those of one source one after the other.

Made by `python -m tools.reference`; change the components, not this page.
"""

_MAP_INTRO = """# Where things live

Every room of the tree, and what belongs there. Arrows go down only: `cli` stands on `deployments`
and `cluster`, these on `models` and `connectors`, and all of them on `app`; `make check` refuses an
import that goes back up.

Made by `python -m tools.reference` from the first sentence of each room.

| room | what belongs there |
|---|---|
"""
ROOMS = ("cli", "deployments", "cluster", "connectors", "models", "app")


def pages() -> dict[str, str]:
    """File name -> content."""
    return {
        "map.md": _MAP_INTRO + "".join(f"| `{room}/` | {text} |\n" for room, text in _rooms()),
        "nodes.md": "\n".join((_NODES_INTRO, *_by_module(NODES))),
        "connectors.md": "\n".join(
            (
                _CONNECTORS_INTRO,
                "## Connectors\n",
                *(section for each in SOURCES for section in _section(each)),
                "## Actions\n",
                *(section for each in SINKS for section in _section(each)),
            )
        ),
    }


def _rooms() -> Iterator[tuple[str, str]]:
    """(folder, the first sentence of its docstring). Raises ValueError where a room has none."""
    root = GUIDES.parents[1]
    for top in ROOMS:
        for file in sorted((root / top).rglob("__init__.py")):
            text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))
            if not text:
                raise ValueError(f"{file} does not say what belongs there")
            sentence = " ".join(text.split("\n\n", maxsplit=1)[0].split())
            yield file.parent.relative_to(root).as_posix(), sentence


def _by_module(registry: Registry[ComponentT]) -> Iterator[str]:
    """One chapter for each file, headed by what the file says of itself."""
    modules: dict[str, list[Registration[ComponentT]]] = {}
    for registration in registry:
        modules.setdefault(registration.config.__module__, []).append(registration)
    for name, registrations in sorted(modules.items()):
        module = importlib.import_module(name)
        yield f"## {(inspect.getdoc(module) or name).splitlines()[0].rstrip('.')}\n"
        yield f"`{name.replace('.', '/')}.py`\n"
        for registration in registrations:
            yield from _section(registration)


def _section(registration: Registration[ComponentT]) -> Iterator[str]:
    own, *aliases = registration.names
    yield f"### `{own}`\n"
    notes = ["also: " + ", ".join(f"`{alias}`" for alias in aliases)] if aliases else []
    notes += ["*stateful*"] if registration.stateful else []
    if notes:
        yield "; ".join(notes) + "\n"
    for text in (_documentation(registration.factory), _documentation(registration.config)):
        if text:
            yield text + "\n"
    schema: Schema = registration.config.model_json_schema()
    rows = [row for row in _rows(schema, _mapping(schema.get("$defs"))) if row[0] != "`type`"]
    yield _table(rows) if rows else "No fields.\n"


def _documentation(component: object) -> str:
    """The docstring; none for what only inherits one."""
    return inspect.cleandoc(getattr(component, "__doc__", None) or "")


def _table(rows: Iterable[tuple[str, str, str]]) -> str:
    lines = ["| field | value | default |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows), ""])


def _rows(schema: Schema, defs: Schema, prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """(field, value, default) of an object; the fields of an object inside it follow their own."""
    required = schema.get("required")
    for name, value in _mapping(schema.get("properties")).items():
        field = _mapping(value)
        needed = isinstance(required, list) and name in required
        default = "*required*" if needed else _default(field.get("default"))
        yield f"`{prefix}{name}`", _kind(field, defs), default
        inner, suffix = _inner_object(field, defs)
        if inner is not None:
            yield from _rows(inner, defs, f"{prefix}{name}{suffix}.")


def _inner_object(field: Schema, defs: Schema) -> tuple[Schema | None, str]:
    for choice in _choices(field):
        items = _mapping(choice.get("items"))
        for reference, suffix in ((choice.get("$ref"), ""), (items.get("$ref"), "[]")):
            if isinstance(reference, str):
                return _mapping(defs.get(reference.rpartition("/")[2])), suffix
    return None, ""


def _kind(field: Schema, defs: Schema) -> str:
    """A field's type and bounds in words."""
    choices = [choice for choice in _choices(field) if choice.get("type") != "null"]
    if len(choices) > 1:
        return " or ".join(_kind(choice, defs) for choice in choices)
    schema = choices[0]
    allowed = schema.get("enum") or ([schema["const"]] if "const" in schema else None)
    if isinstance(allowed, list):
        return ", ".join(f"`{each}`" for each in allowed)
    if "$ref" in schema:
        return "see below"
    if schema.get("format") == "password":
        return "text, secret"
    if schema.get("type") == "array":
        return _list_kind(schema, defs)
    if schema.get("type") == "object":
        return f"mapping to {_kind(_mapping(schema.get('additionalProperties')), defs)}"
    words = {"integer": "whole number", "number": "number", "boolean": "true, false"}
    word = words.get(str(schema.get("type")), "text")
    return ", ".join([word, *_bounds(schema)])


def _list_kind(schema: Schema, defs: Schema) -> str:
    parts = schema.get("prefixItems")
    if isinstance(parts, list) and parts:
        return f"{len(parts)} x {_kind(_mapping(parts[0]), defs)}"
    return f"list of ({_kind(_mapping(schema.get('items')), defs)})"


def _bounds(schema: Schema) -> Iterator[str]:
    for key, words in (
        ("minimum", "from"),
        ("exclusiveMinimum", "over"),
        ("maximum", "to"),
        ("exclusiveMaximum", "under"),
    ):
        if key in schema:
            yield f"{words} {schema[key]}"


def _choices(field: Schema) -> list[Schema]:
    choices = field.get("anyOf")
    return [_mapping(each) for each in choices] if isinstance(choices, list) else [field]


def _default(value: JsonValue) -> str:
    if value is None or value in ("", [], {}):
        return ""
    if isinstance(value, list):
        text = ", ".join(str(each) for each in value)
        return f"`{text}`" if len(text) <= LONGEST_DEFAULT else f"{len(value)} entries"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value:.6g}`" if isinstance(value, float) else f"`{value}`"


def _mapping(value: JsonValue) -> Schema:
    return value if isinstance(value, Mapping) else {}


def write_pages(folder: Path = GUIDES) -> None:
    for name, content in pages().items():
        (folder / name).write_text(content, encoding="utf-8")


if __name__ == "__main__":
    write_pages()
