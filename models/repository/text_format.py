"""Protocol Buffers' text format, read without a schema, with the line of each field.

Source: "Text Format Language Specification" of protobuf.dev; what it says of extensions and `Any`
is left out, since configurations of models have none.
"""

import re
from collections.abc import Collection, Mapping
from pathlib import Path

from app.types import JsonValue

Place = tuple[str, ...]

_TOKEN = re.compile(
    r"""(?P<space>[\s]+|\#[^\n]*)
      | (?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
      | (?P<number>-?\s*(?:0[xX][0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)[fF]?(?![\w.]))
      | (?P<name>-?[A-Za-z_]\w*)
      | (?P<mark>[{}<>\[\]:,;])""",
    re.VERBOSE,
)
_ESCAPE = re.compile(r"\\(?:([0-7]{1,3})|[xX]([0-9a-fA-F]{1,2})|u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_SIMPLE = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_CLOSING = {"{": "}", "<": ">"}
_MAX_DEPTH = 50


class TextFormatError(Exception):
    """What is wrong with a text, and in which line."""

    def __init__(self, reason: str, line: int) -> None:
        super().__init__(reason)
        self.line = line


def parse_text_format(
    text: str, repeated: Collection[str]
) -> tuple[dict[str, JsonValue], Mapping[Place, int]]:
    """A message as plain data, and the line of each of its fields.

    Fields named in `repeated` are lists, however often they are there; names of enumerations are
    texts. Raises TextFormatError.
    """
    parser = _Parser(text, repeated)
    return parser.message((), "", 0), parser.lines


class _Parser:
    def __init__(self, text: str, repeated: Collection[str]) -> None:
        self.lines: dict[Place, int] = {}
        self._repeated = repeated
        self._tokens = _tokens(text)
        self._next = 0

    def message(self, place: Place, closing: str, depth: int) -> dict[str, JsonValue]:
        """Fields until the mark `closing`, which is taken, or until the end for none."""
        if depth > _MAX_DEPTH:
            raise self._error("nested too deeply")
        fields: dict[str, JsonValue] = {}
        while self._kind() != "end" if not closing else self._text() != closing:
            if self._kind() != "name":
                raise self._error(f"{self._text()!r} stands where the name of a field should")
            self._field(fields, place, depth)
            if self._text() in (",", ";"):
                self._next += 1
        self._next += 1
        return fields

    def _field(self, fields: dict[str, JsonValue], place: Place, depth: int) -> None:
        name, line = self._text(), self._line()
        self._next += 1
        here = (*place, name)
        if name in fields and name not in self._repeated:
            raise TextFormatError(f"{name} is given twice", line)
        self.lines.setdefault(here, line)
        colon = self._take(":")
        if self._take("["):
            values = _list(fields, name)
            while not self._take("]"):
                values.append(self._value((*here, str(len(values))), depth))
                if not self._take(",") and self._text() != "]":
                    raise self._error("a comma or ] is missing in a list")
            return
        if not colon and self._text() not in _CLOSING:
            raise self._error(f"a colon is missing after {name}")
        if name in self._repeated:
            values = _list(fields, name)
            values.append(self._value((*here, str(len(values))), depth))
        else:
            fields[name] = self._value(here, depth)

    def _value(self, place: Place, depth: int) -> JsonValue:
        kind, text = self._kind(), self._text()
        self.lines.setdefault(place, self._line())
        self._next += 1
        if text in _CLOSING and kind == "mark":
            return self.message(place, _CLOSING[text], depth + 1)
        if kind == "string":
            while self._kind() == "string":  # neighbours are one
                text = text[:-1] + self._text()[1:]
                self._next += 1
            return _unescaped(text[1:-1])
        if kind == "number":
            return _number(text)
        if kind == "name":
            return {"true": True, "false": False}.get(text, text)
        self._next -= 1
        raise self._error(f"{text!r} stands where a value should")

    def _take(self, mark: str) -> bool:
        found = self._kind() == "mark" and self._text() == mark
        self._next += found
        return found

    def _kind(self) -> str:
        return self._tokens[min(self._next, len(self._tokens) - 1)][0]

    def _text(self) -> str:
        return self._tokens[min(self._next, len(self._tokens) - 1)][1]

    def _line(self) -> int:
        return self._tokens[min(self._next, len(self._tokens) - 1)][2]

    def _error(self, reason: str) -> TextFormatError:
        if self._kind() == "end":
            reason = "it ends in the middle of a field"
        return TextFormatError(reason, self._line())


def _list(fields: dict[str, JsonValue], name: str) -> list[JsonValue]:
    """The values that a repeated field has so far, to be added to."""
    found = fields.setdefault(name, [])
    return found if isinstance(found, list) else []


def line_of_field(path: Path, name: str) -> int | None:
    """The first line of a file that begins with the field `name`, if there is one."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    field = re.compile(rf"\s*{re.escape(name)}\b")
    return next((number for number, line in enumerate(lines, 1) if field.match(line)), None)


def _tokens(text: str) -> list[tuple[str, str, int]]:
    """(kind, text, line), the last one being of the kind `end`."""
    found, position, line = [], 0, 1
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise TextFormatError(f"{text[position : position + 1]!r} is not expected here", line)
        if match.lastgroup != "space":
            found.append((str(match.lastgroup), match.group(), line))
        line += match.group().count("\n")
        position = match.end()
    return [*found, ("end", "", line)]


def _number(text: str) -> JsonValue:
    digits = re.sub(r"\s", "", text)
    if "x" in digits.lower():
        return int(digits, 16)
    if digits.lstrip("-").isdecimal():
        return int(digits)
    return float(digits.rstrip("fF"))


def _unescaped(text: str) -> str:
    def character(match: re.Match[str]) -> str:
        octal, two, four, simple = match.groups()
        if simple is not None:
            return _SIMPLE.get(simple, simple)
        return chr(int(octal, 8) if octal else int(two or four, 16))

    return _ESCAPE.sub(character, text)
