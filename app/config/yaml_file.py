"""Reading a YAML file into a pydantic model, every error with its line and field.

Only the plain types of YAML 1.1 are constructed (what PyYAML calls safe), JSON being a subset.
On top of that a file may not repeat a key, use more than 10 MB, or grow beyond `MAX_VALUES` values
through its aliases. `${NAME}` inside a string value stands for an environment variable, `$${` for
a literal `${`; keys are taken as they are.
"""

import os
import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from app.config.paths import context_of
from app.config.validation import reason_of
from app.errors import ConfigurationError

MAX_BYTES = 10_000_000
MAX_VALUES = 200_000
MAX_DEPTH = 100

ModelT = TypeVar("ModelT", bound=BaseModel)
Location = Sequence[str | int]

_TAG = "tag:yaml.org,2002:"
_VARIABLE = re.compile(r"\$(\$\{)|\$\{([^}]*)(\}?)")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def load_yaml(
    path: Path, model_class: type[ModelT], environ: Mapping[str, str] | None = None
) -> ModelT:
    """Read `path` as a `model_class`; an empty file is an empty mapping.

    `environ` is where `${NAME}` is looked up, the process's environment by default. Raises
    ConfigurationError naming the file, the line and the field; when several fields are wrong its
    reason holds one line for each.
    """
    return parse_yaml(_read(path), model_class, str(path), environ)


def parse_yaml(
    text: str,
    model_class: type[ModelT],
    file: str = "",
    environ: Mapping[str, str] | None = None,
) -> ModelT:
    """As `load_yaml`, for text that is already in memory; `file` is its name in errors."""
    reader = _Reader(file, os.environ if environ is None else environ)
    root = reader.read(text)
    errors = reader.errors
    if not errors:
        try:
            value = {} if root.value is None else root.value
            return model_class.model_validate(value, context=context_of(file))
        except ValidationError as error:
            errors = _locate_errors(error, root, model_class, file)
        except ConfigurationError as error:
            if error.file:
                raise
            raise ConfigurationError(error.reason, file, error.line, error.field) from error
    raise _joined(errors, file)


def keys_of(path: Path) -> tuple[str, ...]:
    """The keys of a file's outermost mapping, to tell what kind of file it is.

    Raises ConfigurationError for a file that is no YAML.
    """
    return tuple(str(key) for key in _Reader(str(path), {}).read(_read(path)).children)


def line_of(path: Path, location: Location) -> int | None:
    """The line of a field, such as `("versions", "1")`, for an error found after loading.

    None where the file or the field is not there.
    """
    try:
        root = _Reader(str(path), {}).read(_read(path))
    except ConfigurationError:
        return None
    value = root
    for part in location:
        child = value.child(part)
        if child is None:
            return None
        value = child
    return value.line


def error_at(path: Path, location: Location, reason: str) -> ConfigurationError:
    """An error about a field, found after loading; its line is that of the nearest key there is."""
    line: int | None = None
    for end in range(len(location), 0, -1):
        line = line_of(path, location[:end])
        if line is not None:
            break
    return ConfigurationError(reason, str(path), line, _path(location))


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(f"cannot be read: {error.strerror}", str(path)) from error
    if len(content) > MAX_BYTES:
        raise ConfigurationError(f"is larger than {MAX_BYTES} bytes", str(path))
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigurationError("is not UTF-8 text", str(path), line) from error


@dataclass(frozen=True, slots=True)
class _Located:
    """A value of the file, the line where it (or its key) stands, and what it is made of."""

    value: object
    line: int
    children: "Mapping[Hashable, _Located]" = field(default_factory=dict)

    def child(self, part: str | int) -> "_Located | None":
        """What stands under a key. YAML reads `1:` as a number where a model may want text."""
        if part in self.children:
            return self.children[part]
        same = (child for key, child in self.children.items() if str(key) == part)
        return next(same, None)


class _Reader:
    """Turns the text of one file into `_Located` values, noting errors of single values.

    Errors after which nothing can be trusted (syntax, size) are raised instead.
    """

    def __init__(self, file: str, environ: Mapping[str, str]) -> None:
        self.errors: list[ConfigurationError] = []
        self._file = file
        self._environ = environ
        self._count = 0
        self._scalars = yaml.constructor.SafeConstructor()

    def read(self, text: str) -> _Located:
        try:
            node = yaml.compose(text, Loader=yaml.SafeLoader)
            return _Located(None, 1) if node is None else self._value(node, 1, 0)
        except yaml.MarkedYAMLError as error:
            line = None if error.problem_mark is None else error.problem_mark.line + 1
            raise ConfigurationError(_syntax(error), self._file, line) from error
        except yaml.reader.ReaderError as error:
            line = text.count("\n", 0, error.position) + 1
            reason = f"the character {chr(error.character)!r} is not allowed"
            raise ConfigurationError(reason, self._file, line) from error
        except RecursionError as error:
            raise ConfigurationError("is nested too deeply", self._file) from error

    def _value(self, node: yaml.Node, line: int, depth: int) -> _Located:
        self._count += 1
        if self._count > MAX_VALUES:
            reason = f"holds more than {MAX_VALUES} values once its aliases are followed"
            raise ConfigurationError(reason, self._file, line)
        if depth > MAX_DEPTH:
            raise ConfigurationError("is nested too deeply", self._file, line)
        if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
            return self._mapping(node, line, depth)
        if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
            items = [self._value(item, _line(item), depth + 1) for item in node.value]
            return _Located([item.value for item in items], line, dict(enumerate(items)))
        if isinstance(node, yaml.ScalarNode):
            return _Located(self._scalar(node, line), line)
        raise ConfigurationError(f"the tag {node.tag} is not allowed", self._file, line)

    def _mapping(self, node: yaml.MappingNode, line: int, depth: int) -> _Located:
        own: dict[Hashable, _Located] = {}
        merged: dict[Hashable, _Located] = {}
        for key_node, value_node in node.value:
            child = self._value(value_node, _line(key_node), depth + 1)
            if key_node.tag == _TAG + "merge":
                # `<<: *defaults`; of a list of mappings the first one to have a key wins.
                parts = [child] if isinstance(child.value, dict) else child.children.values()
                for part in parts:
                    merged = {**part.children, **merged}
                continue
            key = self._key(key_node)
            if key in own:
                reason = f"the key {key!r} stands on line {own[key].line} already"
                self._note(reason, child.line)
            own[key] = child
        children = {**merged, **own}
        return _Located({key: each.value for key, each in children.items()}, line, children)

    def _key(self, node: yaml.Node) -> Hashable:
        if not isinstance(node, yaml.ScalarNode):
            raise ConfigurationError("a key must be a plain value", self._file, _line(node))
        key: Hashable = self._construct(node, _line(node))
        return key

    def _scalar(self, node: yaml.ScalarNode, line: int) -> object:
        value = self._construct(node, line)
        return self._expand(value, _line(node)) if isinstance(value, str) else value

    def _construct(self, node: yaml.ScalarNode, line: int) -> Hashable:
        try:
            value: Hashable = self._scalars.construct_object(node)
        except (ValueError, KeyError, OverflowError) as error:
            self._note(f"{node.value!r} is not a valid value: {error}", line)
            return None
        return value

    def _expand(self, text: str, line: int) -> str:
        def replace(match: re.Match[str]) -> str:
            escaped, name, closed = match.groups()
            if escaped:
                return "${"
            if not closed or not _NAME.fullmatch(name):
                self._note("write ${NAME} for an environment variable, $${ for a plain ${", line)
            elif name not in self._environ:
                self._note(f"the environment variable {name} is not set", line)
            return self._environ.get(name, "")

        return _VARIABLE.sub(replace, text)

    def _note(self, reason: str, line: int) -> None:
        self.errors.append(ConfigurationError(reason, self._file, line))


def _line(node: yaml.Node) -> int:
    line: int = node.start_mark.line
    return line + 1


def _syntax(error: yaml.MarkedYAMLError) -> str:
    if "'\\t'" in (error.problem or ""):
        return "a tab stands where YAML wants spaces"
    return " ".join(part for part in (error.context, error.problem) if part)


def _locate_errors(
    error: ValidationError, root: _Located, model_class: type[BaseModel], file: str
) -> list[ConfigurationError]:
    found = []
    for detail in error.errors(include_url=False):
        walk = _walk(root, detail["loc"], detail["input"])
        steps = list(walk.steps)
        if detail["type"] == "missing":
            steps.append(detail["loc"][-1])
        reason = reason_of(detail, model_class)
        found.append(ConfigurationError(reason, file, walk.end.line, _path(steps)))
    return sorted(found, key=lambda each: each.line or 0)


@dataclass(frozen=True, slots=True)
class _Walk:
    """A way from the root of the file along those parts of a location that are keys in it."""

    steps: tuple[str | int, ...]
    end: _Located


def _walk(root: _Located, location: tuple[str | int, ...], value: object) -> _Walk:
    """Where in the file pydantic's `location` is.

    Some of its parts are no keys but the names of a union's members, and one of those may be
    spelled like a key. So every way is tried; best is one that ends at the very value that was
    validated, and of those the longest.
    """
    return max(
        _walks(_Walk((), root), location), key=lambda w: (w.end.value is value, len(w.steps))
    )


def _walks(start: _Walk, location: tuple[str | int, ...]) -> Iterator[_Walk]:
    if not location:
        yield start
        return
    part, rest = location[0], location[1:]
    child = start.end.child(part)
    if child is not None:
        yield from _walks(_Walk((*start.steps, part), child), rest)
    yield from _walks(start, rest)


def _path(steps: Sequence[str | int]) -> str:
    return "".join(f"[{s}]" if isinstance(s, int) else f".{s}" for s in steps).removeprefix(".")


def _joined(errors: Sequence[ConfigurationError], file: str) -> ConfigurationError:
    if len(errors) == 1:
        return errors[0]
    listed = "\n".join(str(error) for error in errors)
    return ConfigurationError(f"{len(errors)} errors\n{listed}", file, parts=tuple(errors))
